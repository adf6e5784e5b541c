"""What paid bills cover: whole periods, and changes within them. Without I/O.

The lines of all paid bills are applied in the order of the times from which they count. A whole line covers its periods
and ends what the same item had before, for periods that have not begun. Prorated lines are a change: in the running
period it raises the units by the share of time that was paid, if they exceed the most that the period had so far; later
periods have the new units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models.cycles import LONG_AGO
from models.plans.facts import Facts, Promise
from models.plans.rules import changes, months
from models.plans.rules.bills import PlanLine, covered_share
from models.plans.rules.changes import Change, Levels
from models.plans.rules.parts import Part, seats
from models.plans.rules.timeline import Timeline

# Lines of one change have the same start.
SAME = timedelta(minutes=1)


@dataclass(slots=True)
class Coverage:
    """The parts so far, oldest act first."""

    facts: Facts
    timeline: Timeline
    parts: list[Part]
    levels: Levels = field(default_factory=dict)
    is_promise_kept: bool = False

    def apply(self, lines: Sequence[PlanLine]) -> None:
        """Apply the lines of paid bills, none of a trial."""
        until = self.facts.opening.until if self.facts.opening else None
        for _, _, act in sorted(_acts(lines), key=lambda act: act[:2]):
            if isinstance(act, Change):
                changes.apply(act, self.parts, self.levels, self.timeline, until)
            else:
                self._cover(act)

    def _cover(self, one: PlanLine) -> None:
        """A whole line: each of its periods that is not covered yet."""
        line, item_quantity = one.line, one.line.quantity
        self._end_earlier(one)
        promised = self._promised(one)
        spans = months.of_line(line.start, line.end, line.interval, self.timeline.anchors(line.start))
        covered, of = covered_share(one.bill)
        for number, (start, end) in enumerate(spans):
            if self.facts.opening and one.bill.is_carried_over and start < self.facts.opening.until:
                continue
            units = (
                (promised * item_quantity if promised is not None and number == 0 else one.units(start)) * covered // of
            )
            units -= self._already(one, start)
            if units > 0:
                self.parts.append(_part(one, start, end, units, is_first=number == 0))

    def _already(self, one: PlanLine, start: datetime) -> int:
        """Units that the period has already: an opening's, or those of another paid bill for the same price."""
        same = [part for part in self.parts if part.begins_at(start)]
        for part in same:
            if part.kind == "status" and part.plan == one.terms.plan:
                part.units = 0  # the bill decides
        opening = sum(part.units for part in same if part.kind == "opening")
        again = [part for part in same if part.bill != one.bill.bill and _is_paid_again(part, one)]
        for part in again:
            part.also_paid_by.append(one.bill.bill)
        return opening + sum(part.units for part in again)

    def _end_earlier(self, one: PlanLine) -> None:
        """End what the same item had before, for periods that do not begin before the line does."""
        line = one.line
        for part in self.parts:
            is_earlier = part.kind in ("bill", "change", "status") and part.since < line.start - SAME
            if is_earlier and part.start >= line.start - SAME and self._is_replaced(part, one):
                part.units = 0

    def _is_replaced(self, part: Part, one: PlanLine) -> bool:
        """Whether the line is of the same item, not of another one beside it."""
        if part.prices == {one.line.price} or part.plan == one.terms.plan:
            return True
        items = {item.price for item in self.timeline.items_at(one.line.start)}
        if one.line.price in items and part.prices & items:
            return False
        return _is_same(part, one)

    def _promised(self, one: PlanLine) -> int | None:
        """The units of one seat that a checkout promised for the first paid period."""
        promise: Promise | None = self.facts.promise
        if promise is None or self.is_promise_kept or promise.plan != one.terms.plan:
            return None
        self.is_promise_kept = True
        return promise.units


def _is_paid_again(part: Part, one: PlanLine) -> bool:
    """Whether the line pays once more for what the part was paid for."""
    is_alike = part.prices == {one.line.price} and part.plan == one.terms.plan
    return part.kind == "bill" and is_alike and _is_same(part, one)


def _is_same(part: Part, one: PlanLine) -> bool:
    return part.item is None or one.line.item is None or part.item == one.line.item


def _part(one: PlanLine, start: datetime, end: datetime, units: int, *, is_first: bool) -> Part:
    return Part(
        kind="bill", plan=one.terms.plan, units=units, start=start, end=end,
        why=f"{seats(one.terms.plan, one.line.quantity)}: paid by {one.bill.bill}", due=LONG_AGO if is_first else start,
        bill=one.bill.bill, item=one.line.item, line=one.line.id, since=one.line.start, prices={one.line.price},
    )  # fmt: skip


Groups = dict[tuple[str, datetime], list[PlanLine]]


def _together(groups: Groups) -> Groups:
    """Changes of one second as one: nothing says in which order they were made."""
    found: Groups = {}
    for (bill, start), group in sorted(groups.items()):
        first = next((key for key in found if key[1] == start), (bill, start))
        found.setdefault(first, []).extend(group)
    return found


Act = tuple[datetime, tuple[int, datetime, str, str], "Change | PlanLine"]


def _acts(lines: Sequence[PlanLine]) -> Iterator[Act]:
    """Whole lines, and prorated lines and credits of one bill that count from the same time.

    Credits that stand beside a whole line come before it.
    """
    groups: Groups = {}
    for one in lines:
        if not one.is_credit and not one.line.is_prorated:
            yield one.line.start, (1, one.bill.at, one.bill.bill, one.line.id), one
            continue
        start = next((at for bill, at in groups if bill == one.bill.bill and abs(at - one.line.start) <= SAME), None)
        groups.setdefault((one.bill.bill, start or one.line.start), []).append(one)
    for (bill, start), group in _together(groups).items():
        change = Change(start, [one for one in group if not one.is_credit], [one for one in group if one.is_credit])
        yield start, (0, group[0].bill.at, bill, ""), change
