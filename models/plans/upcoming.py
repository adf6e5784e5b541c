"""Grants that fall due later, as a subscription's row keeps them. Pure.

Grants that differ in their period only are one series: as copies of the same JSON, the months of a year would be most
of what a run of the schedule reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

# What is granted, with `due`, `start` and `end`. With `due` only: a time at which to compute the subscription again.
Upcoming = dict[str, Any]
# The same with `periods`, a list of (start, end), in place of `start` and `end`: all but the first are due at their
# start.
Series = dict[str, Any]


def series(grants: Iterable[Upcoming]) -> list[Series]:
    """The grants, in their order, as few series."""
    found: list[Series] = []
    last_due = None
    for one in grants:
        common = {name: value for name, value in one.items() if name not in ("due", "start", "end")}
        is_next = last_due is not None and last_due <= one["due"] == one.get("start")
        if not common:
            found.append(one)
        elif is_next and _common(found[-1]) == common:
            found[-1]["periods"].append([one["start"], one["end"]])
        else:
            found.append({**common, "due": one["due"], "periods": [[one["start"], one["end"]]]})
        last_due = one["due"]
    return found


def next_due_at(stored: Iterable[Series]) -> datetime | None:
    """When the first of them is due."""
    return min((time_of(one["due"]) for one in stored), default=None)


def take(stored: Iterable[Series], now: datetime) -> tuple[list[Upcoming], list[Series]]:
    """(The grants that are due, what remains)."""
    ready: list[Upcoming] = []
    rest: list[Series] = []
    for one in stored:
        if time_of(one["due"]) > now:
            rest.append(one)
        elif "periods" not in one:
            ready.append(one)
        else:
            _take(one, now, ready, rest)
    return ready, rest


def time_of(value: datetime | str) -> datetime:
    """A time that may have been read from JSON."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _take(one: Series, now: datetime, ready: list[Upcoming], rest: list[Series]) -> None:
    periods: Sequence[Any] = one["periods"]
    common, due = _common(one), one["due"]
    for number, (start, end) in enumerate(periods):
        due = due if number == 0 else start
        if time_of(due) > now:
            rest.append({**common, "due": due, "periods": periods[number:]})
            return
        ready.append({**common, "due": due, "start": start, "end": end})


def _common(one: Series) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in ("due", "periods")}
