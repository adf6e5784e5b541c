"""Refunds and dispute withdrawals reported by the provider, possibly before the payment itself.

Rows are keyed by the provider's ids and their amounts only grow, so events may arrive in any order and repeatedly;
`models.payments.amounts` adds them up. A transaction that reads or writes the reversals of a payment first locks the
payment by all of its ids (`lock`): of two concurrent transactions, the later one sees the rows of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import orjson
import psycopg

from models import database
from models.database import Connection
from models.payments import amounts
from models.payments.amounts import DECIDED, STAGES, Move, PaymentReversals, Reversal

# Of two decisions of a dispute the later one counts; before it is decided, its stage only advances.
STORE = f"""
INSERT INTO payment_return (app, provider, kind, reference, payment, amount_minor, failed, stage, withdrawn_minor,
                            reinstated_minor, moves, currency, decided_at, occurred_at, created_at, updated_at)
VALUES (%(app)s, %(provider)s, %(kind)s, %(reference)s, %(payment)s, %(amount)s, %(failed)s, %(stage)s, %(withdrawn)s,
        %(reinstated)s, %(moves)s::jsonb, %(currency)s, %(decided_at)s, %(occurred_at)s, %(now)s, %(now)s)
ON CONFLICT (app, provider, kind, reference) DO UPDATE SET
    payment = ARRAY(SELECT DISTINCT id FROM unnest(payment_return.payment || excluded.payment) AS id ORDER BY id),
    amount_minor = greatest(payment_return.amount_minor, excluded.amount_minor),
    failed = payment_return.failed OR excluded.failed,
    stage = CASE WHEN least(payment_return.stage, excluded.stage) < {DECIDED}
                 THEN greatest(payment_return.stage, excluded.stage)
                 WHEN (excluded.decided_at, excluded.stage) > (payment_return.decided_at, payment_return.stage)
                 THEN excluded.stage ELSE payment_return.stage END,
    decided_at = greatest(payment_return.decided_at, excluded.decided_at),
    occurred_at = least(payment_return.occurred_at, excluded.occurred_at),
    withdrawn_minor = greatest(payment_return.withdrawn_minor, excluded.withdrawn_minor),
    reinstated_minor = greatest(payment_return.reinstated_minor, excluded.reinstated_minor),
    moves = payment_return.moves || excluded.moves,
    currency = coalesce(payment_return.currency, excluded.currency),
    updated_at = excluded.updated_at
"""
FOR_PAYMENT = """
SELECT kind, reference, payment, amount_minor, failed, stage, withdrawn_minor, reinstated_minor, moves, occurred_at
FROM payment_return WHERE app = %s AND provider = %s AND payment && %s::text[]
  AND (currency IS NULL OR currency = coalesce(%s, currency))
"""
CAPTURED = """
SELECT max(amount_minor), max(withdrawn_minor), bool_or(failed) FROM payment_return
WHERE app = %s AND provider = %s AND payment && %s::text[] AND kind = 'capture' HAVING count(*) > 0
"""
LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(%s || id, 7))
FROM (SELECT id FROM unnest(%s::text[]) AS id ORDER BY id COLLATE "C") AS ids
"""
IDS = """
SELECT payment FROM payment_return WHERE app = %(app)s AND provider = %(provider)s AND payment && %(ids)s::text[]
UNION ALL
SELECT aliases || reference FROM payment
WHERE app = %(app)s AND provider = %(provider)s AND (reference = ANY(%(ids)s::text[]) OR aliases && %(ids)s::text[])
"""


class Captured(NamedTuple):
    """The captured and the authorised amount of a payment, and whether the authorisation was canceled."""

    amount_minor: int
    authorized_minor: int
    canceled: bool


def store_refund(
    conn: Connection, app: str, provider: str, payment: Iterable[str], reference: str, amount_minor: int, failed: bool,
    *, is_reversal: bool = False, currency: str | None = None, made_at: datetime | None = None, now: datetime,
) -> None:  # fmt: skip
    """Store one refund, made at `made_at` if that is known. Once `failed`, it stays failed.

    `is_reversal`: the provider withdrew the money by itself; a later event that reports it as a plain refund does not
    change that. `currency`: the refund counts only for a payment in it; None: for any.
    """
    withdrawn = amount_minor if is_reversal else 0
    _store(
        conn, app, provider, "refund", reference, payment, now,
        amount=amount_minor, failed=failed, withdrawn=withdrawn, currency=currency, occurred_at=made_at,
    )  # fmt: skip


def store_refunded(
    conn: Connection, app: str, provider: str, payment: Iterable[str], refunded_minor: int,
    *, currency: str | None = None, now: datetime,
) -> None:  # fmt: skip
    """Store the provider's own total of the refunds of a payment. `currency` as in `store_refund`."""
    ids = list(payment)
    _store(conn, app, provider, "refunded", ids[0], ids, now, amount=refunded_minor, currency=currency)


def store_credit_note(
    conn: Connection, app: str, provider: str, payment: Iterable[str], reference: str, amount_minor: int, voided: bool,
    *, refunds: dict[str, int | None], now: datetime,
) -> None:  # fmt: skip
    """Store one credit note. Once `voided`, it stays so. `refunds`: the amounts of those that it names, if known."""
    named: dict[str, Move] = {id_: {} if minor is None else {"minor": minor} for id_, minor in refunds.items()}
    _store(conn, app, provider, "credit_note", reference, payment, now, amount=amount_minor, failed=voided, moves=named)


def store_dispute(
    conn: Connection, app: str, provider: str, payment: Iterable[str], reference: str, *, stage: str,
    amount_minor: int = 0, moves: dict[str, Move], withdrawn_minor: int, reinstated_minor: int,
    at: datetime | None = None, began_at: datetime | None = None, now: datetime,
) -> None:  # fmt: skip
    """Store what one event of the provider's time `at` (None: now) reports of a dispute, which began at `began_at`.

    `moves`: what its balance transactions moved, by their ids.
    """
    index = STAGES.index(stage)
    _store(
        conn, app, provider, "dispute", reference, payment, now, stage=index, amount=amount_minor,
        withdrawn=withdrawn_minor, reinstated=reinstated_minor, moves=moves,
        decided_at=(at or now) if index >= DECIDED else None, occurred_at=began_at,
    )  # fmt: skip


def store_capture(
    conn: Connection, app: str, provider: str, payment: Iterable[str], amount_minor: int, *,
    authorized_minor: int, canceled: bool, now: datetime,
) -> None:  # fmt: skip
    """Store what was captured of an authorised payment, or that it was canceled."""
    ids = list(payment)
    _store(
        conn, app, provider, "capture", ids[0], ids, now,
        amount=amount_minor, withdrawn=authorized_minor, failed=canceled,
    )  # fmt: skip


def captured(conn: Connection, app: str, provider: str, payment: Iterable[str]) -> Captured | None:
    """What was captured of a payment; None if nothing was, or it needed no capture. The caller holds its lock."""
    row = conn.execute(CAPTURED, [app, provider, list(payment)], prepare=True).fetchone()
    return Captured(*row) if row else None


def store_alias(conn: Connection, app: str, provider: str, payment: Iterable[str], *, now: datetime) -> None:
    """Store that all of these ids belong to one payment."""
    ids = sorted(set(payment))
    _store(conn, app, provider, "alias", ids[0], ids, now)


def lock(conn: Connection, app: str, provider: str, payment: Iterable[str]) -> list[str]:
    """Lock a payment by its ids until the end of the transaction. Returns all ids stored for it, sorted.

    All of its ids are locked in sorted order, whichever an event names, so that two events do not deadlock. If the
    previous holder of the lock stored further ids, the locks are released and all are taken again in sorted order.
    """
    database.require_transaction(conn)
    ids = _all_ids(conn, app, provider, set(payment))
    while (locked := _lock_these(conn, app, provider, ids)) != ids:
        ids = locked
    return sorted(locked)


def _lock_these(conn: Connection, app: str, provider: str, ids: set[str]) -> set[str]:
    """Lock the ids. If more ids of the payment were stored meanwhile, lock none. Returns all ids."""
    database.require_transaction(conn)
    with conn.transaction() as attempt:
        conn.execute(LOCK, [f"{app} {provider} ", sorted(ids)], prepare=True)
        stored = _all_ids(conn, app, provider, ids)
        if stored != ids:
            raise psycopg.Rollback(attempt)
    return stored


def _all_ids(conn: Connection, app: str, provider: str, ids: set[str]) -> set[str]:
    """All ids stored for the payment with these ids."""
    while True:
        rows = conn.execute(IDS, {"app": app, "provider": provider, "ids": sorted(ids)}, prepare=True)
        found = ids.union(*(more for (more,) in rows))
        if found == ids:
            return ids
        ids = found


def for_payment(
    conn: Connection, app: str, provider: str, payment: Iterable[str], *, currency: str | None = None
) -> PaymentReversals:
    """The reversals of a payment; the caller holds its lock. `payment`: all of its ids; `currency`: the payment's."""
    found = conn.execute(FOR_PAYMENT, [app, provider, list(payment), currency], prepare=True)
    return amounts.total([Reversal(*row) for row in found])


def _store(
    conn: Connection, app: str, provider: str, kind: str, reference: str, payment: Iterable[str], now: datetime,
    *, amount: int = 0, failed: bool = False, stage: int = 0, withdrawn: int = 0, reinstated: int = 0,
    moves: dict[str, Move] | None = None, currency: str | None = None, decided_at: datetime | None = None,
    occurred_at: datetime | None = None,
) -> None:  # fmt: skip
    values = {
        "app": app,
        "provider": provider,
        "kind": kind,
        "reference": reference,
        "payment": sorted(set(payment)),
        "amount": amount,
        "failed": failed,
        "stage": stage,
        "withdrawn": withdrawn,
        "reinstated": reinstated,
        "currency": currency,
        "decided_at": decided_at,
        "occurred_at": occurred_at,
        "moves": orjson.dumps(moves or {}).decode(),
        "now": now,
    }
    conn.execute(STORE, values)
