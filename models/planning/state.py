"""The planner's data: working copies of rows (`State`), and the rows to be written (`Plan`).

The copies are mutable, so that each movement of a batch sees the effect of those before it. Only rows that are
recorded on the plan are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

from models.planning.carry import Carry
from models.planning.movements import Grant, Outcome

NEVER = datetime.max.replace(tzinfo=timezone.utc)
# Balances are bigint. A movement that would exceed this limit in either direction is refused, so that it does not fail
# the whole batch.
MAX_BALANCE = 10**18


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of an app: burn order, shortfalls, refunds, and the thresholds of its `balance.low` events."""

    burn_order: str = "expiring_first"
    on_shortfall: str = "partial"
    refund_grace: timedelta = timedelta(0)
    low_balance: tuple[int, ...] = ()
    unit: str = ""


@dataclass(slots=True, eq=False)
class Lot:
    """A working copy of a lot. `expires_at`: `NEVER` if it does not expire. `ctid`: the physical address of its row.

    `source` is empty but for lots that end with their period.
    """

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
    period_start: datetime | None = None
    per_period: bool = False
    source: str = ""
    ctid: str = ""


# Units of a lot, or of the debt (None). In an allocation: added (+) or taken (−).
Part = tuple[Lot | None, int]

BURN_ORDERS: dict[str, Callable[[Lot], Any]] = {
    "expiring_first": attrgetter("priority", "expires_at", "id"),
    "oldest_first": attrgetter("priority", "effective_at", "id"),
    "largest_first": lambda lot: (lot.priority, -lot.remaining, lot.id),
}


@dataclass(slots=True, eq=False)
class Account:
    """A working copy of an account.

    `balance` is the book balance: an expired lot counts until its expiry is posted. `lots` are all open lots and the
    closed lots that a movement of the batch may reopen. `oldest_unsettled_at` is when the account's oldest unsettled
    usage report was received: lots that had not expired then do not expire yet. `ctid` is the physical address of its
    row. `in_order` and `cannot_pay` cache what `payers` and `visible_balances` derive from the lots.
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
    ctid: str = ""

    def add(self, lot: Lot) -> None:
        """Add a new lot."""
        self.lots.append(lot)
        self.invalidate()

    def invalidate(self) -> None:
        """Drop the caches: a lot was added, frozen or thawed, or its expiry changed."""
        self.in_order = False
        self.cannot_pay = None

    def payers(self, units: int, at: datetime) -> list[Lot]:
        """The lots that pay `units` at the time `at`, in burn order: as many as suffice, or all that can pay."""
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

    def visible_balances(self, now: datetime) -> tuple[int, int]:
        """(balance, available) as a customer sees them: without expired lots, whether their expiry is posted or not.

        Computed from the book balance and the few lots that cannot pay, because an account may have thousands of lots.
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
        """Whether the units of the lot that are not held expire now."""
        if lot.expires_at > now or not lot.remaining:
            return False
        return self.oldest_unsettled_at is None or self.oldest_unsettled_at >= lot.expires_at


@dataclass(slots=True, eq=False)
class OpenHold:
    """A working copy of a hold, with the units that it reserved in each lot, in burn order.

    An item of `lots` is (lot id, units), with the time as a third element if an extension added it.
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
    """An earlier entry that a movement names, with what was reversed of it so far, by lot id (None: debt)."""

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
    """The rows that the plan may read, loaded by the ledger after it locked the accounts.

    Keys: `accounts` (app, customer), `existing` and `holds` (app, key), `lots` and `posted` id, `carries` (account id,
    rate). `existing` holds the (id, amount) of entries whose keys the batch repeats.
    """

    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    existing: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    holds: dict[tuple[str, str], OpenHold] = field(default_factory=dict)
    posted: dict[int, Posted] = field(default_factory=dict)
    carries: dict[tuple[int, str], Carry] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """A ledger entry to be written."""

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
    """The rows to be written, and the outcome of each movement.

    Ids of new rows are taken from the given sources while planning, so that rows can reference each other.
    """

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
    carries: dict[tuple[int, str], Carry] = field(default_factory=dict)
