"""The price of usage at rates with rounding = "carry", which depends on earlier usage: what the rounded total grows by.

It is computed here, under the account's lock. A refused movement, or one that was posted before, changes no total.
Refunds return units and change no total either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from models.planning.carry import Carry
from models.planning.movements import Capture, Outcome, Take
from models.planning.state import Account, Plan

M = TypeVar("M", Take, Capture)


def priced(plan: Plan, account: Account, movement: M, apply: Callable[[Plan, Account, M], Outcome]) -> Outcome:
    """Price the movement's `carried` usage and apply the movement with these units added to its own.

    The entry's metadata gets `carried`: by rate the units, and the fraction `before` and `after`.
    """
    old = {line.rate: _carry_of(plan, account, line.rate) for line in movement.carried}
    new = {rate: replace(carry) for rate, carry in old.items()}
    units = [new[line.rate].add(line.amount, line.per) for line in movement.carried]
    whole = replace(
        movement,
        units=(movement.units or 0) + sum(units),
        carried=(),
        meta=_meta(movement, units, {rate: (old[rate], new[rate]) for rate in old}),
    )
    outcome = apply(plan, account, whole)
    if outcome.status == "applied":
        if outcome.entry_id is None and not movement.has_row:
            for line in movement.carried:
                new[line.rate].unlist(line.amount, line.per)
        _keep(plan, new.values())
    return outcome


def _carry_of(plan: Plan, account: Account, rate: str) -> Carry:
    return plan.state.carries.get((account.id, rate)) or Carry(account.id, rate)


def _keep(plan: Plan, carries: Any) -> None:
    for carry in carries:
        plan.state.carries[carry.account_id, carry.rate] = plan.carries[carry.account_id, carry.rate] = carry


def _meta(movement: Take | Capture, units: Sequence[int], carries: Mapping[str, tuple[Carry, Carry]]) -> dict[str, Any]:
    """The movement's metadata with the units of its carried lines, and the fractions by rate."""
    carried = {
        rate: {"units": new.charged - old.charged, "before": str(old.fraction), "after": str(new.fraction)}
        for rate, (old, new) in carries.items()
    }
    meta = {**(movement.meta or {}), "carried": carried}
    if "lines" in meta:
        by_position = {line.position: count for line, count in zip(movement.carried, units, strict=True)}
        meta["lines"] = [
            {**line, "units": by_position.get(position, line.get("units"))}
            for position, line in enumerate(meta["lines"])
        ]
    return meta
