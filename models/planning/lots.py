"""The life of lots apart from spending: creation, freezing and thawing, expiry."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter

from models.planning.movements import Expire, Freeze, Grant, Movement, Outcome
from models.planning.state import Account, Lot, Plan
from models.planning.steps import free, generated_key, mark_altered, mark_burned, outcome, post_entry

# Expiry entries take their reason and actor from this movement: no caller requests an expiry.
EXPIRY = Movement(app="", customer="", reason="lot expired", actor="expiry")
BY_EXPIRY = attrgetter("expires_at", "id")


def new_lot(plan: Plan, account: Account, units: int, expires_at: datetime, grant: Grant | None = None) -> Lot:
    """Create a lot: of the grant, or, without one, for a refund that has no other lot.

    `entry_id` is 0 until the entry that fills the lot is posted.
    """
    lot = Lot(plan.lot_ids(), account.id, 0, units, units, effective_at=plan.now, expires_at=expires_at)
    if grant:
        lot.source = grant.source
        lot.priority, lot.payment_id = grant.priority, grant.payment_id
        lot.subscription_id, lot.period_start, lot.per_period = (
            grant.subscription_id,
            grant.period_start,
            grant.per_period,
        )
    account.add(lot)
    plan.state.lots[lot.id] = lot
    plan.new_lots.append((lot, grant, grant.source if grant else "refund"))
    plan.new_lot_ids.add(lot.id)
    return lot


def freeze(plan: Plan, account: Account, movement: Freeze) -> Outcome:
    """Freeze or thaw the lots of the grants. Thawed lots repay debt, oldest first.

    The outcome's units are those that remained in the lots that changed.
    """
    changed = 0
    for lot in sorted(account.lots, key=attrgetter("id")):
        if lot.entry_id in movement.entry_ids and lot.frozen != movement.frozen:
            lot.frozen = movement.frozen
            mark_altered(plan, account, lot)
            changed += lot.remaining
            if not lot.frozen:
                free(plan, account, lot, lot.remaining, movement)
    return outcome(plan, account, units=changed)


def expire(plan: Plan, account: Account, movement: Expire) -> Outcome:
    """Expire the account's lots that are past their expiry. The outcome's units are those that expired."""
    return outcome(plan, account, units=expire_lots(plan, account))


def expire_lots(plan: Plan, account: Account) -> int:
    """Post an expiry entry for each lot that is past its expiry, oldest first. Returns the units that expired."""
    expired = 0
    for lot in sorted([lot for lot in account.lots if account.expires(lot, plan.now)], key=BY_EXPIRY):
        expired += lot.remaining
        expire_units(plan, account, lot, lot.remaining)
    return expired


def expire_units(plan: Plan, account: Account, lot: Lot, units: int) -> None:
    """Post an expiry entry for so many of the units that remain in the lot; none for 0."""
    if not units:
        return
    lot.remaining -= units
    lot.expired += units
    mark_burned(plan, lot)
    plan.altered_lots[lot.id] = lot
    key = generated_key(account, f"expiry:{lot.id}")
    post_entry(plan, account, EXPIRY, -units, "expiry", [(lot, -units)], key=key)
