"""Grants: granted units repay the account's debt first; the rest becomes a new lot."""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import attrgetter

from models.cycles import LONG_AGO, PERIOD_GRACE
from models.planning.lots import expire_lots, expire_units, new_lot
from models.planning.movements import Grant, Outcome
from models.planning.state import MAX_BALANCE, NEVER, Account, Lot, Part, Plan
from models.planning.steps import mark_altered, not_negative, outcome, post_entry, refused, repay

# Starts that differ by less are of one period.
SAME_START = timedelta(hours=8)


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
    """Expire the lots of the periods that precede this one, but for the units that roll over."""
    ended = _ended(plan, account, movement)
    last = max((_start(lot) for lot in ended), default=LONG_AGO)
    left = movement.rollover
    for lot in sorted(ended, key=attrgetter("id")):
        rolled = min(left, lot.remaining) if _start(lot) >= last - SAME_START else 0
        left -= rolled
        if rolled:
            # An unsettled report may still have to be paid by the rest: then all of it lives on.
            if account.oldest_unsettled_at is None:
                expire_units(plan, account, lot, lot.remaining - rolled)
            lot.expires_at = max(lot.expires_at, _expires_at(plan, movement))
        else:
            lot.expires_at = plan.now
        mark_altered(plan, account, lot)
    expire_lots(plan, account)


def _ended(plan: Plan, account: Account, movement: Grant) -> list[Lot]:
    """The `per_period` lots of the subscription that a later period ends, except those that were granted late.

    That is the earlier lots of the same plan, and those of other plans that are over and began no later than the last
    period of this plan. A lot that began after that is of another item with another interval, whose grants end it.
    """
    start = _start(movement)
    earlier = [
        lot
        for lot in account.lots
        if lot.per_period
        and lot.subscription_id == movement.subscription_id
        and _start(lot) < start - SAME_START
        and lot.expires_at > max(plan.now, lot.effective_at + PERIOD_GRACE)
    ]
    last = max((_start(lot) for lot in earlier if lot.source == movement.source), default=start)
    return [
        lot
        for lot in earlier
        if lot.source == movement.source
        or (_start(lot) <= last + SAME_START and lot.expires_at - PERIOD_GRACE <= start + SAME_START)
    ]


def _start(one: Lot | Grant) -> datetime:
    return one.period_start or LONG_AGO


def _credit(plan: Plan, account: Account, movement: Grant, lot: Lot) -> int:
    """Post the entry of the grant: it repays debt first and fills the lot with the rest. Returns the entry's id."""
    repaid = repay(account, movement.units)
    lot.remaining = movement.units - repaid
    lot.open = lot.remaining > 0
    parts: list[Part] = [(lot, lot.remaining)] if lot.remaining else []
    if repaid:
        parts.append((None, repaid))
    return post_entry(plan, account, movement, movement.units, movement.type, parts)
