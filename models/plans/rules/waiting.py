"""What waits: a change of a subscription that has not come yet, and an open bill that can be paid. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from models.plans.facts import ENDED, Bill, Item, Schedule, Snapshot
from models.plans.rules.bills import Prices
from models.plans.rules.timeline import Timeline

PAYABLE = ("open", "failed")


def change(timeline: Timeline, prices: Prices, schedules: Iterable[Schedule]) -> dict[str, Any] | None:
    """The change that comes next: `{"plan", "quantity", "items", "at", "waits_for"}`; None if nothing changes.

    `at`: None while it waits for a payment. `plan`: the largest one of the items.
    """
    latest = timeline.latest
    if latest is None or latest.status in ENDED:
        return None
    if latest.pending:
        return _written(prices, latest, latest.pending, None, "payment")
    of_it = [one for one in schedules if one.schedule == latest.schedule]
    schedule = _latest(of_it)
    if schedule is None or schedule.is_over:
        return None
    for phase in sorted(schedule.phases, key=lambda one: one.start):
        if phase.start > timeline.now and _sold(phase.items) != _sold(latest.items):
            return _written(prices, latest, phase.items, phase.start, "period_end")
    return None


def _latest(reports: Sequence[Schedule]) -> Schedule | None:
    """The latest report; of several of one moment the one that no other reports as the state before it."""
    at = max((one.at for one in reports), default=None)
    tied = [one for one in reports if one.at == at]
    replaced = [one.before for one in tied if one.before]
    return max(tied, key=lambda one: (one.is_over, one.phases not in replaced, one.key), default=None)


def _sold(items: Iterable[Item]) -> list[tuple[str, int]]:
    return sorted((item.price or "", item.quantity) for item in items)


def _written(
    prices: Prices, latest: Snapshot, items: tuple[Item, ...], at: datetime | None, waits_for: str
) -> dict[str, Any]:
    found = prices.items(replace(latest, items=items), latest.at)
    shown = [
        {"plan": terms.plan, "quantity": item.quantity, "units": terms.units * item.quantity} for item, terms in found
    ]
    first: dict[str, Any] = max(shown, key=lambda one: int(one["units"]), default={"plan": None, "quantity": None})
    return {
        "plan": first["plan"],
        "quantity": first["quantity"],
        "items": shown,
        "at": at,
        "waits_for": waits_for,
    }


def payable_url(bills: Sequence[Bill]) -> str | None:
    """The page of the newest open bill."""
    urls = [bill.url for bill in bills if bill.state in PAYABLE and bill.url]
    return urls[-1] if urls else None
