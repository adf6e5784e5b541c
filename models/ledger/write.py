"""Write a plan with one set-based statement per kind of change, each column of its rows passed as one array.

A batch of 500 movements takes a few statements, not thousands. The values are absolute, which is correct because the
accounts are locked and were read after that.

Accounts and lots are updated by physical address (ctid), which was read under the lock and cannot have changed since:
finding each row by its index again took a tenth of the server's time. The ids are compared as well; if a row is not
where it was read, the whole transaction is retried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.errors import SerializationFailure

from models import arrays
from models.database import Connection
from models.planning.carry import Carry
from models.planning.state import NEVER, Account, Lot, OpenHold, Plan

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
FROM unnest(%s::tid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[])
  AS new(address, id, remaining, held, open)
WHERE lot.ctid = new.address AND lot.id = new.id
"""
ALTER_LOTS = """
UPDATE lot SET lapsed = new.lapsed, frozen = new.frozen, expires_at = new.expires_at
FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[], %s::timestamptz[])
  AS new(id, lapsed, frozen, expires_at)
WHERE lot.id = new.id
"""
UPDATE_ACCOUNTS = """
UPDATE account SET balance = new.balance, held = new.held, debt = new.debt, seq = new.seq, updated_at = %s
FROM unnest(%s::tid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS new(address, id, balance, held, debt, seq)
WHERE account.ctid = new.address AND account.id = new.id
"""
INSERT_LOTS = """
INSERT INTO lot (id, account_id, entry_id, source, granted, remaining, held, lapsed, frozen, open, priority,
                 effective_at, expires_at, price_minor, currency, payment_id, subscription_id, period_start,
                 per_period)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[], %s::int[], %s::timestamptz[], %s::timestamptz[],
    %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::boolean[])
"""
INSERT_HOLDS = """
INSERT INTO hold (id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, created_at,
                  expires_at)
SELECT id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, %s, expires_at
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::jsonb[],
            %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[])
  AS h(id, app, account_id, key, units, state, lots, captured, entry_id, reason, meta, expires_at)
"""
EXTEND_HOLDS = """
UPDATE hold SET units = new.units, lots = new.lots
FROM unnest(%s::bigint[], %s::bigint[], %s::jsonb[]) AS new(id, units, lots) WHERE hold.id = new.id
"""
CLOSE_HOLDS = """
UPDATE hold SET state = new.state, captured = new.captured, entry_id = new.entry_id, closed_at = %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[]) AS new(id, state, captured, entry_id)
WHERE hold.id = new.id
"""
SAVE_CARRIES = """
INSERT INTO carry (account_id, rate, charged, numerator, denominator, unlisted)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])
ON CONFLICT (account_id, rate) DO UPDATE SET charged = excluded.charged, numerator = excluded.numerator,
    denominator = excluded.denominator, unlisted = excluded.unlisted
"""


def write(conn: Connection, plan: Plan) -> None:
    """Write the plan in one pipeline: all statements are sent before the first result is read.

    Raises:
        SerializationFailure: a row was moved although its account is locked. Only the ledger may write these rows.
    """
    updates: list[tuple[psycopg.Cursor[Any], int]] = []
    burned = [lot for lot in plan.burned_lots.values() if lot.id not in plan.new_lot_ids]
    altered = [lot for lot in plan.altered_lots.values() if lot.id not in plan.new_lot_ids]
    with conn.pipeline():
        if plan.entries:
            conn.execute(INSERT_ENTRIES, _entry_columns(plan), prepare=True)
        if plan.allocations:
            conn.execute(INSERT_ALLOCATIONS, _int_columns(plan.allocations), prepare=True)
        if plan.new_lots:
            conn.execute(INSERT_LOTS, _lot_columns(plan), prepare=True)
        if burned:
            updates.append((conn.execute(UPDATE_LOTS, _burned_columns(burned), prepare=True), len(burned)))
        if altered:
            conn.execute(ALTER_LOTS, _altered_columns(altered), prepare=True)
        if plan.accounts:
            columns = _account_columns(list(plan.accounts.values()))
            updates.append((conn.execute(UPDATE_ACCOUNTS, [plan.now, *columns], prepare=True), len(plan.accounts)))
        if plan.new_holds:
            conn.execute(INSERT_HOLDS, _hold_columns(plan), prepare=True)
        if plan.extended_holds:
            conn.execute(EXTEND_HOLDS, _extended_columns(plan.extended_holds), prepare=True)
        if plan.closed_holds:
            conn.execute(CLOSE_HOLDS, [plan.now, *_closed_columns(plan.closed_holds)], prepare=True)
        if plan.carries:
            conn.execute(SAVE_CARRIES, _carry_columns(list(plan.carries.values())), prepare=True)
    if any(cursor.rowcount != expected for cursor, expected in updates):
        raise SerializationFailure("a row of a locked account was moved")


def _int_columns(rows: Iterable[tuple[int | None, ...]]) -> list[str]:
    return [arrays.ints(column) for column in zip(*rows, strict=True)]


def _entry_columns(plan: Plan) -> list[Any]:
    entries = plan.entries
    return [
        plan.now,
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
        arrays.texts([lot.ctid for lot in lots]),
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.remaining for lot in lots]),
        arrays.ints([lot.held for lot in lots]),
        arrays.bools([lot.open for lot in lots]),
    ]


def _altered_columns(lots: Sequence[Lot]) -> list[str]:
    return [
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.expired for lot in lots]),
        arrays.bools([lot.frozen for lot in lots]),
        arrays.times([_expiry(lot) for lot in lots]),
    ]


def _account_columns(accounts: Sequence[Account]) -> list[str]:
    addresses = arrays.texts([account.ctid for account in accounts])
    return [addresses, *_int_columns((a.id, a.balance, a.held, a.debt, a.seq) for a in accounts)]


def _lot_columns(plan: Plan) -> list[str]:
    lots = [lot for lot, _, _ in plan.new_lots]
    grants = [grant for _, grant, _ in plan.new_lots]
    return [
        arrays.ints([lot.id for lot in lots]),
        arrays.ints([lot.account_id for lot in lots]),
        arrays.ints([lot.entry_id for lot in lots]),
        arrays.texts([source for _, _, source in plan.new_lots]),
        arrays.ints([lot.granted for lot in lots]),
        arrays.ints([lot.remaining for lot in lots]),
        arrays.ints([lot.held for lot in lots]),
        arrays.ints([lot.expired for lot in lots]),
        arrays.bools([lot.frozen for lot in lots]),
        arrays.bools([lot.open for lot in lots]),
        arrays.ints([lot.priority for lot in lots]),
        arrays.times([lot.effective_at for lot in lots]),
        arrays.times([_expiry(lot) for lot in lots]),
        arrays.ints([grant.price_minor if grant else None for grant in grants]),
        arrays.texts([grant.currency if grant else None for grant in grants]),
        arrays.ints([lot.payment_id for lot in lots]),
        arrays.ints([lot.subscription_id for lot in lots]),
        arrays.times([lot.period_start for lot in lots]),
        arrays.bools([lot.per_period for lot in lots]),
    ]


def _hold_columns(plan: Plan) -> list[Any]:
    holds = plan.new_holds
    return [
        plan.now,
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


def _extended_columns(holds: Sequence[OpenHold]) -> list[str]:
    # A hold that was extended twice in the batch has two identical rows.
    return [
        arrays.ints([hold.id for hold in holds]),
        arrays.ints([hold.units for hold in holds]),
        arrays.jsons([hold.lots for hold in holds]),
    ]


def _closed_columns(holds: Sequence[OpenHold]) -> list[str]:
    return [
        arrays.ints([hold.id for hold in holds]),
        arrays.texts([hold.state for hold in holds]),
        arrays.ints([hold.captured for hold in holds]),
        arrays.ints([hold.entry_id for hold in holds]),
    ]


def _carry_columns(carries: Sequence[Carry]) -> list[str]:
    return [
        arrays.ints([carry.account_id for carry in carries]),
        arrays.texts([carry.rate for carry in carries]),
        arrays.numerics([carry.charged for carry in carries]),
        arrays.numerics([carry.numerator for carry in carries]),
        arrays.numerics([carry.denominator for carry in carries]),
        arrays.numerics([carry.unlisted for carry in carries]),
    ]


def _expiry(lot: Lot) -> datetime | None:
    return None if lot.expires_at is NEVER or lot.expires_at == NEVER else lot.expires_at
