"""The plan of a batch: what its movements do to lots and balances, in order. No I/O, no clock.

The ledger loads a `State` under row locks, calls `plan`, and writes what the `Plan` says. Accounts, lots and
holds are mutable working copies; everything that is to be written is marked as such on the plan.

Rules are those of the ledger's design: an account's expired lots lapse before anything else happens to it;
units that come or are freed repay debt first; a reversal goes back to the lots that its allocations name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

from models.movements import (
    Capture,
    Clawback,
    Freeze,
    Grant,
    Lapse,
    Movement,
    Outcome,
    Place,
    Release,
    Reverse,
    Take,
)

NEVER = datetime.max.replace(tzinfo=timezone.utc)
# Balances are bigint. What would lead further than this, either way, is refused and does not fail the batch.
FARTHEST_BALANCE = 10**18


@dataclass(frozen=True, slots=True)
class Policy:
    """What an app's catalog says about burning, shortfalls and reversals."""

    burn_order: str = "expiring_first"
    on_shortfall: str = "partial"
    refund_grace: timedelta = timedelta(0)


@dataclass(slots=True, eq=False)
class Lot:
    """A working copy of a lot. `expires_at` is `NEVER` for one that does not expire."""

    id: int
    account_id: int
    entry_id: int
    granted: int
    remaining: int
    held: int = 0
    lapsed: int = 0
    frozen: bool = False
    open: bool = True
    priority: int = 0
    effective_at: datetime = NEVER
    expires_at: datetime = NEVER
    payment_id: int | None = None
    subscription_id: int | None = None
    cycle: int | None = None
    per_period: bool = False


@dataclass(slots=True, eq=False)
class Account:
    """A working copy of an account.

    `balance` is the book balance: an expired lot counts until its expiry is posted. `lots` are all open ones
    and those closed ones that a movement of the batch may open again. `oldest_unsettled_at` is when the
    account's oldest report that is not settled came in: lots that were alive then do not lapse.
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

    def lapses(self, lot: Lot, now: datetime) -> bool:
        """Whether the unheld rest of the lot is to lapse now."""
        if lot.expires_at > now or not lot.remaining:
            return False
        return self.oldest_unsettled_at is None or self.oldest_unsettled_at >= lot.expires_at


BURN_ORDERS: dict[str, Callable[[Lot], Any]] = {
    "expiring_first": attrgetter("priority", "expires_at", "id"),
    "oldest_first": attrgetter("priority", "effective_at", "id"),
    "largest_first": lambda lot: (lot.priority, -lot.remaining, lot.id),
}


@dataclass(slots=True, eq=False)
class Hold:
    """A working copy of a hold, with the units it set aside in each lot, in burn order."""

    id: int
    app: str
    account_id: int
    key: str
    units: int
    state: str
    lots: list[tuple[int, int]]
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
    holds: dict[tuple[str, str], Hold] = field(default_factory=dict)
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
    new_holds: list[Hold] = field(default_factory=list)
    closed_holds: list[Hold] = field(default_factory=list)


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
    lapsed: set[int] = set()  # once a batch is enough: what frees or makes expired units lapses them itself
    for movement in movements:
        account = state.accounts[movement.app, movement.customer]
        if account.id not in lapsed and type(movement) is not Lapse:
            lapsed.add(account.id)
            _lapse(it, account)
        it.outcomes.append(_already(it, account, movement) or HANDLERS[type(movement)](it, account, movement))
    return it


def _already(it: Plan, account: Account, movement: Movement) -> Outcome | None:
    known = it.state.existing.get((movement.app, movement.key)) if movement.key else None
    if known is None:
        return None
    entry_id, amount = known
    return _outcome(it, account, status="already", entry_id=entry_id, units=abs(amount))


def _outcome(it: Plan, account: Account, status: Any = "applied", **what: Any) -> Outcome:
    balance, available = account.shown(it.now)
    return Outcome(status, balance=balance, available=available, **what)


def _refused(it: Plan, account: Account, refusal: str, **what: Any) -> Outcome:
    return _outcome(it, account, status="refused", refusal=refusal, **what)


# --- writing on the plan


def _post(
    it: Plan,
    account: Account,
    movement: Movement,
    amount: int,
    type: str,
    allocations: Iterable[tuple[Lot | None, int]],
    *,
    key: str = "",
    reason: str = "",
    reverses_id: int | None = None,
) -> int:
    """One entry, its allocations, and the account's new balance. Returns the entry's id."""
    entry_id = it.entry_ids()
    account.seq += 1
    key = key or movement.key or f"{type}:{account.id}:{account.seq}"
    it.entries.append(
        Entry(
            entry_id,
            account,
            account.seq,
            amount,
            type,
            reason or movement.reason,
            key,
            account.balance,
            reverses_id,
            movement.actor,
            movement.meta,
            movement.occurred_at,
        )
    )
    account.balance += amount
    it.state.existing[account.app, key] = (entry_id, amount)
    it.accounts[account.id] = account
    for lot, units in allocations:
        it.allocations.append((entry_id, lot.id if lot else None, units))
    return entry_id


def _burned(it: Plan, lot: Lot) -> None:
    """Note that units of the lot changed."""
    lot.open = lot.remaining > 0 or lot.held > 0
    it.burned_lots[lot.id] = lot


def _draw(it: Plan, lots: Iterable[Lot], units: int) -> list[tuple[Lot | None, int]]:
    """Take up to `units` from the lots in their order, as allocations (negative)."""
    drawn: list[tuple[Lot | None, int]] = []
    for lot in lots:
        if not units:
            break
        part = min(lot.remaining, units)
        lot.remaining -= part
        units -= part
        _burned(it, lot)
        drawn.append((lot, -part))
    return drawn


def _repay(account: Account, units: int) -> int:
    """How much of units that come goes to the debt; the debt shrinks by it."""
    part = min(account.debt, units)
    account.debt -= part
    return part


def _overdraw(account: Account, units: int) -> list[tuple[Lot | None, int]]:
    """Put `units` on the debt, as allocations."""
    account.debt += units
    return [(None, -units)] if units else []


def _sum(allocations: Iterable[tuple[Lot | None, int]]) -> int:
    return sum(units for _, units in allocations)


def _free(it: Plan, account: Account, lot: Lot, units: int, movement: Movement) -> None:
    """Units of a lot become spendable again: they repay debt first, unless the lot itself may not pay now."""
    repaid = _repay(account, units) if lot.expires_at > it.now and not lot.frozen else 0
    if repaid:
        lot.remaining -= repaid
        _post(
            it,
            account,
            movement,
            0,
            "clawback",
            [(lot, -repaid), (None, repaid)],
            key=_own_key(account, "repayment"),
        )
    _burned(it, lot)


def _altered(it: Plan, account: Account, lot: Lot) -> None:
    """Note that the expiry of the lot, or its freeze, changed."""
    it.altered_lots[lot.id] = lot
    account.reconsider()


def _own_key(account: Account, kind: str) -> str:
    return f"{kind}:{account.id}:{account.seq + 1}"


def _lapse(it: Plan, account: Account) -> int:
    """Post an expiry for each lot whose time has passed, oldest first. Returns the units that lapsed."""
    lapsed = 0
    for lot in sorted([lot for lot in account.lots if account.lapses(lot, it.now)], key=_BY_EXPIRY):
        units, lot.remaining = lot.remaining, 0
        lot.lapsed += units
        lapsed += units
        _burned(it, lot)
        it.altered_lots[lot.id] = lot
        _post(it, account, _EXPIRY, -units, "expiry", [(lot, -units)], key=_own_key(account, f"expiry:{lot.id}"))
    return lapsed


_BY_EXPIRY = attrgetter("expires_at", "id")


_EXPIRY = Movement(app="", customer="", reason="lot expired", actor="expiry")


# --- the movements, one function each


def _not_negative(units: int) -> int:
    if units < 0:
        raise ValueError(f"units of a movement are never negative, got {units}")
    return units


def _grant(it: Plan, account: Account, movement: Grant) -> Outcome:
    if movement.units == 0:
        return _outcome(it, account)
    if _not_negative(movement.units) + account.balance > FARTHEST_BALANCE:
        return _refused(it, account, "beyond")
    expires_at = movement.expires_at or (it.now + movement.expires_after if movement.expires_after else NEVER)
    if movement.per_period:
        _end_earlier_cycles(it, account, movement)
    lot = _new_lot(it, account, movement, movement.units, expires_at)
    entry_id = lot.entry_id = _credit(it, account, movement, lot, movement.units)
    _lapse(it, account)
    return _outcome(it, account, entry_id=entry_id, units=movement.units)


def _end_earlier_cycles(it: Plan, account: Account, movement: Grant) -> None:
    """Units that lapse with their cycle do so when the next cycle's grant posts."""
    for lot in account.lots:
        if not lot.per_period or lot.subscription_id != movement.subscription_id:
            continue
        if (lot.cycle or 0) < (movement.cycle or 0) and lot.expires_at > it.now:
            lot.expires_at = it.now
            _altered(it, account, lot)
    _lapse(it, account)


def _new_lot(it: Plan, account: Account, movement: Movement, units: int, expires_at: datetime) -> Lot:
    grant = movement if isinstance(movement, Grant) else None
    lot = Lot(
        it.lot_ids(),
        account.id,
        0,
        units,
        remaining=units,
        priority=grant.priority if grant else 0,
        effective_at=it.now,
        expires_at=expires_at,
        payment_id=grant.payment_id if grant else None,
        subscription_id=grant.subscription_id if grant else None,
        cycle=grant.cycle if grant else None,
        per_period=grant.per_period if grant else False,
    )
    account.add(lot)
    it.state.lots[lot.id] = lot
    it.new_lots.append((lot, grant, grant.source if grant else "refund"))
    it.new_lot_ids.add(lot.id)
    return lot


def _credit(it: Plan, account: Account, movement: Grant, lot: Lot, units: int) -> int:
    """The entry of a grant: what is owed goes to the debt, the rest is the lot."""
    repaid = _repay(account, units)
    lot.remaining = units - repaid
    lot.open = lot.remaining > 0
    parts: list[tuple[Lot | None, int]] = [(lot, lot.remaining)] if lot.remaining else []
    if repaid:
        parts.append((None, repaid))
    return _post(it, account, movement, units, movement.type, parts)


def _take(it: Plan, account: Account, movement: Take) -> Outcome:
    wanted = _not_negative(movement.units)
    # A node whose clock is ahead must not hide from a report what may pay now.
    at = min(movement.received_at, it.now) if movement.received_at else it.now
    lots = account.payers(wanted, at)
    rule = movement.on_shortfall or account.policy.on_shortfall
    if rule == "reject" and wanted > sum(lot.remaining for lot in lots):
        return _refused(it, account, "insufficient", shortfall=wanted)
    if rule == "debt" and account.balance - wanted < -FARTHEST_BALANCE:
        return _refused(it, account, "beyond")
    drawn = _draw(it, lots, wanted)
    missing = wanted + _sum(drawn)
    if missing and rule == "debt":
        drawn += _overdraw(account, missing)
        missing = 0
    taken = wanted - missing
    entry_id = _post(it, account, movement, -taken, movement.type, drawn) if taken else None
    return _outcome(it, account, entry_id=entry_id, units=taken, shortfall=missing)


def _place(it: Plan, account: Account, movement: Place) -> Outcome:
    known = it.state.holds.get((movement.app, movement.key))
    if known is not None:
        return _outcome(it, account, status="already", hold_id=known.id, units=known.units)
    wanted = _not_negative(movement.units)
    lots = account.payers(wanted, it.now)
    there = sum(lot.remaining for lot in lots)
    units = min(wanted, there) if movement.at_most else wanted
    if units > there:
        return _refused(it, account, "insufficient", shortfall=units)
    parts = []
    for lot, part in _draw(it, lots, units):
        assert lot is not None
        lot.held -= part
        lot.open = True
        parts.append((lot.id, -part))
    account.held += units
    it.accounts[account.id] = account
    hold = Hold(
        it.hold_ids(),
        account.app,
        account.id,
        movement.key,
        units,
        "held",
        parts,
        expires_at=movement.expires_at,
        reason=movement.reason,
        meta=movement.meta,
    )
    it.new_holds.append(hold)
    it.state.holds[account.app, hold.key] = hold
    return _outcome(it, account, hold_id=hold.id, units=units)


def _open_hold(it: Plan, account: Account, key: str) -> Hold | Outcome:
    hold = it.state.holds.get((account.app, key))
    if hold is None or hold.account_id != account.id:
        return _refused(it, account, "unknown")
    if hold.state != "held":
        return _refused(it, account, "closed", hold_id=hold.id, units=hold.captured)
    return hold


def _capture(it: Plan, account: Account, movement: Capture) -> Outcome:
    hold = _open_hold(it, account, movement.hold_key)
    if isinstance(hold, Outcome):
        return hold
    units = hold.units if movement.units is None else _not_negative(movement.units)
    more = max(0, units - hold.units)
    lots = account.payers(more, it.now)
    if more > sum(lot.remaining for lot in lots):
        return _refused(it, account, "insufficient", shortfall=units)
    spent, freed = _split(it, account, hold, units)
    spent += _draw(it, lots, more)
    hold.entry_id = _post(it, account, movement, -units, "deduction", spent) if units else None
    for lot, part in freed:
        _free(it, account, lot, part, movement)
    _close(it, account, hold, "captured", units)
    return _outcome(it, account, entry_id=hold.entry_id, units=units, hold_id=hold.id)


def _release(it: Plan, account: Account, movement: Release) -> Outcome:
    hold = _open_hold(it, account, movement.hold_key)
    if isinstance(hold, Outcome):
        return hold
    _, freed = _split(it, account, hold, 0)
    for lot, part in freed:
        _free(it, account, lot, part, movement)
    _close(it, account, hold, "expired" if movement.expired else "released", 0)
    return _outcome(it, account, units=hold.units, hold_id=hold.id)


def _split(
    it: Plan, account: Account, hold: Hold, units: int
) -> tuple[list[tuple[Lot | None, int]], list[tuple[Lot, int]]]:
    """Undo the hold on its lots: the first `units` of it are spent (allocations), the rest is freed."""
    spent: list[tuple[Lot | None, int]] = []
    freed: list[tuple[Lot, int]] = []
    for lot_id, part in hold.lots:
        lot = it.state.lots[lot_id]
        pay = min(part, units)
        units -= pay
        lot.held -= part
        lot.remaining += part - pay
        account.held -= part
        _burned(it, lot)
        if pay:
            spent.append((lot, -pay))
        if part > pay:
            freed.append((lot, part - pay))
    return spent, freed


def _close(it: Plan, account: Account, hold: Hold, state: str, captured: int) -> None:
    hold.state, hold.captured = state, captured
    it.closed_holds.append(hold)
    it.accounts[account.id] = account
    _lapse(it, account)


def _reverse(it: Plan, account: Account, movement: Reverse) -> Outcome:
    entry = it.state.posted.get(movement.entry_id)
    if entry is None or entry.account_id != account.id or entry.type != "deduction":
        return _refused(it, account, "unknown")
    left = -entry.amount - entry.reversed_amount
    units = left if movement.units is None else movement.units
    if units > left or units <= 0:
        return _refused(it, account, "beyond", shortfall=left)
    parts = _give_back(it, account, entry, units, fallback=None, movement=movement)
    entry_id = _post(it, account, movement, units, "refund", parts, reverses_id=entry.id)
    _fill_entry_id(it, parts, entry_id)
    _note_reversal(entry, parts, units)
    _lapse(it, account)
    return _outcome(it, account, entry_id=entry_id, units=units)


def _clawback(it: Plan, account: Account, movement: Clawback) -> Outcome:
    grant = it.state.posted.get(movement.entry_id)
    if grant is None or grant.account_id != account.id or grant.type == "refund":
        return _refused(it, account, "unknown")
    own = next((lot for lot in account.lots if lot.entry_id == grant.id), None)
    if own is None:
        return _refused(it, account, "unknown")
    clawed = -grant.reversed_amount
    target = min(movement.target_units, own.granted)
    due = max(0, target - own.lapsed) - clawed
    if due > 0:
        return _claw(it, account, movement, grant, own, due)
    if target < clawed:
        return _reinstate(it, account, movement, grant, own, clawed - target)
    return _outcome(it, account)


def _claw(it: Plan, account: Account, movement: Clawback, grant: Posted, own: Lot, units: int) -> Outcome:
    """From the payment's own lot, then in burn order, then debt. Held units are left alone."""
    parts = _draw(it, [own], units) if own.remaining else []
    left = units + _sum(parts)
    parts += _draw(it, account.payers(left, it.now), left)
    parts += _overdraw(account, units + _sum(parts))
    entry_id = _post(it, account, movement, -units, "clawback", parts, reverses_id=grant.id)
    _note_reversal(grant, parts, -units)
    return _outcome(it, account, entry_id=entry_id, units=units)


def _reinstate(it: Plan, account: Account, movement: Clawback, grant: Posted, own: Lot, units: int) -> Outcome:
    parts = _give_back(it, account, grant, units, fallback=own, movement=movement)
    entry_id = _post(it, account, movement, units, "reinstatement", parts, reverses_id=grant.id)
    _note_reversal(grant, parts, units)
    _lapse(it, account)
    return _outcome(it, account, entry_id=entry_id, units=units)


def _give_back(
    it: Plan, account: Account, entry: Posted, units: int, *, fallback: Lot | None, movement: Movement
) -> list[tuple[Lot | None, int]]:
    """Units to the debt first, then to the lots they were taken from, each up to what it is still owed, oldest first.

    What was taken as debt that others repaid since has no lot to go to: it goes to `fallback` or a new lot.
    """
    parts: list[tuple[Lot | None, int]] = []
    repaid = _repay(account, units)
    if repaid:
        parts.append((None, repaid))
        units -= repaid
    for lot_id, owed in _owed(entry):
        part = min(owed, units)
        if part:
            parts.append((_refill(it, account, it.state.lots[lot_id], part), part))
            units -= part
    if units and fallback:
        parts.append((_refill(it, account, fallback, units), units))
    elif units:
        parts.append((_new_lot(it, account, movement, units, NEVER), units))
    return parts


def _owed(entry: Posted) -> list[tuple[int, int]]:
    """What each lot paid for the entry and its reversals so far, net."""
    net: dict[int, int] = {}
    for lot_id, amount in [*(entry.allocations if entry.amount < 0 else []), *entry.reversed_by_lot.items()]:
        if lot_id is not None:
            net[lot_id] = net.get(lot_id, 0) - amount
    return [(lot_id, owed) for lot_id, owed in sorted(net.items()) if owed > 0]


def _refill(it: Plan, account: Account, lot: Lot, units: int) -> Lot:
    lot.remaining += units
    if lot.expires_at <= it.now and account.policy.refund_grace:
        lot.expires_at = it.now + account.policy.refund_grace
        _altered(it, account, lot)
    _burned(it, lot)
    return lot


def _fill_entry_id(it: Plan, parts: Iterable[tuple[Lot | None, int]], entry_id: int) -> None:
    for lot, _ in parts:
        if lot is not None and not lot.entry_id:
            lot.entry_id = entry_id


def _note_reversal(entry: Posted, parts: Iterable[tuple[Lot | None, int]], amount: int) -> None:
    """Keep the named entry true for later movements of the same batch."""
    entry.reversed_amount += amount
    for lot, units in parts:
        lot_id = lot.id if lot else None
        entry.reversed_by_lot[lot_id] = entry.reversed_by_lot.get(lot_id, 0) + units


def _freeze(it: Plan, account: Account, movement: Freeze) -> Outcome:
    changed = 0
    for lot in sorted(account.lots, key=attrgetter("id")):  # thawed lots repay debt, the oldest first
        if lot.payment_id == movement.payment_id and lot.frozen != movement.frozen:
            lot.frozen = movement.frozen
            _altered(it, account, lot)
            changed += lot.remaining
            if not lot.frozen:
                _free(it, account, lot, lot.remaining, movement)
    return _outcome(it, account, units=changed)


def _lapse_only(it: Plan, account: Account, movement: Lapse) -> Outcome:
    return _outcome(it, account, units=_lapse(it, account))


HANDLERS: dict[type, Callable[[Plan, Account, Any], Outcome]] = {
    Grant: _grant,
    Take: _take,
    Place: _place,
    Capture: _capture,
    Release: _release,
    Reverse: _reverse,
    Clawback: _clawback,
    Freeze: _freeze,
    Lapse: _lapse_only,
}
