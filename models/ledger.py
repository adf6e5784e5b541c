"""The kernel: `post` is the only writer of entries, allocations, lots, holds and balances.

A batch goes through four steps in one transaction: lock the accounts in id order, in a statement of its own;
load what the movements name, in fresh statements; plan in pure Python (models/planning.py); write with a
handful of set-based statements. A single charge is a batch of one, so there is one path.

Locking and reading in one statement would read lots as they were before the lock was granted; writing them
back, as the kernel writes absolute values, would lose what the other transaction did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.errors import SerializationFailure, UniqueViolation

from models import arrays, catalog
from models.movements import (
    Capture,
    Clawback,
    Freeze,
    Grant,
    Movement,
    Outcome,
    Place,
    Release,
    Reverse,
    Take,
)
from models.planning import NEVER, Account, Hold, Lot, Plan, Policy, Posted, State, plan

Connection = psycopg.Connection[tuple[Any, ...]]
Key = tuple[str, str]


def post(conn: Connection, movements: Sequence[Movement], *, now: datetime) -> list[Outcome]:
    """Post the batch inside the caller's transaction. `outcomes[i]` is what became of `movements[i]`.

    Movements of one account are applied in the order given. A refused movement writes nothing and does not
    disturb the others; the caller decides whether a refusal rolls back.

    Raises:
        ValueError: a movement has negative units.
        SerializationFailure: a key of the batch was posted meanwhile to another account; run it again.
    """
    if not movements:
        return []
    state = State()
    _lock(conn, state, movements, now)
    entry_ids, lot_ids, hold_ids = _load(conn, state, movements, now)
    result = plan(state, movements, now=now, entry_ids=entry_ids, lot_ids=lot_ids, hold_ids=hold_ids)
    try:
        _write(conn, result)
    except UniqueViolation as error:
        # Two accounts, one key, at the same moment: the loser's second run finds the key.
        raise SerializationFailure("a key of the batch was posted meanwhile") from error
    return result.outcomes


# --- lock


LOCK = """
SELECT a.id, a.app, a.customer, a.balance, a.held, a.debt, a.seq
FROM account a JOIN unnest(%s::text[], %s::text[]) AS named(app, customer)
  ON a.app = named.app AND a.customer = named.customer
ORDER BY a.id FOR NO KEY UPDATE OF a
"""
CREATE = """
INSERT INTO account (app, customer, created_at, updated_at)
SELECT app, customer, %(now)s, %(now)s
FROM unnest(%(apps)s::text[], %(customers)s::text[]) AS named(app, customer)
ORDER BY app, customer ON CONFLICT DO NOTHING
"""


def _lock(conn: Connection, state: State, movements: Iterable[Movement], now: datetime) -> None:
    """Lock the accounts that the movements name, in id order; those that are missing are made."""
    wanted = {(movement.app, movement.customer) for movement in movements}
    _lock_named(conn, state, wanted)
    missing = sorted(wanted - state.accounts.keys())
    if missing:
        apps, customers = _key_columns(missing)
        conn.execute(CREATE, {"now": now, "apps": apps, "customers": customers})
        _lock_named(conn, state, missing)


def _lock_named(conn: Connection, state: State, named: Iterable[Key]) -> None:
    rows = conn.execute(LOCK, _key_columns(list(named)), prepare=True, binary=True)
    policies: dict[str, Policy] = {}
    for id_, app, customer, balance, held, debt, seq in rows:
        policy = policies.get(app) or policies.setdefault(app, policy_of(app))
        state.accounts[app, customer] = Account(id_, app, customer, balance, held, debt, seq, policy)


def policy_of(app: str) -> Policy:
    """The app's rules; the defaults for an app that left the catalog with balances behind it."""
    known = catalog.current().apps.get(app)
    return Policy(known.burn_order, known.on_shortfall, known.refund_grace) if known else Policy()


# --- load


EXISTING = """
SELECT e.app, e.key, e.id, e.amount FROM entry e JOIN unnest(%s::text[], %s::text[]) AS named(app, key)
  ON e.app = named.app AND e.key = named.key
"""
LOTS = """
SELECT id, account_id, entry_id, granted, remaining, held, lapsed, frozen, open, priority, effective_at,
       expires_at, payment_id, subscription_id, cycle, per_period
FROM lot WHERE account_id = ANY(%s::bigint[]) AND """
OPEN_LOTS = LOTS + "open"
NAMED_LOTS = LOTS + "id = ANY(%s::bigint[])"
GRANTED_LOTS = LOTS + "entry_id = ANY(%s::bigint[])"
PAID_LOTS = LOTS + "payment_id = ANY(%s::bigint[])"
SPENT_CYCLES = LOTS + "subscription_id = ANY(%s::bigint[]) AND per_period AND NOT open AND expires_at > %s"
HOLDS = """
SELECT h.id, h.app, h.account_id, h.key, h.units, h.state, h.lots, h.captured, h.entry_id, h.expires_at,
       h.reason, h.meta
FROM hold h JOIN unnest(%s::text[], %s::text[]) AS named(app, key) ON h.app = named.app AND h.key = named.key
"""
UNSETTLED = """
SELECT app, customer, min(received_at) FROM usage_queue
WHERE NOT dead AND (app, customer) IN (SELECT * FROM unnest(%s::text[], %s::text[])) GROUP BY app, customer
"""
POSTED = "SELECT id, app, account_id, type, amount FROM entry WHERE app = %s AND id = ANY(%s)"
POSTED_PARTS = "SELECT entry_id, lot_id, amount FROM allocation WHERE entry_id = ANY(%s)"
REVERSALS = """
SELECT e.reverses_id, x.lot_id, sum(x.amount)::bigint FROM entry e JOIN allocation x ON x.entry_id = e.id
WHERE e.reverses_id = ANY(%s) GROUP BY e.reverses_id, x.lot_id ORDER BY min(x.entry_id)
"""


def _load(
    conn: Connection, state: State, movements: Sequence[Movement], now: datetime
) -> tuple[Callable[[], int], Callable[[], int], Callable[[], int]]:
    """Read all that the plan needs, after the lock.

    Returns the sources of ids for new entries, lots and holds.
    """
    accounts = {account.id: account for account in state.accounts.values()}
    keys = [(movement.app, movement.key) for movement in movements if movement.key]
    with conn.pipeline():
        existing = conn.execute(EXISTING, _key_columns(keys), prepare=True, binary=True)
        lots = conn.execute(OPEN_LOTS, [arrays.ints(accounts)], prepare=True, binary=True)
        ids = conn.execute(NEXT_IDS["entry_id_seq"], [len(movements)], prepare=True, binary=True)
    state.existing = {(app, key): (id_, amount) for app, key, id_, amount in existing}
    for row in lots:
        _add_lot(state, accounts, row)
    _load_holds(conn, state, movements)
    _load_posted(conn, state, movements)
    _load_closed_lots(conn, state, movements, accounts, now)
    _load_unsettled(conn, state, movements, now)
    grants = sum(isinstance(movement, (Grant, Reverse)) for movement in movements)
    places = sum(isinstance(movement, Place) for movement in movements)
    return (
        _ids(conn, "entry_id_seq", [id_ for (id_,) in ids]),
        _ids(conn, "lot_id_seq", [], grants),
        _ids(conn, "hold_id_seq", [], places),
    )


def _add_lot(state: State, accounts: dict[int, Account], row: tuple[Any, ...]) -> None:
    lot = Lot(*row)
    if lot.id in state.lots:
        return
    lot.expires_at = lot.expires_at or NEVER
    state.lots[lot.id] = lot
    accounts[lot.account_id].lots.append(lot)


def _load_unsettled(conn: Connection, state: State, movements: Iterable[Movement], now: datetime) -> None:
    """When the oldest unsettled report came in, of accounts in which a lot has expired or may in this batch.

    The reports that this batch settles count as well: a drain takes them off the queue before it posts.
    """
    named = {key for key, account in state.accounts.items() if any(lot.expires_at <= now for lot in account.lots)}
    named |= {(m.app, m.customer) for m in movements if isinstance(m, Grant) and (m.per_period or m.expires_at)}
    if not named:
        return
    for app, customer, received_at in conn.execute(UNSETTLED, _key_columns(list(named))):
        state.accounts[app, customer].oldest_unsettled_at = received_at
    for movement in movements:
        if isinstance(movement, Take) and movement.received_at:
            account = state.accounts[movement.app, movement.customer]
            account.oldest_unsettled_at = min(account.oldest_unsettled_at or NEVER, movement.received_at)


def _load_holds(conn: Connection, state: State, movements: Iterable[Movement]) -> None:
    named = [(m.app, m.key) for m in movements if isinstance(m, Place)]
    named += [(m.app, m.hold_key) for m in movements if isinstance(m, (Capture, Release))]
    if not named:
        return
    for row in conn.execute(HOLDS, _key_columns(named)):
        hold = Hold(*row)
        state.holds[hold.app, hold.key] = hold


def _load_posted(conn: Connection, state: State, movements: Iterable[Movement]) -> None:
    """The entries that reversals and clawbacks name, and what was given back of them."""
    by_app: dict[str, list[int]] = {}
    for movement in movements:
        if isinstance(movement, (Reverse, Clawback)):
            by_app.setdefault(movement.app, []).append(movement.entry_id)
    for app, ids in by_app.items():
        for row in conn.execute(POSTED, [app, ids]):
            state.posted[row[0]] = Posted(*row)
    if not state.posted:
        return
    ids = list(state.posted)
    for entry_id, lot_id, amount in conn.execute(POSTED_PARTS, [ids]):
        state.posted[entry_id].allocations.append((lot_id, amount))
    for entry_id, lot_id, amount in conn.execute(REVERSALS, [ids]):
        entry = state.posted[entry_id]
        entry.reversed_amount += amount
        entry.reversed_by_lot[lot_id] = amount


def _load_closed_lots(
    conn: Connection, state: State, movements: Sequence[Movement], accounts: dict[int, Account], now: datetime
) -> None:
    """The lots that movements may open again or must mark though nothing is left in them."""
    of = list(accounts)
    touched = {lot for it in state.posted.values() for lot, _ in it.allocations} | {
        lot for it in state.posted.values() for lot in it.reversed_by_lot
    }
    clawed = [m.entry_id for m in movements if isinstance(m, Clawback)]
    paid = [m.payment_id for m in movements if isinstance(m, Freeze)]
    renewed = [m.subscription_id for m in movements if isinstance(m, Grant) and m.per_period]
    rows: list[tuple[Any, ...]] = []
    if touched:
        rows += conn.execute(NAMED_LOTS, [of, [lot for lot in touched if lot is not None]])
    if clawed:
        rows += conn.execute(GRANTED_LOTS, [of, clawed])
    if paid:
        rows += conn.execute(PAID_LOTS, [of, paid])
    if renewed:
        rows += conn.execute(SPENT_CYCLES, [of, renewed, now])
    for row in rows:
        _add_lot(state, accounts, row)


NEXT_IDS = {
    name: f"SELECT nextval('{name}') FROM generate_series(1, %s)"
    for name in ("entry_id_seq", "lot_id_seq", "hold_id_seq")
}


def _key_columns(pairs: Sequence[Key]) -> list[str]:
    """Pairs of an app and a name in it, as two array literals."""
    return [arrays.texts([app for app, _ in pairs]), arrays.texts([name for _, name in pairs])]


def _ids(conn: Connection, sequence: str, ready: list[int], expected: int = 0) -> Callable[[], int]:
    """A source of new ids; it asks the sequence for more when it runs out. Gaps in ids mean nothing."""
    ready.reverse()

    def take() -> int:
        if not ready:
            fresh = [id_ for (id_,) in conn.execute(NEXT_IDS[sequence], [max(expected, 16)])]
            ready.extend(reversed(fresh))
        return ready.pop()

    return take


# --- write


INSERT_ENTRIES = """
INSERT INTO entry (id, app, account_id, seq, amount, type, reason, key, balance_before, balance_after,
                   reverses_id, actor, meta, occurred_at, created_at)
SELECT id, app, account_id, seq, amount, type, reason, key, before, before + amount, reverses_id, actor, meta,
       occurred_at, %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
            %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[])
  AS e(id, app, account_id, seq, amount, type, reason, key, before, reverses_id, actor, meta, occurred_at)
"""
INSERT_ALLOCATIONS = """
INSERT INTO allocation (entry_id, lot_id, amount)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])
"""
UPDATE_LOTS = """
UPDATE lot SET remaining = new.remaining, held = new.held, open = new.open
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[]) AS new(id, remaining, held, open)
WHERE lot.id = new.id
"""
ALTER_LOTS = """
UPDATE lot SET lapsed = new.lapsed, frozen = new.frozen, expires_at = new.expires_at
FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[], %s::timestamptz[])
  AS new(id, lapsed, frozen, expires_at)
WHERE lot.id = new.id
"""
UPDATE_ACCOUNTS = """
UPDATE account SET balance = new.balance, held = new.held, debt = new.debt, seq = new.seq, updated_at = %s
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS new(id, balance, held, debt, seq)
WHERE account.id = new.id
"""
INSERT_LOTS = """
INSERT INTO lot (id, account_id, entry_id, source, granted, remaining, held, lapsed, frozen, open, priority,
                 effective_at, expires_at, price_minor, currency, payment_id, subscription_id, cycle,
                 per_period)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[], %s::int[], %s::timestamptz[], %s::timestamptz[],
    %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::int[], %s::boolean[])
"""
INSERT_HOLDS = """
INSERT INTO hold (id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, created_at,
                  expires_at)
SELECT id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, %s, expires_at
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::jsonb[],
            %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[])
  AS h(id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, expires_at)
"""
CLOSE_HOLDS = """
UPDATE hold SET state = new.state, captured = new.captured, entry_id = new.entry_id, closed_at = %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[]) AS new(id, state, captured, entry_id)
WHERE hold.id = new.id
"""


def _write(conn: Connection, it: Plan) -> None:
    """Write the plan: a statement a table, all sent before the first answer is read."""
    burned = [lot for lot in it.burned_lots.values() if lot.id not in it.new_lot_ids]
    altered = [lot for lot in it.altered_lots.values() if lot.id not in it.new_lot_ids]
    with conn.pipeline():
        if it.entries:
            conn.execute(INSERT_ENTRIES, _entry_columns(it), prepare=True)
        if it.allocations:
            conn.execute(INSERT_ALLOCATIONS, _int_columns(it.allocations), prepare=True)
        if it.new_lots:
            conn.execute(INSERT_LOTS, _lot_columns(it), prepare=True)
        if burned:
            conn.execute(UPDATE_LOTS, _burned_columns(burned), prepare=True)
        if altered:
            conn.execute(ALTER_LOTS, _altered_columns(altered), prepare=True)
        if it.accounts:
            conn.execute(UPDATE_ACCOUNTS, [it.now, *_account_columns(it.accounts.values())], prepare=True)
        if it.new_holds:
            conn.execute(INSERT_HOLDS, _hold_columns(it), prepare=True)
        if it.closed_holds:
            conn.execute(CLOSE_HOLDS, [it.now, *_closed_columns(it.closed_holds)], prepare=True)


def _int_columns(rows: Iterable[tuple[int | None, ...]]) -> list[str]:
    return [arrays.ints(column) for column in zip(*rows, strict=True)]


def _entry_columns(it: Plan) -> list[Any]:
    entries = it.entries
    return [
        it.now,
        arrays.ints([e.id for e in entries]),
        arrays.texts([e.account.app for e in entries]),
        arrays.ints([e.account.id for e in entries]),
        arrays.ints([e.seq for e in entries]),
        arrays.ints([e.amount for e in entries]),
        arrays.texts([e.type for e in entries]),
        arrays.texts([e.reason for e in entries]),
        arrays.texts([e.key for e in entries]),
        arrays.ints([e.balance_before for e in entries]),
        arrays.ints([e.reverses_id for e in entries]),
        arrays.texts([e.actor for e in entries]),
        arrays.jsons([e.meta for e in entries]),
        arrays.times([e.occurred_at for e in entries]),
    ]


def _burned_columns(lots: Sequence[Lot]) -> list[str]:
    return [
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.remaining for lot in lots]),
        arrays.ints([lot.held for lot in lots]),
        arrays.bools([lot.open for lot in lots]),
    ]


def _altered_columns(lots: Sequence[Lot]) -> list[str]:
    return [
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.lapsed for lot in lots]),
        arrays.bools([lot.frozen for lot in lots]),
        arrays.times([_expiry(lot) for lot in lots]),
    ]


def _account_columns(accounts: Iterable[Account]) -> list[str]:
    return _int_columns((a.id, a.balance, a.held, a.debt, a.seq) for a in accounts)


def _lot_columns(it: Plan) -> list[str]:
    lots = [lot for lot, _, _ in it.new_lots]
    grants = [grant for _, grant, _ in it.new_lots]
    return [
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.account_id for lot in lots]),
        arrays.ints([lot.entry_id for lot in lots]),
        arrays.texts([source for _, _, source in it.new_lots]),
        arrays.ints([lot.granted for lot in lots]),
        arrays.ints([lot.remaining for lot in lots]),
        arrays.ints([lot.held for lot in lots]),
        arrays.ints([lot.lapsed for lot in lots]),
        arrays.bools([lot.frozen for lot in lots]),
        arrays.bools([lot.open for lot in lots]),
        arrays.ints([lot.priority for lot in lots]),
        arrays.times([lot.effective_at for lot in lots]),
        arrays.times([_expiry(lot) for lot in lots]),
        arrays.ints([grant.price_minor if grant else None for grant in grants]),
        arrays.texts([grant.currency if grant else None for grant in grants]),
        arrays.ints([lot.payment_id for lot in lots]),
        arrays.ints([lot.subscription_id for lot in lots]),
        arrays.ints([lot.cycle for lot in lots]),
        arrays.bools([lot.per_period for lot in lots]),
    ]


def _hold_columns(it: Plan) -> list[Any]:
    holds = it.new_holds
    return [
        it.now,
        arrays.ints([hold.id for hold in holds]),
        arrays.texts([hold.app for hold in holds]),
        arrays.ints([hold.account_id for hold in holds]),
        arrays.texts([hold.key for hold in holds]),
        arrays.ints([hold.units for hold in holds]),
        arrays.texts([hold.state for hold in holds]),
        arrays.jsons([hold.lots for hold in holds]),
        arrays.ints([hold.captured for hold in holds]),
        arrays.ints([hold.entry_id for hold in holds]),
        arrays.texts([hold.reason for hold in holds]),
        arrays.jsons([hold.meta for hold in holds]),
        arrays.times([hold.expires_at for hold in holds]),
    ]


def _closed_columns(holds: Sequence[Hold]) -> list[str]:
    return [
        arrays.ints([hold.id for hold in holds]),
        arrays.texts([hold.state for hold in holds]),
        arrays.ints([hold.captured for hold in holds]),
        arrays.ints([hold.entry_id for hold in holds]),
    ]


def _expiry(lot: Lot) -> datetime | None:
    return None if lot.expires_at is NEVER or lot.expires_at == NEVER else lot.expires_at
