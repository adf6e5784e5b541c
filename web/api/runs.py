"""Runs: a job of the schedule, run by hand for one app while the caller waits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from jobs import runs
from models.errors import Invalid
from settings import settings
from web.http.fields import Body, Shape, Time
from web.http.routes import Answer, Call, Routes

routes = Routes("Runs")


class RunBody(Body):
    now: Time | None = None
    example = {"now": "2026-02-28T00:00:00Z"}


class Found(Shape):
    app: str
    provider: str
    kind: Literal["unbacked", "dead", "unknown_price", "unreachable", "skipped"]
    reference: str = Field(description="The provider's id of what was found, or what was asked for.")
    detail: str
    customer: str | None
    units: int | None
    payment: int | None
    example = {
        "app": "ai-services",
        "provider": "stripe",
        "kind": "unbacked",
        "reference": "pi_1",
        "detail": "payment 1 of 'ada' credited 100 units, but Stripe does not know pi_1",
        "customer": "ada",
        "units": 100,
        "payment": 1,
    }


class Run(Shape):
    job: str
    counts: dict[str, Any]
    found: list[Found] = Field(description="With `reconcile`: what a person should look at, at most 100.")
    more: int = Field(description="How many were found beyond those.")
    example = {"job": "expire", "counts": {"lots": 12}, "found": [], "more": 0}


@routes.post("/v1/runs/{job}", scope="admin", body=RunBody, body_required=False, answer=Run, status=200, errors=(404,))
def run(call: Call, job: str) -> Answer:
    """Run a job to its end, for the key's app only.

    In the sandbox `now` runs it as if it were that time; it moves no clock and records no schedule.
    """
    if "now" in call.body and not settings.sandbox:
        raise Invalid([("now", "is for the sandbox only")])
    return runs.run(call.app.slug, job, now=call.body.get("now", call.now))
