"""The sandbox's clock. Outside the sandbox there is none."""

from __future__ import annotations

from datetime import datetime, timezone

from models import clock
from models.errors import Invalid, NotFound
from settings import settings
from web.http.fields import Body, Duration, Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Sandbox")
# Far enough for every test of years, near enough for calendars and schedules to bear.
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)


class ClockBody(Body):
    advance: Duration
    example = {"advance": "31d"}


class Clock(Shape):
    now: datetime
    example = {"now": "2026-03-03T12:00:00Z"}


@routes.post("/v1/sandbox/clock", scope="admin", body=ClockBody, answer=Clock, status=200, errors=(404,))
def advance_clock(call: Call) -> Answer:
    """Move the sandbox's clock forward, by a duration such as 45s, 10m, 2h or 31d.

    Schedules and expiries follow; signatures and tokens keep the wall clock's time.
    """
    if not settings.sandbox:
        raise NotFound("only the sandbox has a clock to move")
    if call.now + call.body["advance"] > LATEST:
        raise Invalid([("advance", f"the clock moves up to the year {LATEST.year}, and it is {call.now:%Y-%m-%d} now")])
    return {"now": clock.advance(call.body["advance"])}
