"""Grants: units come, repay what is owed, and the rest is a lot of its own."""

from __future__ import annotations

from datetime import datetime

from models.planning.lots import lapse_expired, new_lot
from models.planning.movements import Grant, Outcome
from models.planning.state import FARTHEST_BALANCE, NEVER, Account, Lot, Part, Plan
from models.planning.steps import mark_altered, not_negative, outcome, post_entry, refused, repay


def grant(it: Plan, account: Account, movement: Grant) -> Outcome:
    """Make the lot and post its entry. It may have expired already: then it lapses at once."""
    if movement.units == 0:
        return outcome(it, account)
    if not_negative(movement.units) + account.balance > FARTHEST_BALANCE:
        return refused(it, account, "beyond")
    if movement.per_period:
        _end_earlier_cycles(it, account, movement)
    lot = new_lot(it, account, movement.units, _expires_at(it, movement), movement)
    lot.entry_id = _credit(it, account, movement, lot)
    lapse_expired(it, account)
    return outcome(it, account, entry_id=lot.entry_id, units=movement.units)


def _expires_at(it: Plan, movement: Grant) -> datetime:
    if movement.expires_at:
        return movement.expires_at
    return it.now + movement.expires_after if movement.expires_after else NEVER


def _end_earlier_cycles(it: Plan, account: Account, movement: Grant) -> None:
    """Units that lapse with their cycle do so when the next cycle's grant posts."""
    for lot in account.lots:
        if not lot.per_period or lot.subscription_id != movement.subscription_id:
            continue
        if (lot.cycle or 0) < (movement.cycle or 0) and lot.expires_at > it.now:
            lot.expires_at = it.now
            mark_altered(it, account, lot)
    lapse_expired(it, account)


def _credit(it: Plan, account: Account, movement: Grant, lot: Lot) -> int:
    """The entry of a grant: what is owed goes to the debt, the rest is the lot."""
    repaid = repay(account, movement.units)
    lot.remaining = movement.units - repaid
    lot.open = lot.remaining > 0
    parts: list[Part] = [(lot, lot.remaining)] if lot.remaining else []
    if repaid:
        parts.append((None, repaid))
    return post_entry(it, account, movement, movement.units, movement.type, parts)
