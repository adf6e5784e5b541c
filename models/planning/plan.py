"""The plan of a batch: the effect of its movements on lots and balances, in order. No I/O, no clock.

The ledger loads a `State` under row locks, calls `plan` and writes the resulting `Plan`. Accounts, lots and holds are
mutable working copies; every row to be written is recorded on the plan.

Rules: an account's lots that are past their expiry expire before its first movement; granted and freed units repay
debt first; a reversal returns units to the lots that its allocations name.
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
    """The plan of the batch. `outcomes[i]` is the result of `movements[i]`.

    Raises:
        ValueError: a movement has negative units.
    """
    result = Plan(now, state, entry_ids, lot_ids, hold_ids)
    # Once per account and batch suffices: a movement that frees or creates units in an expired lot expires them itself.
    expired: set[int] = set()
    for movement in movements:
        account = state.accounts[movement.app, movement.customer]
        if account.id not in expired and type(movement) is not Expire:
            expired.add(account.id)
            expire_lots(result, account)
        done = _already(result, account, movement)
        result.outcomes.append(done or HANDLERS[type(movement)](result, account, movement))
    return result


def _already(plan: Plan, account: Account, movement: Movement) -> Outcome | None:
    """The outcome of a movement whose key was posted before, in this batch or an earlier one; else None."""
    known = plan.state.existing.get((movement.app, movement.key)) if movement.key else None
    if known is None:
        return None
    entry_id, amount = known
    return outcome(plan, account, status="already", entry_id=entry_id, units=abs(amount))
