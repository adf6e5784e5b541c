"""Takes: units are deducted from lots in burn order; the shortfall rule decides what happens if they do not suffice."""

from __future__ import annotations

from datetime import datetime

from models.planning.movements import Outcome, Take
from models.planning.pricing import priced
from models.planning.state import MAX_BALANCE, Account, Lot, Plan
from models.planning.steps import draw, not_negative, outcome, overdraw, post_entry, refused, total, units_in


def take(plan: Plan, account: Account, movement: Take) -> Outcome:
    """Deduct the units. On a shortfall, `partial` takes what is available, `debt` overdraws, `reject` takes nothing."""
    if movement.carried:
        return priced(plan, account, movement, take)
    units = not_negative(movement.units)
    lots = account.payers(units, _paid_at(plan, movement))
    rule = movement.on_shortfall or account.policy.on_shortfall
    if rule == "reject" and units > units_in(lots):
        return refused(plan, account, "insufficient", shortfall=units)
    if rule == "debt" and account.balance - units < -MAX_BALANCE:
        return refused(plan, account, "beyond")
    return _spend(plan, account, movement, lots, overdraws=rule == "debt")


def _paid_at(plan: Plan, movement: Take) -> datetime:
    """The time at which a lot must not have expired to pay: `received_at`, but never later than now.

    Otherwise lots that can pay now would be skipped if the clock of the receiving node was ahead.
    """
    return min(movement.received_at, plan.now) if movement.received_at else plan.now


def _spend(plan: Plan, account: Account, movement: Take, lots: list[Lot], *, overdraws: bool) -> Outcome:
    drawn = draw(plan, lots, movement.units)
    missing = movement.units + total(drawn)
    if missing and overdraws:
        drawn += overdraw(account, missing)
        missing = 0
    taken = movement.units - missing
    entry_id = post_entry(plan, account, movement, -taken, movement.type, drawn) if taken else None
    return outcome(plan, account, entry_id=entry_id, units=taken, shortfall=missing)
