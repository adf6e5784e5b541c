"""The building blocks of movements: post an entry, draw units from lots, repay or add debt, free units.

Each step changes the working copies and records on the plan what is to be written. The functions of the movements
decide which steps they take and when they refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.planning.movements import Movement, Outcome
from models.planning.state import Account, Entry, Lot, Part, Plan


def outcome(plan: Plan, account: Account, status: Any = "applied", **fields: Any) -> Outcome:
    """The outcome of a movement, with the balances that the customer sees now."""
    balance, available = account.visible_balances(plan.now)
    return Outcome(status, balance=balance, available=available, **fields)


def refused(plan: Plan, account: Account, refusal: str, **fields: Any) -> Outcome:
    """The outcome of a refused movement, which writes nothing."""
    return outcome(plan, account, status="refused", refusal=refusal, **fields)


def not_negative(units: int) -> int:
    """The units, checked: the direction of a movement is its class, never a sign.

    Raises:
        ValueError: the units are negative.
    """
    if units < 0:
        raise ValueError(f"the units of a movement must not be negative: {units}")
    return units


def post_entry(
    plan: Plan,
    account: Account,
    movement: Movement,
    amount: int,
    type: str,
    allocations: Iterable[Part],
    *,
    key: str = "",
    reverses_id: int | None = None,
) -> int:
    """Post an entry with its allocations and update the account's balance. Returns the entry's id."""
    entry_id = plan.entry_ids()
    account.seq += 1
    key = key or movement.key or f"{type}:{account.id}:{account.seq}"
    plan.entries.append(
        Entry(
            entry_id,
            account,
            account.seq,
            amount,
            type,
            movement.reason,
            key,
            account.balance,
            reverses_id,
            movement.actor,
            movement.meta,
            movement.occurred_at,
        )
    )
    account.balance += amount
    plan.state.existing[account.app, key] = (entry_id, amount)
    plan.accounts[account.id] = account
    for lot, units in allocations:
        plan.allocations.append((entry_id, lot.id if lot else None, units))
    return entry_id


def generated_key(account: Account, kind: str) -> str:
    """The key of an entry that accompanies the movement's own entry, unique by the account's next `seq`."""
    return f"{kind}:{account.id}:{account.seq + 1}"


def mark_burned(plan: Plan, lot: Lot) -> None:
    """Record that `remaining` or `held` of the lot changed."""
    lot.open = lot.remaining > 0 or lot.held > 0
    plan.burned_lots[lot.id] = lot


def mark_altered(plan: Plan, account: Account, lot: Lot) -> None:
    """Record that the expiry of the lot, or whether it is frozen, changed."""
    plan.altered_lots[lot.id] = lot
    account.invalidate()


def draw(plan: Plan, lots: Iterable[Lot], units: int) -> list[Part]:
    """Take up to `units` from the lots, in the given order. Returns the allocations, which are negative."""
    drawn: list[Part] = []
    for lot in lots:
        if not units:
            break
        part = min(lot.remaining, units)
        lot.remaining -= part
        units -= part
        mark_burned(plan, lot)
        drawn.append((lot, -part))
    return drawn


def units_in(lots: Iterable[Lot]) -> int:
    """The units that remain in the lots together."""
    return sum(lot.remaining for lot in lots)


def total(parts: Iterable[Part]) -> int:
    """The sum of the parts, negative if they were drawn."""
    return sum(units for _, units in parts)


def repay(account: Account, units: int) -> int:
    """Repay debt with up to `units`. Returns the units used."""
    part = min(account.debt, units)
    account.debt -= part
    return part


def overdraw(account: Account, units: int) -> list[Part]:
    """Add `units` to the debt. Returns the allocations."""
    account.debt += units
    return [(None, -units)] if units else []


def free(plan: Plan, account: Account, lot: Lot, units: int, movement: Movement) -> None:
    """Make units that are in `remaining` of the lot spendable: repay debt with them, unless the lot cannot pay now."""
    repaid = repay(account, units) if lot.expires_at > plan.now and not lot.frozen else 0
    if repaid:
        lot.remaining -= repaid
        parts: list[Part] = [(lot, -repaid), (None, repaid)]
        post_entry(plan, account, movement, 0, "clawback", parts, key=generated_key(account, "repayment"))
    mark_burned(plan, lot)
