"""Bills of a subscription, merged from all their reports, and the plans that their lines pay for. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from models.plans.facts import STATES, Bill, CreditNote, Item, Line, Snapshot
from models.plans.rules.months import SHORTEST_MONTH
from models.plans.rules.timeline import Timeline
from models.plans.terms import Terms, TermsBook

_DAY = timedelta(days=1)


def merged(reports: Iterable[Bill], notes: Iterable[CreditNote]) -> list[Bill]:
    """One bill for all reports of it, in the state that takes precedence; oldest first.

    Its lines are those of the most complete report in that state.
    """
    by_id: dict[str, list[Bill]] = {}
    for report in reports:
        by_id.setdefault(report.bill, []).append(report)
    bills = [_merge(many, [note for note in notes if note.bill == id_]) for id_, many in by_id.items()]
    return sorted(bills, key=lambda bill: (bill.at, bill.bill))


def _merge(reports: Sequence[Bill], notes: Sequence[CreditNote]) -> Bill:
    best = max(reports, key=lambda one: (STATES.index(one.state), one.is_complete, len(one.lines), one.key))
    by_notes = {note.note: note.amount_minor for note in notes}
    for note in notes:
        if note.is_void:
            by_notes[note.note] = 0
    return replace(
        best,
        at=min(report.at for report in reports),
        aliases=tuple(sorted({alias for report in reports for alias in report.aliases})),
        credited_minor=max(sum(by_notes.values()), *(report.credited_minor for report in reports)),
        customer=best.customer or _first(reports, "customer"),
        checkout=best.checkout or _first(reports, "checkout"),
        plan=best.plan or _first(reports, "plan"),
        url=best.url or _first(reports, "url"),
    )


def _first(reports: Sequence[Bill], name: str) -> str | None:
    """The first value, in the order of the reports' keys, of a field that some of them leave empty."""
    values = [getattr(report, name) for report in sorted(reports, key=attrgetter("key"))]
    return next(filter(None, values), None)


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A line that pays for a plan, or credits it. `quantity` is at least 1."""

    line: Line
    bill: Bill
    terms: Terms
    is_trial: bool
    book: TermsBook

    @property
    def is_credit(self) -> bool:
        return self.line.amount_minor < 0

    def units(self, start: datetime) -> int:
        """The units of the period that begins then, of all seats, by the terms that were in force."""
        if self.line.units is not None:
            return self.line.units * self.line.quantity
        return (self.book.terms(self.terms.plan, start) or self.terms).units * self.line.quantity


class Prices:
    """Which plan each price of a subscription pays for: by the catalog, else as its metadata named it."""

    def __init__(self, book: TermsBook, timeline: Timeline) -> None:
        self.book = book
        self.intervals = {
            item.price: item.interval for snapshot in timeline.snapshots for item in snapshot.items if item.interval
        }
        named: dict[str, set[str]] = {}
        for snapshot in timeline.snapshots:
            hinted = self._hinted(snapshot)
            if hinted and hinted.price and snapshot.plan:
                named.setdefault(hinted.price, set()).add(snapshot.plan)
        # A price that was made for one checkout, and is in no catalog.
        self.learned = {price: plans.copy().pop() for price, plans in named.items() if len(plans) == 1}

    def plan_of(self, price: str | None, at: datetime) -> str | None:
        """The plan of the price at that time."""
        return self.book.plan_of(price, at) or self.learned.get(price or "")

    def items(self, snapshot: Snapshot, at: datetime) -> list[tuple[Item, Terms]]:
        """The items that are plans, with their terms at that time."""
        hinted = self._hinted(snapshot)
        found = []
        for item in snapshot.items or ((hinted,) if hinted else ()):
            plan = self.book.plan_of(item.price, at) or (snapshot.plan if item is hinted else None)
            terms = self.book.terms(plan or self.learned.get(item.price or ""), at)
            if terms and item.quantity > 0:
                found.append((item, terms))
        return found

    def _hinted(self, snapshot: Snapshot) -> Item | None:
        """The item that is the plan named in the metadata: the first one, if the catalog knows the price of none."""
        if snapshot.plan is None or self.book.latest(snapshot.plan) is None:
            return None
        if any(self.book.plan_of(item.price, snapshot.at) for item in snapshot.items):
            return None
        return snapshot.items[0] if snapshot.items else Item(None, None)

    def named_only(self, timeline: Timeline) -> list[str]:
        """The price of the latest snapshot, if it changed and only the metadata say that it is of a plan."""
        latest = timeline.latest
        hinted = self._hinted(latest) if latest else None
        before = {item.price for snapshot in timeline.snapshots[:-1] for item in snapshot.items}
        is_named_anew = len({snapshot.plan for snapshot in timeline.snapshots}) > 1 or (
            latest and "plan" in latest.previous
        )
        return [hinted.price] if hinted and hinted.price and before - {hinted.price} and not is_named_anew else []

    def unknown(self, snapshot: Snapshot) -> list[str]:
        """The prices of the snapshot that are of no plan."""
        known = {item.price for item, _ in self.items(snapshot, snapshot.at)}
        return sorted({item.price for item in snapshot.items if item.price and item.price not in known})


def plan_lines(bill: Bill, prices: Prices, timeline: Timeline) -> list[PlanLine]:
    """The lines of the bill that are about plans, in order."""
    lines = [line for line in bill.lines if line.quantity > 0 and not line.is_one_off]
    known = {line.id: prices.book.plan_of(line.price, line.start) for line in lines}
    hinted = {} if any(known.values()) else _hinted(bill, lines, prices)
    found = []
    for line in lines:
        plan = known[line.id] or hinted.get(line.id) or prices.learned.get(line.price or "")
        if plan is None and line.amount_minor < 0 and hinted:
            plan = _plan_before(line, prices, timeline)
        terms = prices.book.terms(plan, line.start)
        if terms is not None:
            sold = replace(line, interval=line.interval or prices.intervals.get(line.price))
            is_trial = _is_trial(sold, bill, terms, timeline)
            sold = sold if is_trial or not _is_stub(sold, timeline) else replace(sold, is_prorated=True)
            found.append(PlanLine(sold, bill, terms, is_trial, prices.book))
    return found


def _hinted(bill: Bill, lines: Sequence[Line], prices: Prices) -> dict[str, str | None]:
    """The plan that metadata name, of the last whole line and of the last prorated one: others may be add-ons."""
    found: dict[str, str | None] = {}
    for is_prorated in (False, True):
        alike = [line for line in lines if line.is_prorated == is_prorated and line.amount_minor >= 0]
        line = max(alike, key=lambda one: (one.start, one.amount_minor, one.id), default=None)
        plan = (bill.plan or line.plan) if line else None
        if line and plan and prices.book.latest(plan):
            found[line.id] = plan
    return found


def _plan_before(line: Line, prices: Prices, timeline: Timeline) -> str | None:
    """The plan that a credit credits whose price is in no catalog: the one of the item before it."""
    before = [snapshot for snapshot in timeline.snapshots if snapshot.at < line.start]
    items = prices.items(before[-1], line.start) if before else []
    return next((terms.plan for item, terms in items if line.price in (None, item.price)), None)


def _is_trial(line: Line, bill: Bill, terms: Terms, timeline: Timeline) -> bool:
    """Whether the line is that of a trial: nothing for a plan that is not free, until the anchor. A coupon leaves the
    amount of the line.
    """
    if line.amount_minor != 0 or terms.price_minor == 0 or line.is_prorated or line.end <= line.start:
        return False
    ends = [end for snapshot in timeline.snapshots for end in (snapshot.anchor, snapshot.trial_end) if end]
    if not ends:
        return bill.reason == "subscription_create"
    tolerance = (line.interval.tolerance if line.interval else None) or _DAY
    return any(abs(line.end - end) <= tolerance for end in ends)


def _is_stub(line: Line, timeline: Timeline) -> bool:
    """Whether the line pays for the days before the anchor, with which a subscription may begin."""
    if line.amount_minor <= 0 or line.end - line.start >= SHORTEST_MONTH:
        return False
    if line.interval is not None:
        return line.interval.unit == "month"
    return any(abs(line.end - anchor) <= _DAY and line.start < anchor - _DAY for anchor in timeline.anchors(line.start))


def covered_share(bill: Bill) -> tuple[int, int]:
    """Which part of its units a paid bill covers, as a fraction: less than whole after credit notes before payment."""
    if bill.credited_minor <= 0 or bill.total_minor <= 0:
        return 1, 1
    return max(0, bill.total_minor - bill.credited_minor), bill.total_minor


def unpaid_reason(bill: Bill) -> str:
    """Why a bill covers nothing."""
    words: Mapping[str, str] = {"void": "was voided", "failed": "was not paid", "uncollectible": "is uncollectible"}
    return f"{bill.bill} {words.get(bill.state, f'is {bill.state}')}"
