"""Takes: units go, from the lots in burn order. The app's rule says what becomes of a shortfall."""

from __future__ import annotations

from datetime import datetime

from models.planning.movements import Outcome, Take
from models.planning.state import FARTHEST_BALANCE, Account, Lot, Plan
from models.planning.steps import draw, not_negative, outcome, overdraw, post_entry, refused, total, units_in


def take(plan: Plan, account: Account, movement: Take) -> Outcome:
    """Take what is there. If that is too little: `partial` stops at it, `debt` overdraws, `reject` takes nothing."""
    wanted = not_negative(movement.units)
    lots = account.payers(wanted, _judged_at(plan, movement))
    rule = movement.on_shortfall or account.policy.on_shortfall
    if rule == "reject" and wanted > units_in(lots):
        return refused(plan, account, "insufficient", shortfall=wanted)
    if rule == "debt" and account.balance - wanted < -FARTHEST_BALANCE:
        return refused(plan, account, "beyond")
    return _spend(plan, account, movement, lots, overdraws=rule == "debt")


def _judged_at(plan: Plan, movement: Take) -> datetime:
    """The time that decides which lots may pay.

    A node whose clock is ahead must not hide from a report what may pay now.
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
