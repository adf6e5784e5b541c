"""What a subscription is owed: a pure function of the set of its facts. No I/O, no clock.

docs/plans.md states the rules. The modules of `models.plans.rules` have them: which snapshot is in force (`timeline`),
what the status covers, and trials (`by_status`), what paid bills cover (`by_bills`, `changes`), whose it is (`owner`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from operator import attrgetter

from models import money
from models.cycles import LONG_AGO
from models.plans.facts import SALE, STATUSES, Facts, Returned, Schedule
from models.plans.rules import by_status, owner, paypal, unbilled
from models.plans.rules.bills import Bill, PlanLine, Prices, merged, plan_lines
from models.plans.rules.by_bills import Coverage
from models.plans.rules.owner import Owner
from models.plans.rules.parts import Part
from models.plans.rules.timeline import Timeline
from models.plans.terms import TermsBook

NOTHING_BACK = Returned(0, 0)
ADD = "add it to the prices of a plan and restart"
KEPT = "the plan is the one that the metadata of the subscription name"


@dataclass(frozen=True, slots=True)
class Owed:
    """Units that the subscription is owed for the period from `start` to `end` of an item, refunds deducted.

    `due`: from when on. `paid_by`: the bill, None for a trial or a status. `whole_units`: before refunds. `is_guess`:
    the owner is not certain before `due`.
    """

    item: str | None
    plan: str
    start: datetime
    end: datetime
    units: int
    whole_units: int
    customer: str
    due: datetime
    paid_by: str | None
    why: str
    is_frozen: bool = False
    is_opening: bool = False
    is_guess: bool = False
    is_partly_returned: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """What is owed, now and later, and what else the facts say.

    `owed` is empty while it is undecided whose it is. `recompute_at`: when time alone changes the result, apart from
    what falls due. `notes`: what could not be understood or covers nothing, as sentences.
    """

    owed: list[Owed]
    owner: Owner
    timeline: Timeline
    bills: list[Bill]
    prices: Prices
    notes: list[str]
    recompute_at: datetime | None = None
    schedules: tuple[Schedule, ...] = ()


def owed(facts: Facts, book: TermsBook, now: datetime) -> list[Owed]:
    """What is owed at `now`, in the order of the periods."""
    return [one for one in account(facts, book, now).owed if one.due <= now]


def account(facts: Facts, book: TermsBook, now: datetime) -> Account:
    """What is owed by what is known at `now`, including periods that begin later."""
    timeline = Timeline(facts.snapshots, now)
    prices = Prices(book, timeline)
    bills = paypal.with_lines(merged(facts.bills, facts.notes), timeline, prices)
    lines = [one for bill in bills if bill.state == "paid" for one in plan_lines(bill, prices, timeline)]
    whose = owner.of(facts, bills, timeline, now)
    if facts.promise and facts.promise.customer not in [customer for _, customer in whose.named]:
        facts = replace(facts, promise=None)  # anybody can name a checkout in the metadata
    parts = _parts(facts, bills, lines, timeline, prices)
    found = []
    for part, units in _after_returns(facts, bills, parts, timeline):
        customer = whose.at(part.start)
        if customer is not None:
            found.append(_owed(facts, part, units, customer, whose))
    return Account(
        owed=sorted(found, key=attrgetter("start", "plan", "units")),
        owner=whose,
        timeline=timeline,
        bills=bills,
        prices=prices,
        notes=_notes(bills, prices, timeline),
        recompute_at=min(filter(None, [timeline.unknown_until, _end_to_come(timeline)]), default=None),
        schedules=facts.schedules,
    )


def _parts(
    facts: Facts, bills: Sequence[Bill], lines: Sequence[PlanLine], timeline: Timeline, prices: Prices
) -> list[Part]:
    """All parts, before refunds."""
    parts = [
        Part(
            kind="opening",
            plan=one.plan,
            units=one.units,
            start=one.start,
            end=one.end,
            since=one.start,
            why=f"{one.plan}: granted before plans were computed from facts",
            shares=one.shares,
        )
        for one in (facts.opening.periods if facts.opening else ())
    ]
    parts += by_status.trial(facts, bills, lines, timeline, prices)
    parts += by_status.promised(facts, list(by_status.periods(facts, bills, timeline, prices)))
    sold = [one for one in lines if not one.is_trial]
    Coverage(facts, timeline, parts).apply([*sold, *unbilled.lines(bills, timeline, prices)])
    return [part for part in parts if part.units > 0]


def _after_returns(
    facts: Facts, bills: Sequence[Bill], parts: Sequence[Part], timeline: Timeline
) -> list[tuple[Part, int]]:
    """The units of each part that are left after refunds and disputes of its bill."""
    ended_at = timeline.ended_at
    left = {id(part): part.units for part in parts}
    payers = {id(part): _payer(part, facts) for part in parts}
    for bill in bills:
        back = facts.returned.get(bill.bill, NOTHING_BACK)
        paid_for = [part for part in parts if payers[id(part)] == bill.bill]
        if back.back_minor <= 0 or back.paid_minor <= 0 or not paid_for:
            continue
        if ended_at and _is_in_force(bill, ended_at):
            _take_backwards(paid_for, back, left)
        else:
            for part in paid_for:
                left[id(part)] -= _share(part.units, back)
    for part in parts:
        for payment, units in part.shares:
            back = facts.returned.get(payment, NOTHING_BACK)
            if back.paid_minor > 0:
                left[id(part)] -= _share(units, back)
    return [(part, max(0, left[id(part)])) for part in parts]


def _payer(part: Part, facts: Facts) -> str | None:
    """The bill that pays for the part: of several, the one of which the least went back."""

    def share_back(bill: str) -> Fraction:
        back = facts.returned.get(bill, NOTHING_BACK)
        return Fraction(back.back_minor, back.paid_minor) if back.paid_minor > 0 else Fraction(0)

    return min([part.bill, *part.also_paid_by], key=share_back) if part.bill else None


def _share(units: int, back: Returned) -> int:
    return units * min(back.back_minor, back.paid_minor) // back.paid_minor


def _is_in_force(bill: Bill, ended_at: datetime) -> bool:
    """Whether the subscription ended in the time that the bill pays for."""
    ends = [line.end for line in bill.lines if line.amount_minor > 0 or bill.total_minor == 0]
    return bool(ends) and by_status.bill_start(bill) <= ended_at < max(ends)


def _take_backwards(paid_for: Iterable[Part], back: Returned, left: dict[int, int]) -> None:
    """After the end a refund counts backwards from the end of its bill: what was used up before stays paid."""
    parts = sorted(paid_for, key=attrgetter("start"), reverse=True)
    units = _share(sum(part.units for part in parts), back)
    for part in parts:
        taken = min(units, part.units)
        left[id(part)] -= taken
        units -= taken


def _owed(facts: Facts, part: Part, units: int, customer: str, whose: Owner) -> Owed:
    payments = [part.bill] if part.bill else [payment for payment, _ in part.shares]
    return Owed(
        item=part.item,
        plan=part.plan,
        start=part.start,
        end=part.end,
        units=units,
        whole_units=part.units,
        customer=customer,
        due=max(part.due, whose.decided_at),
        paid_by=part.bill or None,
        why=part.why,
        is_frozen=any(facts.returned.get(name, NOTHING_BACK).is_frozen for name in payments),
        is_opening=part.kind == "opening",
        is_guess=whose.decided_at > LONG_AGO,
        is_partly_returned=units != part.units,
    )


def _end_to_come(timeline: Timeline) -> datetime | None:
    """An end that was reported before it comes."""
    latest = timeline.latest
    return latest.ended_at if latest and latest.ended_at and latest.ended_at > timeline.now else None


def _notes(bills: Sequence[Bill], prices: Prices, timeline: Timeline) -> list[str]:
    """What covers nothing, or was understood by its name only."""
    latest = timeline.latest
    unknown = prices.unknown(latest) if latest else []
    named = prices.named_only(timeline)
    empty = [
        _covers_nothing(bill, timeline)
        for bill in bills
        if bill.state == "paid" and bill.total_minor > 0 and not plan_lines(bill, prices, timeline)
    ]
    odd = latest.status if latest and latest.status not in STATUSES else None
    return [
        *([f"the status {odd!r} is unknown, so it covers nothing; paid bills do"] if odd else []),
        *(f"the price {price} belongs to no plan of the catalog, so it grants nothing; {ADD}" for price in unknown),
        *(f"the price {price} belongs to no plan of the catalog; {KEPT}; {ADD}" for price in named),
        *empty,
    ]


def _covers_nothing(bill: Bill, timeline: Timeline) -> str:
    if bill.reason != SALE:
        return f"{bill.bill} is paid and has no line for a plan of the catalog, so it covers nothing"
    if not timeline.snapshots:
        return f"{bill.bill} is paid and covers nothing until its subscription is reported"
    currency = bill.currency or "usd"
    return (
        f"{bill.bill} paid {money.to_amount(bill.total_minor, currency)} {currency}, which is not a multiple of what a"
        " cycle of its plan costs in the catalog, so it covers nothing (like a setup fee)"
    )
