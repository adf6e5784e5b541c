"""Runs: scheduled jobs, run synchronously for one app."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from jobs import runs
from models.errors import Invalid
from settings import settings
from web.http.call import Call
from web.http.fields import Body, Shape, Time
from web.http.routes import Answer, Routes

routes = Routes("Runs")


class RunBody(Body):
    now: Time | None = None
    example = {"now": "2026-02-28T00:00:00Z"}


class Found(Shape):
    app: str
    provider: str
    kind: Literal["unbacked", "dead", "unknown_price", "unreachable", "skipped"]
    reference: str = Field(description="The id of the finding at the provider, or the requested id.")
    detail: str
    customer: str | None
    units: int | None
    payment: int | None
    example = {
        "app": "ai-services",
        "provider": "stripe",
        "kind": "unbacked",
        "reference": "pi_1",
        "detail": "payment 1 of 'ada' credited 100 units, but pi_1 was not found at Stripe",
        "customer": "ada",
        "units": 100,
        "payment": 1,
    }


class Run(Shape):
    job: str
    counts: dict[str, Any]
    found: list[Found] = Field(description="With `reconcile`: up to 100 findings that an operator should check.")
    more: int = Field(description="The number of further findings.")
    example = {"job": "expire", "counts": {"lots": 12}, "found": [], "more": 0}


@routes.post("/v1/runs/{job}", scope="admin", body=RunBody, body_required=False, answer=Run, status=200, errors=(404,))
def run(call: Call, job: str) -> Answer:
    """Run a job.

    Runs the job to completion, for the key's app only. In the sandbox, `now` runs it as of that time. The run does not
    move the clock and does not count as a scheduled run.
    """
    if "now" in call.body and not settings.sandbox:
        raise Invalid([("now", "is available in the sandbox only")])
    return runs.run(call.app.slug, job, now=call.body.get("now", call.now))
