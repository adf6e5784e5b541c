"""Grants that fall due later, as they are stored."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.plans import upcoming

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
MONTH = timedelta(days=30)


def grant(number: int, *, plan: str = "pro", due: datetime | None = None, **more: Any) -> dict[str, Any]:
    start = START + number * MONTH
    return {"due": due or start, "plan": plan, "units": 100, "start": start, "end": start + MONTH, **more}


def stored(grants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = orjson.loads(orjson.dumps(upcoming.series(grants)))
    return read


def same(grants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: str(value).replace("T", " ") for name, value in sorted(one.items())} for one in grants]


def test_the_months_of_a_year_are_one_series_that_loses_one_month_at_a_time() -> None:
    kept = stored([grant(number) for number in range(1, 12)])
    assert len(kept) == 1
    for number in range(1, 12):
        assert upcoming.next_due_at(kept) == START + number * MONTH
        early, kept = upcoming.take(kept, START + number * MONTH - timedelta(seconds=1))
        ready, kept = upcoming.take(kept, START + number * MONTH)
        assert (early, same(ready)) == ([], same([grant(number)]))
        kept = orjson.loads(orjson.dumps(kept))
    assert kept == []
    assert upcoming.next_due_at(kept) is None


GRANTS = st.builds(
    grant,
    st.integers(0, 6),
    plan=st.sampled_from(["pro", "pro", "lite"]),
    due=st.none() | st.integers(0, 6).map(lambda number: START + number * MONTH + timedelta(days=9)),
)
TIMES = st.builds(lambda number: {"due": START + number * MONTH}, st.integers(0, 6))


@given(st.lists(GRANTS | TIMES, max_size=12), st.lists(st.integers(0, 250), max_size=4).map(sorted))
def test_whatever_is_stored_is_ready_when_it_is_due_and_once(grants: list[dict[str, Any]], days: list[int]) -> None:
    kept, left = stored(grants), grants
    for day in days:
        now = START + timedelta(days=day)
        ready, kept = upcoming.take(kept, now)
        due = [one for one in left if one["due"] <= now]
        left = [one for one in left if one["due"] > now]
        assert sorted(map(str, same(ready))) == sorted(map(str, same(due)))
        assert upcoming.next_due_at(kept) == min((one["due"] for one in left), default=None)
        kept = orjson.loads(orjson.dumps(kept))
