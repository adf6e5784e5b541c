"""Holds: units are reserved in their lots; a capture spends them, a release frees them.

Held units count in the balance but are not available. A hold keeps its units even if their lots expire.
"""

from __future__ import annotations

from models.planning.lots import expire_lots
from models.planning.movements import Capture, Extend, Hold, Movement, Outcome, Release
from models.planning.pricing import priced
from models.planning.state import MAX_BALANCE, Account, Lot, OpenHold, Part, Plan
from models.planning.steps import (
    draw,
    free,
    mark_burned,
    not_negative,
    outcome,
    overdraw,
    post_entry,
    refused,
    units_in,
)


def hold(plan: Plan, account: Account, movement: Hold) -> Outcome:
    """Open a hold under the movement's key, which identifies it in later movements."""
    existing = plan.state.holds.get((movement.app, movement.key))
    if existing is not None:
        return outcome(plan, account, status="already", hold_id=existing.id, units=existing.units)
    requested = not_negative(movement.units)
    lots = account.payers(requested, plan.now)
    available = units_in(lots)
    units = min(requested, available) if movement.up_to else requested
    if units > available:
        return refused(plan, account, "insufficient", shortfall=units)
    opened = _open(plan, account, movement, units, _reserve(plan, account, lots, units))
    return outcome(plan, account, hold_id=opened.id, units=units)


def _reserve(plan: Plan, account: Account, lots: list[Lot], units: int) -> list[tuple[int, int]]:
    """Move the units from `remaining` to `held` in the lots. Returns (lot id, units) pairs, in burn order."""
    parts = []
    for lot, part in draw(plan, lots, units):
        assert lot is not None
        lot.held -= part
        lot.open = True
        parts.append((lot.id, -part))
    account.held += units
    plan.accounts[account.id] = account
    return parts


def _open(plan: Plan, account: Account, movement: Hold, units: int, parts: list[tuple[int, int]]) -> OpenHold:
    opened = OpenHold(plan.hold_ids(), account.app, account.id, movement.key, units, "held", parts)
    opened.expires_at, opened.reason, opened.meta = movement.expires_at, movement.reason, movement.meta
    plan.new_holds.append(opened)
    plan.state.holds[account.app, opened.key] = opened
    return opened


def extend(plan: Plan, account: Account, movement: Extend) -> Outcome:
    """Grow the hold to the movement's units, as far as available units allow. The outcome's units are its new total."""
    hold = _find_open(plan, account, movement.hold_key)
    if isinstance(hold, Outcome):
        return hold
    lots = account.payers(not_negative(movement.units) - hold.units, plan.now)
    more = min(movement.units - hold.units, units_in(lots))
    if more > 0:
        since = plan.now.isoformat()
        hold.lots = [*hold.lots, *((lot, units, since) for lot, units in _reserve(plan, account, lots, more))]
        hold.units += more
        plan.extended_holds.append(hold)
    return outcome(plan, account, hold_id=hold.id, units=hold.units)


def capture(plan: Plan, account: Account, movement: Capture) -> Outcome:
    """Spend the hold and close it. Units not spent are freed; units beyond it are drawn from what is available."""
    if movement.carried:
        return priced(plan, account, movement, capture)
    hold = _find_open(plan, account, movement.hold_key)
    if isinstance(hold, Outcome):
        return hold
    units = hold.units if movement.units is None else not_negative(movement.units)
    more = max(0, units - hold.units)
    lots = account.payers(more, plan.now)
    missing = max(0, more - units_in(lots))
    if missing and movement.on_shortfall == "reject":
        return refused(plan, account, "insufficient", shortfall=units)
    if movement.on_shortfall == "debt" and account.balance - units < -MAX_BALANCE:
        return refused(plan, account, "beyond")
    spent, freed = _split(plan, account, hold, units)
    spent += draw(plan, lots, more)
    if missing and movement.on_shortfall == "debt":
        spent += overdraw(account, missing)
        missing = 0
    taken = units - missing
    hold.entry_id = post_entry(plan, account, movement, -taken, "deduction", spent) if taken else None
    _free_all(plan, account, freed, movement)
    _close(plan, account, hold, "captured", taken)
    return outcome(plan, account, entry_id=hold.entry_id, units=taken, shortfall=missing, hold_id=hold.id)


def release(plan: Plan, account: Account, movement: Release) -> Outcome:
    """Free all units of the hold and close it. Units whose lot has expired meanwhile expire at once."""
    hold = _find_open(plan, account, movement.hold_key)
    if isinstance(hold, Outcome):
        return hold
    _, freed = _split(plan, account, hold, 0)
    _free_all(plan, account, freed, movement)
    _close(plan, account, hold, "expired" if movement.expired else "released", 0)
    return outcome(plan, account, units=hold.units, hold_id=hold.id)


def _find_open(plan: Plan, account: Account, key: str) -> OpenHold | Outcome:
    """The account's open hold under this key, or the refusal if there is none (`unknown`) or it is `closed`."""
    hold = plan.state.holds.get((account.app, key))
    if hold is None or hold.account_id != account.id:
        return refused(plan, account, "unknown")
    if hold.state != "held":
        return refused(plan, account, "closed", hold_id=hold.id, units=hold.captured)
    return hold


def _split(plan: Plan, account: Account, hold: OpenHold, units: int) -> tuple[list[Part], list[tuple[Lot, int]]]:
    """Remove the hold from its lots. Returns (spent, freed): the first `units` as allocations, the rest by lot."""
    spent: list[Part] = []
    freed: list[tuple[Lot, int]] = []
    for lot_id, part, *_ in hold.lots:
        lot = plan.state.lots[lot_id]
        pay = min(part, units)
        units -= pay
        lot.held -= part
        lot.remaining += part - pay
        account.held -= part
        mark_burned(plan, lot)
        if pay:
            spent.append((lot, -pay))
        if part > pay:
            freed.append((lot, part - pay))
    return spent, freed


def _free_all(plan: Plan, account: Account, freed: list[tuple[Lot, int]], movement: Movement) -> None:
    for lot, units in freed:
        free(plan, account, lot, units, movement)


def _close(plan: Plan, account: Account, hold: OpenHold, state: str, captured: int) -> None:
    hold.state, hold.captured = state, captured
    plan.closed_holds.append(hold)
    plan.accounts[account.id] = account
    expire_lots(plan, account)
