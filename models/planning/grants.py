"""Grants: granted units repay the account's debt first; the rest becomes a new lot."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.cycles import LONG_AGO
from models.planning.lots import expire_lots, new_lot
from models.planning.movements import Grant, Outcome
from models.planning.state import MAX_BALANCE, NEVER, Account, Lot, Part, Plan
from models.planning.steps import mark_altered, not_negative, outcome, post_entry, refused, repay

# Units of a period live on for at most this long after it, and as long if they are granted late.
PERIOD_GRACE = timedelta(days=3)


def grant(plan: Plan, account: Account, movement: Grant) -> Outcome:
    """Create the lot and post its entry. A lot whose expiry is in the past expires at once."""
    if movement.units == 0:
        return outcome(plan, account)
    if not_negative(movement.units) + account.balance > MAX_BALANCE:
        return refused(plan, account, "beyond")
    if movement.per_period:
        _end_earlier_periods(plan, account, movement)
    lot = new_lot(plan, account, movement.units, _expires_at(plan, movement), movement)
    lot.entry_id = _credit(plan, account, movement, lot)
    expire_lots(plan, account)
    return outcome(plan, account, entry_id=lot.entry_id, units=movement.units)


def _expires_at(plan: Plan, movement: Grant) -> datetime:
    if movement.expires_at:
        return movement.expires_at
    return plan.now + movement.expires_after if movement.expires_after else NEVER


def _end_earlier_periods(plan: Plan, account: Account, movement: Grant) -> None:
    """Expire the `per_period` lots of the subscription's earlier periods, except those that were granted late."""
    for lot in account.lots:
        if not lot.per_period or lot.subscription_id != movement.subscription_id:
            continue
        is_earlier = (lot.period_start or LONG_AGO) < (movement.period_start or LONG_AGO)
        is_late = lot.expires_at <= lot.effective_at + PERIOD_GRACE
        if is_earlier and not is_late and lot.expires_at > plan.now:
            lot.expires_at = plan.now
            mark_altered(plan, account, lot)
    expire_lots(plan, account)


def _credit(plan: Plan, account: Account, movement: Grant, lot: Lot) -> int:
    """Post the entry of the grant: it repays debt first and fills the lot with the rest. Returns the entry's id."""
    repaid = repay(account, movement.units)
    lot.remaining = movement.units - repaid
    lot.open = lot.remaining > 0
    parts: list[Part] = [(lot, lot.remaining)] if lot.remaining else []
    if repaid:
        parts.append((None, repaid))
    return post_entry(plan, account, movement, movement.units, movement.type, parts)
