"""An action of the portal and of POST /control, and what the tables of actions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models import money
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing

Fields = Mapping[str, str]
Function = Callable[[Account, Thing, Fields], Any]
AMOUNT, PRICE, PLAN = ("amount",), ("price", "proration"), ("plan", "proration")


@dataclass(frozen=True)
class Action:
    """An action: its label, the kind of its objects, when it is possible, its function, and the fields it takes."""

    label: str
    kind: str
    fits: Callable[[Thing], bool]
    do: Function
    takes: tuple[str, ...] = ()


def minor_of(fields: Fields, currency: str) -> int | None:
    """The field `amount` in minor units, or None. Raises Refused."""
    if "amount" not in fields:
        return None
    try:
        minor = money.to_minor(fields["amount"], currency)
    except ValueError as error:
        raise Refused(f"The amount {error}.", param="amount") from None
    if minor <= 0:
        raise Refused(f"The amount must be greater than zero, not {fields['amount']}.", param="amount")
    return minor


def plain(do: Callable[[Account, Thing], Any]) -> Function:
    """The function of an action without fields."""
    return lambda account, thing, fields: do(account, thing)


def is_in(*states: str) -> Callable[[Thing], bool]:
    """Whether an object has one of the states."""
    return lambda thing: thing["status"] in states
