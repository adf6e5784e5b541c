"""What the plan works on: working copies of rows, together a `State`, and the `Plan` of what is to be written.

The copies are mutable, so that each movement of a batch finds what those before it left. That a copy changed does
not write it: what is to be written is put on the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

from models.planning.movements import Grant, Outcome

NEVER = datetime.max.replace(tzinfo=timezone.utc)
# Balances are bigint. What would lead further than this, either way, is refused and does not fail the batch.
FARTHEST_BALANCE = 10**18


@dataclass(frozen=True, slots=True)
class Policy:
    """What an app's catalog says about burning, shortfalls and reversals, and which balances are worth a word."""

    burn_order: str = "expiring_first"
    on_shortfall: str = "partial"
    refund_grace: timedelta = timedelta(0)
    low_balance: tuple[int, ...] = ()
    unit: str = ""


@dataclass(slots=True, eq=False)
class Lot:
    """A working copy of a lot. `expires_at` is `NEVER` for one that does not expire, `place` where its row lies."""

    id: int
    account_id: int
    entry_id: int
    granted: int
    remaining: int
    held: int = 0
    expired: int = 0
    frozen: bool = False
    open: bool = True
    priority: int = 0
    effective_at: datetime = NEVER
    expires_at: datetime = NEVER
    payment_id: int | None = None
    subscription_id: int | None = None
    cycle: int | None = None
    per_period: bool = False
    place: str = ""


# Units of a lot, or of the debt (None). In an allocation: what went in (+) or came out (−).
Part = tuple[Lot | None, int]

BURN_ORDERS: dict[str, Callable[[Lot], Any]] = {
    "expiring_first": attrgetter("priority", "expires_at", "id"),
    "oldest_first": attrgetter("priority", "effective_at", "id"),
    "largest_first": lambda lot: (lot.priority, -lot.remaining, lot.id),
}


@dataclass(slots=True, eq=False)
class Account:
    """A working copy of an account.

    `balance` is the book balance: an expired lot counts until its expiry is posted. `lots` are all open ones
    and those closed ones that a movement of the batch may open again. `oldest_unsettled_at` is when the
    account's oldest report that is not settled came in: lots that were alive then do not lapse. `place` is where
    its row lies.
    """

    id: int
    app: str
    customer: str
    balance: int = 0
    held: int = 0
    debt: int = 0
    seq: int = 0
    policy: Policy = Policy()
    oldest_unsettled_at: datetime | None = None
    lots: list[Lot] = field(default_factory=list)
    in_order: bool = False
    cannot_pay: list[Lot] | None = None
    place: str = ""

    def add(self, lot: Lot) -> None:
        """Take a new lot in."""
        self.lots.append(lot)
        self.reconsider()

    def reconsider(self) -> None:
        """A lot came, expires at another time or was frozen or thawed: derive afresh what depends on that."""
        self.in_order = False
        self.cannot_pay = None

    def payers(self, units: int, at: datetime) -> list[Lot]:
        """The lots that pay `units` at `at`, in burn order: as many as it takes, or all that may pay."""
        if not self.in_order and len(self.lots) > 1:
            self.lots.sort(key=BURN_ORDERS[self.policy.burn_order])
            self.in_order = self.policy.burn_order != "largest_first"
        payers = []
        for lot in self.lots:
            if units <= 0:
                break
            if lot.remaining and lot.expires_at > at and not lot.frozen:
                payers.append(lot)
                units -= lot.remaining
        return payers

    def shown(self, now: datetime) -> tuple[int, int]:
        """(balance, available) as a customer sees them: what has expired is gone, swept or not.

        Worked out from the book balance and the few lots that cannot pay: an account may have thousands.
        """
        if self.cannot_pay is None:
            self.cannot_pay = [lot for lot in self.lots if lot.frozen or lot.expires_at <= now]
        balance, available = self.balance, self.balance - self.held
        for lot in self.cannot_pay:
            available -= lot.remaining
            if lot.expires_at <= now:
                balance -= lot.remaining
        return balance, max(0, available)

    def expires(self, lot: Lot, now: datetime) -> bool:
        """Whether the unheld rest of the lot is to lapse now."""
        if lot.expires_at > now or not lot.remaining:
            return False
        return self.oldest_unsettled_at is None or self.oldest_unsettled_at >= lot.expires_at


@dataclass(slots=True, eq=False)
class OpenHold:
    """A working copy of a hold, with the units it set aside in each lot, in burn order.

    A part of `lots` is a lot's id and units; one that an extension added has its time as a third element.
    """

    id: int
    app: str
    account_id: int
    key: str
    units: int
    state: str
    lots: list[tuple[Any, ...]]
    captured: int = 0
    entry_id: int | None = None
    expires_at: datetime = NEVER
    reason: str = ""
    meta: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class Posted:
    """An earlier entry that a movement names, with what was given back of it so far, by lot (None: debt)."""

    id: int
    app: str
    account_id: int
    type: str
    amount: int
    allocations: list[tuple[int | None, int]] = field(default_factory=list)
    reversed_amount: int = 0
    reversed_by_lot: dict[int | None, int] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """All that the plan may look at; loaded by the ledger after the accounts are locked."""

    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    existing: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    holds: dict[tuple[str, str], OpenHold] = field(default_factory=dict)
    posted: dict[int, Posted] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """One line of the ledger to be."""

    id: int
    account: Account
    seq: int
    amount: int
    type: str
    reason: str
    key: str
    balance_before: int
    reverses_id: int | None
    actor: str
    meta: dict[str, Any] | None
    occurred_at: datetime | None


@dataclass(slots=True)
class Plan:
    """What is to be written. Ids of new rows come from the given sources, so entries name them at once."""

    now: datetime
    state: State
    entry_ids: Callable[[], int]
    lot_ids: Callable[[], int]
    hold_ids: Callable[[], int]
    outcomes: list[Outcome] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    allocations: list[tuple[int, int | None, int]] = field(default_factory=list)
    new_lots: list[tuple[Lot, Grant | None, str]] = field(default_factory=list)
    new_lot_ids: set[int] = field(default_factory=set)
    burned_lots: dict[int, Lot] = field(default_factory=dict)
    altered_lots: dict[int, Lot] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    new_holds: list[OpenHold] = field(default_factory=list)
    extended_holds: list[OpenHold] = field(default_factory=list)
    closed_holds: list[OpenHold] = field(default_factory=list)
