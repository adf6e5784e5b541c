"""The clock of the sandbox. Production has no such endpoint."""

from __future__ import annotations

from datetime import datetime, timezone

from pydantic import Field

from models import clock
from models.errors import Invalid, NotFound
from settings import settings
from web.http.call import Call
from web.http.fields import Body, Duration, Shape
from web.http.routes import Answer, Routes

routes = Routes("Sandbox")
# Late enough for tests that span years, early enough for calendar and schedule arithmetic.
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)


class ClockBody(Body):
    advance: Duration = Field(description="The duration to add, such as `45s`, `10m`, `2h` or `31d`.")
    example = {"advance": "31d"}


class Clock(Shape):
    now: datetime
    example = {"now": "2026-03-03T12:00:00Z"}


@routes.post("/v1/sandbox/clock", scope="admin", body=ClockBody, answer=Clock, status=200, errors=(404,))
def advance_clock(call: Call) -> Answer:
    """Advance the clock of the sandbox.

    Schedules, expiries and sandbox subscriptions follow this clock. Signatures, certificates and customer tokens use
    wall-clock time.
    """
    if not settings.sandbox:
        raise NotFound("the clock can be advanced in the sandbox only")
    if call.now + call.body["advance"] > LATEST:
        raise Invalid([("advance", f"must not exceed the year {LATEST.year}; it is {call.now:%Y-%m-%d} now")])
    return {"now": clock.advance(call.body["advance"])}
