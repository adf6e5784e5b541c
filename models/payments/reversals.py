"""Money that went back to the payer: refunds, and what disputes took. The payment itself may come later.

What is stored is a set keyed by the provider's ids, and each row only grows, so that events may come in any order and
any number of times. Whoever reads a payment's returns, or adds to them, first locks the payment by all of its ids
(`lock`): so of two transactions that do not see each other's rows yet, the later one sees both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg

from models import database
from models.database import Connection

STAGES = ("inquiry", "inquiry_closed", "open", "closed")

STORE = """
INSERT INTO payment_return (app, provider, kind, reference, payment, amount_minor, failed, stage, withdrawn_minor,
                            reinstated_minor, moves, currency, created_at, updated_at)
VALUES (%(app)s, %(provider)s, %(kind)s, %(reference)s, %(payment)s, %(amount)s, %(failed)s, %(stage)s, %(withdrawn)s,
        %(reinstated)s, %(moves)s::jsonb, %(currency)s, %(now)s, %(now)s)
ON CONFLICT (app, provider, kind, reference) DO UPDATE SET
    payment = ARRAY(SELECT DISTINCT id FROM unnest(payment_return.payment || excluded.payment) AS id ORDER BY id),
    amount_minor = greatest(payment_return.amount_minor, excluded.amount_minor),
    failed = payment_return.failed OR excluded.failed,
    stage = greatest(payment_return.stage, excluded.stage),
    withdrawn_minor = greatest(payment_return.withdrawn_minor, excluded.withdrawn_minor),
    reinstated_minor = greatest(payment_return.reinstated_minor, excluded.reinstated_minor),
    moves = payment_return.moves || excluded.moves,
    currency = coalesce(payment_return.currency, excluded.currency),
    updated_at = excluded.updated_at
"""
OF_PAYMENT = """
SELECT kind, reference, payment, amount_minor, failed, stage, withdrawn_minor, reinstated_minor, moves
FROM payment_return WHERE app = %s AND provider = %s AND payment && %s::text[]
  AND (currency IS NULL OR currency = coalesce(%s, currency))
"""
LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(%s || id, 7))
FROM (SELECT id FROM unnest(%s::text[]) AS id ORDER BY id COLLATE "C") AS ids
"""
KNOWN_AS = """
SELECT payment FROM payment_return WHERE app = %(app)s AND provider = %(provider)s AND payment && %(ids)s::text[]
UNION ALL
SELECT aliases || reference FROM payment
WHERE app = %(app)s AND provider = %(provider)s AND (reference = ANY(%(ids)s::text[]) OR aliases && %(ids)s::text[])
"""


@dataclass(frozen=True, slots=True)
class PaymentReversals:
    """What went back of one payment, in minor units of its currency, before the payment's own amount caps it."""

    refunded_minor: int = 0
    disputed_minor: int = 0
    frozen: bool = False


def store_refund(
    conn: Connection, app: str, provider: str, payment: Iterable[str], reference: str, amount_minor: int, failed: bool,
    *, is_reversal: bool = False, currency: str | None = None, now: datetime,
) -> None:  # fmt: skip
    """One refund. That it failed is the last word on it. A reversal is one that the provider withdrew by itself; that
    another event tells of it as of a mere refund does not change that. `currency`: it has to be the payment's.
    """
    withdrawn = amount_minor if is_reversal else 0
    _store(
        conn, app, provider, "refund", reference, payment, now,
        amount=amount_minor, failed=failed, withdrawn=withdrawn, currency=currency,
    )  # fmt: skip


def store_refunded(
    conn: Connection, app: str, provider: str, payment: Iterable[str], refunded_minor: int,
    *, currency: str | None = None, now: datetime,
) -> None:  # fmt: skip
    """The provider's own sum of what it refunded of a payment. `currency`: it has to be the payment's."""
    ids = list(payment)
    _store(conn, app, provider, "refunded", ids[0], ids, now, amount=refunded_minor, currency=currency)


def store_dispute(
    conn: Connection, app: str, provider: str, payment: Iterable[str], reference: str, *, stage: str,
    moves: dict[str, int], withdrawn_minor: int, reinstated_minor: int, now: datetime,
) -> None:  # fmt: skip
    """A dispute, as far as one event knows of it."""
    _store(
        conn, app, provider, "dispute", reference, payment, now,
        stage=STAGES.index(stage), withdrawn=withdrawn_minor, reinstated=reinstated_minor, moves=moves,
    )  # fmt: skip


def store_alias(conn: Connection, app: str, provider: str, payment: Iterable[str], *, now: datetime) -> None:
    """That one payment goes by all of these ids."""
    ids = sorted(set(payment))
    _store(conn, app, provider, "alias", ids[0], ids, now)


def lock(conn: Connection, app: str, provider: str, payment: Iterable[str]) -> list[str]:
    """Lock a payment by its ids until the end of the transaction. Returns all ids that it is known by.

    All of them are locked in their order, whichever an event named, so two that name different ones do not cross. Who
    held the lock may have told of further ids: then the locks are given back, and all taken anew in their order.
    """
    database.require_transaction(conn)
    wanted = _known(conn, app, provider, set(payment))
    while (known := _lock_these(conn, app, provider, wanted)) != wanted:
        wanted = known
    return sorted(known)


def _lock_these(conn: Connection, app: str, provider: str, ids: set[str]) -> set[str]:
    """Lock the ids; where the payment is known by more of them meanwhile, lock none. Returns all of them."""
    database.require_transaction(conn)
    with conn.transaction() as attempt:
        conn.execute(LOCK, [f"{app} {provider} ", sorted(ids)], prepare=True)
        known = _known(conn, app, provider, ids)
        if known != ids:
            raise psycopg.Rollback(attempt)
    return known


def _known(conn: Connection, app: str, provider: str, ids: set[str]) -> set[str]:
    """All ids that are known to be of the payment of these."""
    while True:
        named = sorted(ids)
        rows = conn.execute(KNOWN_AS, {"app": app, "provider": provider, "ids": named}, prepare=True)
        found = ids.union(*(more for (more,) in rows))
        if found == ids:
            return ids
        ids = found


def of_payment(
    conn: Connection, app: str, provider: str, payment: Iterable[str], *, currency: str | None = None
) -> PaymentReversals:
    """What went back of the payment of these ids, all of them, under their lock; `currency` is the payment's."""
    rows = _rows(conn, app, provider, payment, currency)
    disputes = [row for row in rows if row[0] == "dispute"]
    refunded = _refunded(rows)
    lost = min(refunded, _reversed(rows)) if disputes else 0
    return PaymentReversals(
        refunded_minor=refunded - lost,
        disputed_minor=lost + sum(_taken(*row[6:]) for row in disputes),
        frozen=any(STAGES[row[5]] == "inquiry" for row in disputes),
    )


def _refunded(rows: list[tuple[Any, ...]]) -> int:
    """What was refunded: of each charge the larger of the single refunds and of the provider's own sum, which may still
    count a refund that failed after it was told. An invoice may be paid by several charges.
    """
    told = {reference: (set(ids), amount) for kind, reference, ids, amount, *_ in rows if kind == "refunded"}
    alive, failed = dict.fromkeys([*told, ""], 0), dict.fromkeys([*told, ""], 0)
    for kind, _, ids, amount, has_failed, *_ in rows:
        if kind == "refund":
            sums = failed if has_failed else alive
            sums[_charge_of(ids, told)] += amount
    return alive[""] + sum(max(alive[charge], amount - failed[charge]) for charge, (_, amount) in told.items())


def _reversed(rows: list[tuple[Any, ...]]) -> int:
    """What the provider withdrew by itself, of what was refunded. PayPal tells so of a dispute's money."""
    return sum(min(row[3], row[6]) for row in rows if row[0] == "refund" and not row[4])


def _charge_of(ids: list[str], told: dict[str, tuple[set[str], int]]) -> str:
    """The charge that a refund is of, of those whose sum was told: one that it names, or that shares an id with it."""
    named = [charge for charge in sorted(told) if charge in ids]
    sharing = [charge for charge in sorted(told) if told[charge][0] & set(ids)]
    return next(iter([*named, *sharing]), "")


def _taken(withdrawn_minor: int, reinstated_minor: int, moves: dict[str, int]) -> int:
    """What a dispute took and did not give back."""
    taken = sum(amount for amount in moves.values() if amount > 0)
    given_back = -sum(amount for amount in moves.values() if amount < 0)
    return max(0, max(taken, withdrawn_minor) - max(given_back, reinstated_minor))


def _rows(
    conn: Connection, app: str, provider: str, payment: Iterable[str], currency: str | None
) -> list[tuple[Any, ...]]:
    return conn.execute(OF_PAYMENT, [app, provider, list(payment), currency], prepare=True).fetchall()


def _store(
    conn: Connection, app: str, provider: str, kind: str, reference: str, payment: Iterable[str], now: datetime,
    *, amount: int = 0, failed: bool = False, stage: int = 0, withdrawn: int = 0, reinstated: int = 0,
    moves: dict[str, int] | None = None, currency: str | None = None,
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
        "moves": orjson.dumps(moves or {}).decode(),
        "now": now,
    }
    conn.execute(STORE, values)
