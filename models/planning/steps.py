"""The steps that movements are made of: post an entry, draw units from lots, repay or make debt, free units, answer.

Each changes the working copies and marks on the plan what is to be written. Which steps a movement takes, and when
it is refused, is said by the functions of the movements themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.planning.movements import Movement, Outcome
from models.planning.state import Account, Entry, Lot, Part, Plan


def outcome(plan: Plan, account: Account, status: Any = "applied", **what: Any) -> Outcome:
    """What became of a movement, with the account as its customer sees it now."""
    balance, available = account.shown(plan.now)
    return Outcome(status, balance=balance, available=available, **what)


def refused(plan: Plan, account: Account, refusal: str, **what: Any) -> Outcome:
    """The outcome of a movement that writes nothing."""
    return outcome(plan, account, status="refused", refusal=refusal, **what)


def not_negative(units: int) -> int:
    """The units; ValueError if they are negative: a movement's direction is its class, never a sign."""
    if units < 0:
        raise ValueError(f"units of a movement are never negative, got {units}")
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
    """One entry, its allocations, and the account's new balance. Returns the entry's id."""
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


def own_key(account: Account, kind: str) -> str:
    """A key for an entry beside the movement's own; the account's next number makes it unique."""
    return f"{kind}:{account.id}:{account.seq + 1}"


def mark_burned(plan: Plan, lot: Lot) -> None:
    """Note that units of the lot changed."""
    lot.open = lot.remaining > 0 or lot.held > 0
    plan.burned_lots[lot.id] = lot


def mark_altered(plan: Plan, account: Account, lot: Lot) -> None:
    """Note that the expiry of the lot, or its freeze, changed."""
    plan.altered_lots[lot.id] = lot
    account.reconsider()


def draw(plan: Plan, lots: Iterable[Lot], units: int) -> list[Part]:
    """Take up to `units` from the lots in their order, as allocations (negative)."""
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
    """What the lots could pay together."""
    return sum(lot.remaining for lot in lots)


def total(parts: Iterable[Part]) -> int:
    """The sum of the parts; negative if they were drawn."""
    return sum(units for _, units in parts)


def repay(account: Account, units: int) -> int:
    """How much of units that come goes to the debt; the debt shrinks by it."""
    part = min(account.debt, units)
    account.debt -= part
    return part


def overdraw(account: Account, units: int) -> list[Part]:
    """Put `units` on the debt, as allocations."""
    account.debt += units
    return [(None, -units)] if units else []


def free(plan: Plan, account: Account, lot: Lot, units: int, movement: Movement) -> None:
    """Units of a lot become spendable again: they repay debt first, unless the lot itself may not pay now."""
    repaid = repay(account, units) if lot.expires_at > plan.now and not lot.frozen else 0
    if repaid:
        lot.remaining -= repaid
        parts: list[Part] = [(lot, -repaid), (None, repaid)]
        post_entry(plan, account, movement, 0, "clawback", parts, key=own_key(account, "repayment"))
    mark_burned(plan, lot)
