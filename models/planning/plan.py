"""The plan of a batch: what its movements do to lots and balances, in order. No I/O, no clock.

The ledger loads a `State` under row locks, calls `plan`, and writes what the `Plan` says. Accounts, lots and
holds are mutable working copies; everything that is to be written is marked as such on the plan.

Rules are those of the ledger's design: an account's expired lots lapse before anything else happens to it;
units that come or are freed repay debt first; a reversal goes back to the lots that its allocations name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from models.planning.grants import grant
from models.planning.holds import capture, extend, hold, release
from models.planning.lots import expire, expire_lots, freeze
from models.planning.movements import (
    Capture,
    Clawback,
    Expire,
    Extend,
    Freeze,
    Grant,
    Hold,
    Movement,
    Outcome,
    Release,
    Reverse,
    Take,
)
from models.planning.reversals import claw_back, reverse
from models.planning.state import Account, Plan, State
from models.planning.steps import outcome
from models.planning.takes import take

HANDLERS: dict[type, Callable[[Plan, Account, Any], Outcome]] = {
    Grant: grant,
    Take: take,
    Hold: hold,
    Extend: extend,
    Capture: capture,
    Release: release,
    Reverse: reverse,
    Clawback: claw_back,
    Freeze: freeze,
    Expire: expire,
}


def plan(
    state: State,
    movements: Iterable[Movement],
    *,
    now: datetime,
    entry_ids: Callable[[], int],
    lot_ids: Callable[[], int],
    hold_ids: Callable[[], int],
) -> Plan:
    """Work out the batch in order. `plan.outcomes[i]` is what becomes of `movements[i]`."""
    it = Plan(now, state, entry_ids, lot_ids, hold_ids)
    expired: set[int] = set()  # once a batch is enough: what frees or makes expired units lapses them itself
    for movement in movements:
        account = state.accounts[movement.app, movement.customer]
        if account.id not in expired and type(movement) is not Expire:
            expired.add(account.id)
            expire_lots(it, account)
        it.outcomes.append(_already(it, account, movement) or HANDLERS[type(movement)](it, account, movement))
    return it


def _already(plan: Plan, account: Account, movement: Movement) -> Outcome | None:
    """The outcome of a movement whose key was posted before, in this batch or an earlier one."""
    known = plan.state.existing.get((movement.app, movement.key)) if movement.key else None
    if known is None:
        return None
    entry_id, amount = known
    return outcome(plan, account, status="already", entry_id=entry_id, units=abs(amount))
