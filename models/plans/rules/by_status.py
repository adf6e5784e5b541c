"""What the status of a subscription covers where no bill was reported: periods of an active one, and trials. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from operator import attrgetter

from models.cycles import LONG_AGO
from models.plans.facts import Bill, Facts, Item, Snapshot
from models.plans.rules import months
from models.plans.rules.bills import PlanLine, Prices
from models.plans.rules.parts import Part, day, seats
from models.plans.rules.timeline import AT_START, Timeline
from models.plans.terms import Terms, TermsBook

# Bills and sessions are reported within this time. Until then, a status that they may contradict covers nothing.
PATIENCE = timedelta(hours=1)


def periods(facts: Facts, bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> Iterator[Part]:
    """The periods that an active status covers: no bill of them or of an earlier one was ever reported."""
    if _has_unpaid_session(facts):
        return
    for run in timeline.running():
        for before, snapshot, after in zip([None, *run], run, [*run[1:], None], strict=False):
            if snapshot.status != "active":
                continue
            for item, terms in prices.items(snapshot, snapshot.at):
                if snapshot.is_paused and not terms.paused_grants:
                    continue
                for start, stop, share in _begun(
                    item, snapshot, before, _last_start(item, run, snapshot, after, timeline)
                ):
                    part = _part(snapshot, item, prices.book.terms(terms.plan, start) or terms, start, stop, share)
                    part.due = max(start, _trusted_at(snapshot, bills, start))
                    if not _is_billed(facts, bills, start, stop, always=snapshot.is_paused):
                        yield part


def _part(snapshot: Snapshot, item: Item, terms: Terms, start: datetime, stop: datetime, share: Fraction) -> Part:
    why = "collection is paused" if snapshot.is_paused else "no bill was reported"
    return Part(
        kind="status", plan=terms.plan, units=int(terms.units * item.quantity * share), start=start, end=stop,
        why=f"{seats(terms.plan, item.quantity)}: the subscription is active and {why}",
        item=item.id, since=start, prices={item.price}, quantity=item.quantity,
    )  # fmt: skip


def promised(facts: Facts, parts: list[Part]) -> list[Part]:
    """The same parts; if a checkout of Scrip promised its plan, the first of them has the units that it promised."""
    first = min(parts, key=attrgetter("start"), default=None)
    if facts.promise and first and first.plan == facts.promise.plan and not facts.bills:
        first.units = facts.promise.units * first.quantity
    return parts


def _is_billed(facts: Facts, bills: Sequence[Bill], start: datetime, stop: datetime, *, always: bool) -> bool:
    """Whether bills decide about the period: one of it, or of an earlier one, was reported.

    `always`: the plan grants whatever becomes of them.
    """
    if facts.opening and start < facts.opening.until:
        return True
    return not always and any(_is_of(bill, start, stop) for bill in bills)


def _is_of(bill: Bill, start: datetime, stop: datetime) -> bool:
    """Whether the bill is of the period, or of an earlier one. A change within the period is billed for it, too."""
    if bill_start(bill) <= start + AT_START:
        return True
    changes = [line for line in bill.lines if line.is_prorated or line.amount_minor < 0]
    return any(line.start < stop - AT_START for line in changes)


def _last_start(
    item: Item, run: Sequence[Snapshot], snapshot: Snapshot, after: Snapshot | None, timeline: Timeline
) -> datetime:
    """Before when the last period begins that the snapshot covers.

    That is its own end; if the subscription is active later on, it was so all the time until then.
    """
    later = run[run.index(snapshot) :] if after else [snapshot]
    ends = [one.end for known in later for one in known.items if one.end]
    end = max(ends) - AT_START if ends else (item.start or snapshot.at) + timedelta(seconds=1)
    if after:
        end = min(end, after.at - AT_START)
    ended_at = timeline.ended_at
    return min(end, ended_at) if ended_at else end


def _begun(
    item: Item, snapshot: Snapshot, before: Snapshot | None, until: datetime
) -> Iterator[tuple[datetime, datetime, Fraction]]:
    """The periods (start, end, share of a whole one) that begin while the snapshot is in force.

    After a trial or at first, that includes the one that runs; earlier ones are not known to have been sold.
    """
    is_first = before is None or before.status == "trialing"
    since = (min(item.start or snapshot.at, snapshot.at) if is_first else snapshot.at) - AT_START
    anchor = snapshot.anchor or item.start or snapshot.at
    if item.start and item.interval and item.interval.unit != "month":
        anchor = item.start
    whole = [
        (start, stop)
        for start, stop in months.starts_between(since, until, anchor, item.interval)
        if stop > snapshot.at or not is_first
    ]
    if is_first and item.start and item.end and not any(start <= snapshot.at + AT_START for start, _ in whole):
        yield from _stub(item, anchor)
    yield from ((start, stop, Fraction(1)) for start, stop in whole)


def _stub(item: Item, anchor: datetime) -> Iterator[tuple[datetime, datetime, Fraction]]:
    """The days before the anchor, with which a subscription may begin."""
    assert item.start
    ((start, stop), *_) = months.grid(item.start, item.start + timedelta(seconds=1), anchor, item.interval)
    if stop > item.start > start + months.TOLERANCE:
        yield item.start, stop, Fraction((stop - item.start) / (stop - start))


def _trusted_at(snapshot: Snapshot, bills: Sequence[Bill], paid_from: datetime | None = None) -> datetime:
    """When the status is believed: a bill that it names, and that was not reported, has an hour to come.

    `paid_from`: when a sale of PayPal falls due, which no status names.
    """
    if snapshot.is_billed_by_sales and paid_from is not None:
        return max(snapshot.at, snapshot.received_at, paid_from) + PATIENCE
    known = {bill.bill for bill in bills}
    if snapshot.latest_invoice is None or snapshot.latest_invoice in known or snapshot.is_fetched:
        return LONG_AGO
    return max(snapshot.at, snapshot.received_at) + PATIENCE


def _is_fee(bill: Bill) -> bool:
    """Whether the bill is for items of their own only, as a setup fee is."""
    return bool(bill.lines) and all(line.is_one_off for line in bill.lines)


def _has_unpaid_session(facts: Facts) -> bool:
    """Whether a session says that its first bill is unpaid. A report that it was paid takes precedence."""
    paid = {session.session for session in facts.sessions if session.is_paid}
    return any(session.session not in paid for session in facts.sessions if not session.is_paid)


def bill_start(bill: Bill) -> datetime:
    """When the period of a bill begins: with its first line."""
    return min((line.start for line in bill.lines), default=bill.at)


def trial(
    facts: Facts, bills: Sequence[Bill], lines: Sequence[PlanLine], timeline: Timeline, prices: Prices
) -> list[Part]:
    """The trial: once, before the first paid period, however often its end moves."""
    paid = [one.line.start for one in lines if not one.is_trial and not one.is_credit]
    first_paid = min(paid, default=None)
    found = _trial_lines(lines) or _trial_status(facts, bills, timeline, prices)
    if not found:
        return []
    start = min(begin for _, _, _, begin, _ in found)
    if first_paid is not None and first_paid <= start + AT_START:
        return []
    if facts.opening and start < facts.opening.until:
        return []
    parts = []
    for terms, quantity, item, begin, due in found:
        if begin > start:
            continue
        end = max([begin, *_trial_ends(lines, timeline, first_paid)])
        parts += _trial_parts(prices.book, terms, quantity, item, begin, end, due)
    return parts


TrialFound = tuple[Terms, int, Item | None, datetime, datetime]


def _trial_lines(lines: Sequence[PlanLine]) -> list[TrialFound]:
    return [(one.terms, one.line.quantity, None, one.line.start, LONG_AGO) for one in lines if one.is_trial]


def _trial_status(facts: Facts, bills: Sequence[Bill], timeline: Timeline, prices: Prices) -> list[TrialFound]:
    """The trial by the status alone, where no bill of it was reported."""
    if _has_unpaid_session(facts):
        return []
    for snapshot in timeline.snapshots:
        if snapshot.status != "trialing":
            continue
        start = snapshot.trial_start or (snapshot.items[0].start if snapshot.items else None) or snapshot.at
        if any(bill_start(bill) <= start + months.TOLERANCE and not _is_fee(bill) for bill in bills):
            return []
        due = max(start, _trusted_at(snapshot, bills))
        return [(terms, item.quantity, item, start, due) for item, terms in prices.items(snapshot, start)]
    return []


def _trial_ends(lines: Sequence[PlanLine], timeline: Timeline, first_paid: datetime | None) -> list[datetime]:
    """All ends of the trial that were reported, none after the first paid period."""
    ends = [one.line.end for one in lines if one.is_trial]
    ends += [snapshot.trial_end for snapshot in timeline.snapshots if snapshot.trial_end]
    return [min(end, first_paid) if first_paid else end for end in ends]


def _trial_parts(
    book: TermsBook, terms: Terms, quantity: int, item: Item | None, start: datetime, end: datetime, due: datetime
) -> list[Part]:
    spans: list[months.Period] = [(start, end)]
    if terms.trial_grants == "monthly" and end > start:
        spans = list(months.starts_between(start, end, start, None))
    return [
        Part(
            kind="trial",
            plan=terms.plan,
            units=(book.terms(terms.plan, begin) or terms).units_of_trial * quantity,
            start=begin,
            end=min(stop, max(end, begin)),
            why=f"{seats(terms.plan, quantity)}: trial from {day(start)} to {day(end)}",
            due=due if begin == start else max(due, begin),
            item=item.id if item else None,
            since=start,
        )
        for begin, stop in spans
    ]
