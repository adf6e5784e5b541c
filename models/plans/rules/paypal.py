"""PayPal's sales as bills with lines: each pays the oldest cycles that are not paid yet. Without I/O.

A sale names a subscription and an amount, and no period. Cycles begin at the start of the subscription + n intervals:
`next_billing_time` can be wrong after a trial. The plan is that of the snapshot at the start of the cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from models import cycles
from models.plans.facts import Bill, Interval, Item, Line
from models.plans.rules.bills import Prices
from models.plans.rules.timeline import Timeline
from models.plans.terms import Terms

MONTH = Interval("month")
MOST_CYCLES = 24


def with_lines(bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> list[Bill]:
    """The same bills; those without lines have one for each cycle that they pay."""
    anchor = next((snapshot.anchor for snapshot in timeline.snapshots if snapshot.anchor), None)
    cycle = _trial_cycles(timeline)
    found = []
    for bill in bills:
        if bill.lines or anchor is None:
            found.append(bill)
            continue
        lines, paid = _lines(bill, anchor, cycle, timeline, prices)
        cycle += len(lines) if paid else 0
        found.append(replace(bill, lines=tuple(lines)))
    return found


def _lines(bill: Bill, anchor: datetime, first: int, timeline: Timeline, prices: Prices) -> tuple[list[Line], bool]:
    """A line for each cycle from `first` on that the amount pays, and whether the bill is paid. Other amounts: none.

    A sale that is not paid has a line for the next cycle: it covers nothing, and neither does the status.
    """
    is_paid = bill.state == "paid"
    left, lines = bill.total_minor if is_paid else 1, list[Line]()
    while left > 0 and len(lines) < MOST_CYCLES:
        start, end = cycles.cycle_start(anchor, first + len(lines)), cycles.cycle_start(anchor, first + len(lines) + 1)
        sold = _sold(start, timeline, prices)
        if sold is None:
            return [], is_paid
        item, terms = sold
        price = terms.price_minor * item.quantity
        if is_paid and (left < price or price == 0):
            return [], is_paid
        left -= price if is_paid else 1
        lines.append(
            Line(f"{bill.bill}:{first + len(lines)}", start, end, price, item.id, item.price, item.quantity, MONTH)
        )
    return (lines if left == 0 else []), is_paid


def _sold(start: datetime, timeline: Timeline, prices: Prices) -> tuple[Item, Terms] | None:
    snapshot = timeline.in_force(start)
    items = prices.items(snapshot, start) if snapshot else []
    return items[0] if items else None


def _trial_cycles(timeline: Timeline) -> int:
    """How many cycles the trial has: they are not sold."""
    return max((1 for snapshot in timeline.snapshots if snapshot.trial_end), default=0)
