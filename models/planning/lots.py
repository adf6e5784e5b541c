"""What happens to lots as such, apart from being spent: they are made, frozen and thawed, and they lapse."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter

from models.planning.movements import Freeze, Grant, Lapse, Movement, Outcome
from models.planning.state import Account, Lot, Plan
from models.planning.steps import free, mark_altered, mark_burned, outcome, own_key, post_entry

# An expiry is nobody's movement; its entries name this one.
EXPIRY = Movement(app="", customer="", reason="lot expired", actor="expiry")
BY_EXPIRY = attrgetter("expires_at", "id")


def new_lot(it: Plan, account: Account, units: int, expires_at: datetime, grant: Grant | None = None) -> Lot:
    """A lot of the grant's; without one it takes a refund that has no other lot to go to.

    Its `entry_id` is 0 until the entry that fills it is posted.
    """
    lot = Lot(it.lot_ids(), account.id, 0, units, units, effective_at=it.now, expires_at=expires_at)
    if grant:
        lot.priority, lot.payment_id = grant.priority, grant.payment_id
        lot.subscription_id, lot.cycle, lot.per_period = grant.subscription_id, grant.cycle, grant.per_period
    account.add(lot)
    it.state.lots[lot.id] = lot
    it.new_lots.append((lot, grant, grant.source if grant else "refund"))
    it.new_lot_ids.add(lot.id)
    return lot


def freeze(it: Plan, account: Account, movement: Freeze) -> Outcome:
    """Freeze or thaw the grants' lots. Thawed lots repay debt, the oldest first."""
    changed = 0
    for lot in sorted(account.lots, key=attrgetter("id")):
        if lot.entry_id in movement.entry_ids and lot.frozen != movement.frozen:
            lot.frozen = movement.frozen
            mark_altered(it, account, lot)
            changed += lot.remaining
            if not lot.frozen:
                free(it, account, lot, lot.remaining, movement)
    return outcome(it, account, units=changed)


def lapse(it: Plan, account: Account, movement: Lapse) -> Outcome:
    """Lapse what has expired, and nothing else."""
    return outcome(it, account, units=lapse_expired(it, account))


def lapse_expired(it: Plan, account: Account) -> int:
    """Post an expiry for each lot whose time has passed, oldest first. Returns the units that lapsed."""
    lapsed = 0
    for lot in sorted([lot for lot in account.lots if account.lapses(lot, it.now)], key=BY_EXPIRY):
        units, lot.remaining = lot.remaining, 0
        lot.lapsed += units
        lapsed += units
        mark_burned(it, lot)
        it.altered_lots[lot.id] = lot
        post_entry(it, account, EXPIRY, -units, "expiry", [(lot, -units)], key=own_key(account, f"expiry:{lot.id}"))
    return lapsed
