"""Reversals of earlier entries: refunds of deductions, clawbacks of grants, reinstatements of clawbacks.

Units are returned to the lots that the entry's allocations name, whatever the current burn order.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.planning.lots import expire_lots, new_lot
from models.planning.movements import Clawback, Outcome, Reverse
from models.planning.state import NEVER, Account, Lot, Part, Plan, Posted
from models.planning.steps import draw, mark_altered, mark_burned, outcome, overdraw, post_entry, refused, repay, total


def reverse(plan: Plan, account: Account, movement: Reverse) -> Outcome:
    """Refund units of a deduction. Refuses more than are not refunded yet (`beyond`)."""
    entry = plan.state.posted.get(movement.entry_id)
    if entry is None or entry.account_id != account.id or entry.type != "deduction":
        return refused(plan, account, "unknown")
    left = -entry.amount - entry.reversed_amount
    units = left if movement.units is None else movement.units
    if units > left or units <= 0:
        return refused(plan, account, "beyond", shortfall=left)
    parts = _return_units(plan, account, entry, units, fallback=None)
    entry_id = post_entry(plan, account, movement, units, "refund", parts, reverses_id=entry.id)
    _fill_entry_id(parts, entry_id)
    _note_reversal(entry, parts, units)
    expire_lots(plan, account)
    return outcome(plan, account, entry_id=entry_id, units=units)


def claw_back(plan: Plan, account: Account, movement: Clawback) -> Outcome:
    """Claw back or reinstate units of a grant up to the target. Units of its lot that expired count as clawed back."""
    grant = plan.state.posted.get(movement.entry_id)
    if grant is None or grant.account_id != account.id or grant.type == "refund":
        return refused(plan, account, "unknown")
    own = next((lot for lot in account.lots if lot.entry_id == grant.id), None)
    if own is None:
        return refused(plan, account, "unknown")
    clawed = -grant.reversed_amount
    target = min(movement.target_units, own.granted)
    due = max(0, target - own.expired) - clawed
    if due > 0:
        return _claw(plan, account, movement, grant, own, due)
    if target < clawed:
        return _reinstate(plan, account, movement, grant, own, clawed - target)
    return outcome(plan, account)


def _claw(plan: Plan, account: Account, movement: Clawback, grant: Posted, own: Lot, units: int) -> Outcome:
    """Take the units from the grant's own lot, then in burn order, then as debt. Held units are not touched."""
    parts = draw(plan, [own], units) if own.remaining else []
    left = units + total(parts)
    parts += draw(plan, account.payers(left, plan.now), left)
    parts += overdraw(account, units + total(parts))
    entry_id = post_entry(plan, account, movement, -units, "clawback", parts, reverses_id=grant.id)
    _note_reversal(grant, parts, -units)
    return outcome(plan, account, entry_id=entry_id, units=units)


def _reinstate(plan: Plan, account: Account, movement: Clawback, grant: Posted, own: Lot, units: int) -> Outcome:
    """Reinstate units that were clawed back beyond the target, for example after a won dispute."""
    parts = _return_units(plan, account, grant, units, fallback=own)
    entry_id = post_entry(plan, account, movement, units, "reinstatement", parts, reverses_id=grant.id)
    _note_reversal(grant, parts, units)
    expire_lots(plan, account)
    return outcome(plan, account, entry_id=entry_id, units=units)


def _return_units(plan: Plan, account: Account, entry: Posted, units: int, *, fallback: Lot | None) -> list[Part]:
    """Repay debt with the units, then refill the lots they were taken from, each up to what it paid, oldest first.

    Units that were taken as debt which has been repaid since have no such lot: they go to `fallback` or a new lot.
    Returns the allocations.
    """
    parts: list[Part] = []
    repaid = repay(account, units)
    if repaid:
        parts.append((None, repaid))
        units -= repaid
    for lot_id, owed in _owed(entry):
        part = min(owed, units)
        if part:
            parts.append((_refill(plan, account, plan.state.lots[lot_id], part), part))
            units -= part
    if units and fallback:
        parts.append((_refill(plan, account, fallback, units), units))
    elif units:
        parts.append((new_lot(plan, account, units, NEVER), units))
    return parts


def _owed(entry: Posted) -> list[tuple[int, int]]:
    """(lot id, units) for each lot that paid more for the entry than its reversals returned so far, oldest first."""
    net: dict[int, int] = {}
    for lot_id, amount in [*(entry.allocations if entry.amount < 0 else []), *entry.reversed_by_lot.items()]:
        if lot_id is not None:
            net[lot_id] = net.get(lot_id, 0) - amount
    return [(lot_id, owed) for lot_id, owed in sorted(net.items()) if owed > 0]


def _refill(plan: Plan, account: Account, lot: Lot, units: int) -> Lot:
    """Put units into the lot. If it has expired, extend its expiry by the app's `refund_grace`, counted from now."""
    lot.remaining += units
    if lot.expires_at <= plan.now and account.policy.refund_grace:
        lot.expires_at = plan.now + account.policy.refund_grace
        mark_altered(plan, account, lot)
    mark_burned(plan, lot)
    return lot


def _fill_entry_id(parts: Iterable[Part], entry_id: int) -> None:
    """Set `entry_id` of the new lots among the parts."""
    for lot, _ in parts:
        if lot is not None and not lot.entry_id:
            lot.entry_id = entry_id


def _note_reversal(entry: Posted, parts: Iterable[Part], amount: int) -> None:
    """Record the reversal on the entry, for later movements of the same batch."""
    entry.reversed_amount += amount
    for lot, units in parts:
        lot_id = lot.id if lot else None
        entry.reversed_by_lot[lot_id] = entry.reversed_by_lot.get(lot_id, 0) + units
