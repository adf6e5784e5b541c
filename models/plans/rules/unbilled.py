"""Changes that are trusted before a bill carries them: `on_upgrade_unbilled = "trust"`. Without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from models.plans.facts import PAYING, Bill, Item, Line, Snapshot
from models.plans.rules.bills import PlanLine, Prices
from models.plans.rules.timeline import AT_START, Timeline
from models.plans.terms import Terms, TermsBook


def lines(bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> Iterator[PlanLine]:
    """Prorated lines, as a bill would have them, of the upgrades that no bill was reported for."""
    for before, after in pairwise(timeline.snapshots):
        if after.status not in PAYING or before.status not in PAYING or _is_billed(bills, after):
            continue
        if after.is_billed_by_sales:
            continue  # the change counts from the next period
        old, new = prices.items(before, after.at), prices.items(after, after.at)
        gain = _units(new) - _units(old)
        if gain > 0 and all(terms.on_upgrade_unbilled == "trust" for _, terms in new):
            yield from (_line(prices.book, after, item, terms, 1) for item, terms in new)
            yield from (_line(prices.book, after, item, terms, -1) for item, terms in old)


def _units(items: Sequence[tuple[Item, Terms]]) -> int:
    return sum(terms.units * item.quantity for item, terms in items)


def _is_billed(bills: Sequence[Bill], snapshot: Snapshot) -> bool:
    """Whether a bill carries the change: it decides then."""
    return any(abs(line.start - snapshot.at) <= AT_START for bill in bills for line in bill.lines)


def _line(book: TermsBook, snapshot: Snapshot, item: Item, terms: Terms, sign: int) -> PlanLine:
    end = next((one.end for one in snapshot.items if one.end), None) or snapshot.at
    line = Line(
        id=f"{snapshot.key}:{item.price}:{sign}",
        start=snapshot.at,
        end=end,
        amount_minor=sign,
        item=item.id,
        price=item.price,
        quantity=item.quantity,
        interval=item.interval,
        is_prorated=True,
    )
    bill = Bill(key=snapshot.key, bill="", state="paid", at=snapshot.at, lines=(line,))
    return PlanLine(line, bill, terms, False, book)
