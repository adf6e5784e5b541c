"""Changes within a period: prorated lines of a paid bill, and the credits beside them. Without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from models.cycles import LONG_AGO
from models.plans.rules import months
from models.plans.rules.bills import PlanLine, covered_share
from models.plans.rules.parts import Part, day, seats, units_at
from models.plans.rules.timeline import Timeline

# Of a running period, by its start: the units that are paid for now, and the most that were.
Levels = dict[datetime, tuple[int, int]]
AN_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """Prorated lines of one bill that count from `start`: what was `added`, and what was `credited` for it."""

    start: datetime
    added: Sequence[PlanLine]
    credited: Sequence[PlanLine]

    def delta(self, start: datetime) -> int:
        """By how many units it changes what is paid for, of a whole period that begins at `start`."""
        return sum(one.units(start) for one in self.added) - sum(one.units(start) for one in self.credited)

    @property
    def end(self) -> datetime:
        """The end of what was added."""
        return max(one.line.end for one in self.added)

    @property
    def leading(self) -> PlanLine:
        """The line of the largest plan that was added."""
        return max(self.added, key=lambda one: (one.units(one.line.start), one.line.id))


def apply(change: Change, parts: list[Part], levels: Levels, timeline: Timeline, opening: datetime | None) -> None:
    """Apply a change to the parts. Credits alone end what they credit, for periods that have not begun.

    `opening`: until when a change that an older version recorded is part of the opening.
    """
    if not change.added:
        for part in parts:
            if part.start >= change.start and any(_is_credited(part, one) for one in change.credited):
                part.units = 0
        return
    is_carried_over = change.leading.bill.is_carried_over
    for start, end in _touched(change, parts, timeline):
        if is_carried_over and opening is not None:
            if start >= opening:
                _raise_to(change, parts, start, end)
        elif start <= change.start:
            _raise_running(change, parts, levels, start, end)
        else:
            _change_later(change, parts, start, end)


def _raise_running(change: Change, parts: list[Part], levels: Levels, start: datetime, end: datetime) -> None:
    """In the running period only what exceeds the most so far is new, by the share of time. Nothing is taken."""
    level, peak = levels.get(start) or (units_at(parts, change.start),) * 2
    delta = change.delta(start)
    changed = level + delta
    if delta < 0:
        changed = max(changed, min(level, sum(one.units(start) for one in change.added)))
    gain = max(0, changed - peak)
    levels[start] = (changed, max(peak, changed))
    terms = change.leading.terms
    whole = end - start
    is_full = terms.on_upgrade == "full" and (level > 0 or bool(change.credited))
    paid = whole if is_full else min(change.end, end) - change.start
    covered, of = covered_share(change.leading.bill)
    units = gain * (paid // AN_INSTANT) * covered // (whole // AN_INSTANT * of)
    if units > 0:
        parts.append(_part(change, start, end, units, LONG_AGO))


def _raise_to(change: Change, parts: list[Part], start: datetime, end: datetime) -> None:
    """A change that an older version recorded: it raises its months to the new plan."""
    units = change.leading.units(start) - units_at(parts, start)
    if units > 0:
        parts.append(_part(change, start, end, units, start))


def _change_later(change: Change, parts: list[Part], start: datetime, end: datetime) -> None:
    """Periods that have not begun have the new units. What was added pays for the difference."""
    credited = [
        part for part in parts if part.begins_at(start) and any(_is_credited(part, one) for one in change.credited)
    ]
    covered, of = covered_share(change.leading.bill)
    whole = (end - start) // AN_INSTANT
    paid = whole if change.end >= end - months.TOLERANCE else (change.end - start) // AN_INSTANT
    delta = change.delta(start)
    if delta >= 0:
        units = delta * paid * covered // (whole * of)
        for part in credited:
            part.prices |= {one.line.price for one in change.added}
        if units > 0:
            parts.append(_part(change, start, end, units, start))
        return
    left = sum(one.units(start) for one in change.credited)
    for part in sorted(credited, key=attrgetter("since"), reverse=True):
        taken = min(part.units, left)
        part.units -= taken
        left -= taken
    for one in change.added:
        units = one.units(start) * paid * covered // (whole * of)
        if units > 0:
            parts.append(_part(Change(change.start, [one], ()), start, end, units, start))


def _touched(change: Change, parts: Sequence[Part], timeline: Timeline) -> list[months.Period]:
    """The periods that the added lines touch: those that are covered, else those of the anchor."""
    start, end = change.start, change.end
    running = [part for part in parts if part.units > 0 and part.overlaps(start, end)]
    credited = [part for part in running if any(_is_credited(part, one) for one in change.credited)]
    alike = [part for part in running if part.kind != "trial" and part.line and part.end <= end + months.TOLERANCE]
    chosen = _distinct(credited or alike)
    if chosen and chosen[0][0] <= start:
        return chosen
    anchor = next(iter(timeline.anchors(start)), end)
    return months.grid(start, end, anchor, change.leading.line.interval)


def _distinct(parts: Sequence[Part]) -> list[months.Period]:
    """The periods in order; of those that overlap, the one that was billed last."""
    found: list[months.Period] = []
    for part in sorted(parts, key=attrgetter("since", "start"), reverse=True):
        slack = min(months.TOLERANCE, (part.end - part.start) / 3)
        if all(part.start >= end - slack or part.end <= start + slack for start, end in found):
            found.append((part.start, part.end))
    return sorted(found)


def _is_credited(part: Part, one: PlanLine) -> bool:
    """Whether a negative line credits the part: it names its line, else it has its price and overlaps it."""
    if part.kind == "trial":
        return False
    line = one.line
    if part.bill in line.credits:
        named = [id_ for id_ in line.credits if id_ != part.bill]
        return not named or part.line in named or line.price in part.prices
    if not part.overlaps(line.start, line.end):
        return False
    if line.price is not None and part.prices - {None}:
        return line.price in part.prices
    return part.plan == one.terms.plan or (part.kind == "opening" and line.price is None)


def _part(change: Change, start: datetime, end: datetime, units: int, due: datetime) -> Part:
    one = change.leading
    return Part(
        kind="change", plan=one.terms.plan, units=units, start=start, end=end,
        why=f"{seats(one.terms.plan, one.line.quantity)} from {day(change.start)}: paid by {one.bill.bill}", due=due,
        bill=one.bill.bill, item=one.line.item, line=one.line.id, since=change.start,
        prices={added.line.price for added in change.added},
    )  # fmt: skip
