"""PayPal's sales as bills with lines: each pays the oldest cycles that are not paid yet. Without I/O.

A sale names a subscription and an amount, and no period. Cycles begin at the start of the subscription + n months:
`next_billing_time` can be wrong after a trial. The plan is that of the snapshot at the start of the cycle. Cycles that
begin while the subscription is suspended are not sold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from models import cycles
from models.plans.facts import SALE, Bill, Interval, Item, Line, Snapshot
from models.plans.rules.bills import Prices
from models.plans.rules.months import TOLERANCE
from models.plans.rules.timeline import AT_START, Timeline

MONTH = Interval("month")
MOST_CYCLES = 24
# More cycles than any subscription has.
LAST_CYCLE = 1200
# Sales in these states pay their cycles, or are about to.
TAKING = ("paid", "open")
AT_ONCE = timedelta(0)
# PayPal's clock counts seconds: a revision in the second in which a cycle begins counts from the next one.
BEFORE = timedelta(seconds=-1)


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle and what it sells. `prices_minor`: what one costs, the price in force first."""

    number: int
    start: datetime
    end: datetime
    item: Item
    currency: str
    prices_minor: tuple[int, ...]


def with_lines(bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> list[Bill]:
    """The same bills; sales have a line for each cycle that they pay. Sales of another amount have one of their own."""
    anchor, first = _first_cycle(bills, timeline, prices)
    found = []
    for bill in bills:
        if bill.reason != SALE or anchor is None:
            found.append(bill)
            continue
        paid = _cycles_of(bill, anchor, first, timeline, prices)
        if bill.state in TAKING and paid:
            first = paid[-1][0].number + 1
        found.append(replace(bill, lines=_lines(bill, paid, timeline, prices)))
    return found


def _lines(bill: Bill, paid: list[tuple[Cycle, int]], timeline: Timeline, prices: Prices) -> tuple[Line, ...]:
    if not paid and not _is_sold(timeline, prices):
        return ()
    if not paid:
        return (Line(f"{bill.bill}:fee", bill.at, bill.at, bill.total_minor, is_one_off=True),)
    return tuple(
        Line(
            id=f"{bill.bill}:{cycle.number}",
            start=cycle.start,
            end=cycle.end,
            amount_minor=amount_minor,
            item=cycle.item.id,
            price=cycle.item.price,
            quantity=cycle.item.quantity,
            interval=MONTH,
        )
        for cycle, amount_minor in paid
    )


def _cycles_of(bill: Bill, anchor: datetime, first: int, timeline: Timeline, prices: Prices) -> list[tuple[Cycle, int]]:
    """The cycles from `first` on that the sale pays, and what it pays for each; none for another amount.

    A failed sale stands for the next cycle.
    """
    left, paid = bill.total_minor, list[tuple[Cycle, int]]()
    for cycle in islice(_sold(anchor, first, timeline, prices), MOST_CYCLES):
        if cycle.currency != (bill.currency or cycle.currency):
            return []
        # Of several prices that the plan has had, the one that divides what is left.
        known = [price for price in cycle.prices_minor if 0 < price <= left]
        price = next((price for price in known if left % price == 0), known[0] if known else 0)
        if not price:
            return []
        paid.append((cycle, price))
        left -= price
        if left == 0:
            return paid
    return []


def _sold(anchor: datetime, first: int, timeline: Timeline, prices: Prices) -> Iterator[Cycle]:
    """The cycles from `first` on, without those that begin in a suspension."""
    for number in range(first, LAST_CYCLE):
        start, end = cycles.cycle_start(anchor, number), cycles.cycle_start(anchor, number + 1)
        before = timeline.in_force(start - AT_START, AT_ONCE)
        if before is not None and before.is_paused and before.at < start:
            continue
        snapshot = timeline.in_force(start, BEFORE)
        sold = prices.items(snapshot, start) if snapshot else []
        if not sold:
            return
        item, terms = sold[0]
        known = prices.book.prices_minor(terms.plan, item.price, start)
        costs = tuple(price * item.quantity for price in known)
        yield Cycle(number, start, end, item, terms.currency, costs)


def _is_sold(timeline: Timeline, prices: Prices) -> bool:
    return any(prices.items(snapshot, snapshot.at) for snapshot in timeline.snapshots)


def _first_cycle(bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> tuple[datetime | None, int]:
    """The start of cycle 0, and the number of the first cycle that can be unpaid: after the trial.

    If the first report is of a later time, cycles before the first sale were paid before Scrip knew the subscription.
    """
    anchored = [one for one in timeline.snapshots if one.anchor]
    # The approval sets the start.
    snapshot = next((one for one in anchored if one.status != "incomplete"), anchored[0] if anchored else None)
    if snapshot is None or snapshot.anchor is None:
        return None, 0
    sales = [bill for bill in bills if bill.reason == SALE and bill.state in TAKING]
    anchor, first = _after_trial(snapshot, snapshot.anchor, sales, timeline, prices)
    known_since = min([timeline.snapshots[0].at, *(sale.at for sale in sales)])
    if sales and known_since >= cycles.cycle_start(anchor, first + 1) - TOLERANCE:
        paid = _cycles_of(sales[0], anchor, cycles.cycle_at(anchor, sales[0].at + TOLERANCE), timeline, prices)
        first = max(first, cycles.cycle_at(anchor, sales[0].at + TOLERANCE) - max(0, len(paid) - 1))
    return anchor, first


def _after_trial(
    snapshot: Snapshot, start: datetime, sales: Sequence[Bill], timeline: Timeline, prices: Prices
) -> tuple[datetime, int]:
    """The start of cycle 0, and the number of the first one after the trial.

    PayPal does not report how long a cycle of a trial is. If the plan is paid before the months of the trial are over,
    they were shorter, and the cycles begin with that payment.
    """
    if snapshot.trial_end is None:
        return start, 0
    first = cycles.nearest_cycle(start, snapshot.trial_end)
    early = [sale for sale in sales if sale.at < snapshot.trial_end - TOLERANCE]
    for sale in early:
        if _cycles_of(sale, sale.at, 0, timeline, prices):
            return sale.at, 0
    return start, first
