"""Units of a period that live on for one more cycle: `rollover` of a plan with `expires_after = "period"`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.kernel import (
    claw,
    day,
    entries,
    expiries,
    failures,
    grant,
    kernel,
    remaining,
    report,
    take,
    unqueue,
)

__all__ = ["kernel"]

pytestmark = pytest.mark.usefixtures("kernel")
GRACE = timedelta(days=3)
MONTH = 31


def month(number: int, units: int = 100, *, plan: str = "lite", **more: Any) -> int:
    """The grant of a month, on its first day."""
    return period(day(MONTH * number), day(MONTH * (number + 1)), units, plan, **more)


def week(number: int, units: int = 10, **more: Any) -> int:
    """The grant of a week of another plan."""
    return period(day(7 * number), day(7 * (number + 1)), units, "addon", **more)


def period(start: datetime, end: datetime, units: int, plan: str, *, at: datetime | None = None, **more: Any) -> int:
    return grant(
        units,
        at=at or start,
        type="subscription_grant",
        source=f"plan:{plan}",
        expires_at=end + GRACE,
        subscription_id=1,
        period_start=start,
        per_period=True,
        **more,
    )


@pytest.fixture(autouse=True)
def books_are_right(kernel: Any) -> Any:
    yield
    assert failures() == {}


def test_what_is_unused_lives_on_up_to_the_limit_and_the_rest_expires() -> None:
    month(0)
    take(10, at=day(1))
    month(1, rollover=60)
    assert remaining() == [60, 100]
    assert entries()[-2:] == [("expiry", -30), ("subscription_grant", 100)]
    assert expiries() == [day(2 * MONTH) + GRACE] * 2


def test_less_than_the_limit_lives_on_whole() -> None:
    month(0)
    take(70, at=day(1))
    month(1, rollover=60)
    assert remaining() == [30, 100]
    assert [type_ for type_, _ in entries()] == ["subscription_grant", "deduction", "subscription_grant"]


def test_units_live_on_for_one_cycle_only() -> None:
    month(0)
    month(1, rollover=60)
    month(2, rollover=60)
    assert remaining() == [0, 60, 100]


def test_what_is_left_of_the_limit_does_not_go_to_an_earlier_cycle() -> None:
    month(0)
    month(1, units=5, rollover=60)
    take(55, at=day(MONTH))
    assert remaining() == [5, 5]
    month(2, rollover=60)
    assert remaining() == [0, 5, 100]


def test_the_lots_of_one_cycle_share_the_limit() -> None:
    month(0)
    month(0, units=40, plan="max", at=day(3))
    month(1, units=140, plan="max", rollover=110)
    assert remaining() == [100, 10, 140]


def test_the_limit_is_that_of_the_plan_that_is_granted_next() -> None:
    month(0)
    month(1, plan="max", rollover=20)
    assert remaining() == [20, 100]
    month(2, plan="max", rollover=20)
    assert remaining() == [0, 20, 100]


def test_no_limit_no_rollover() -> None:
    month(0, rollover=60)
    month(1)
    assert remaining() == [0, 100]


def test_a_week_of_an_item_beside_it_does_not_end_the_month() -> None:
    month(0)
    for number in range(4):
        week(number)
    assert remaining() == [100, 0, 0, 0, 10]


def test_a_month_does_not_end_the_week_that_runs() -> None:
    month(0)
    week(4)
    month(1)
    assert remaining() == [0, 10, 100]


@pytest.mark.parametrize("plan", ["lite", "max"])
def test_more_seats_or_a_larger_plan_in_the_period_end_nothing(plan: str) -> None:
    month(0)
    period(day(0) + timedelta(seconds=2), day(MONTH), 40, plan, at=day(3), rollover=5)
    assert remaining() == [100, 40]


def test_a_report_that_waits_may_be_paid_by_all_that_was_there() -> None:
    month(0)
    report(day(30))
    month(1, rollover=60)
    assert remaining() == [100, 100]
    unqueue()
    assert take(150, at=day(MONTH), received_at=day(30)).units == 150
    assert sum(remaining()) == 50


def test_expired_units_count_as_returned_when_the_month_is_refunded() -> None:
    first = month(0)
    month(1, rollover=60)
    claw(first, 100, at=day(MONTH + 1))
    assert remaining() == [0, 100]


def test_late_units_roll_over_and_keep_their_own_longer_life() -> None:
    month(0, at=day(MONTH - 1))
    month(1, rollover=60)
    assert remaining() == [60, 100]
