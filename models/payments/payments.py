"""Payments: one row per economic payment, however many events report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models import database
from models.database import Connection

RECORD = """
INSERT INTO payment (app, account_id, provider, reference, aliases, order_id, pack, plan, quantity, amount_minor,
                     currency, state, subscription_id, period_start, period_end,
                     tax_minor, discount_minor, fee_minor, pending_sale, created_at, updated_at)
VALUES (%(app)s, %(account_id)s, %(provider)s, %(reference)s, %(aliases)s, %(order_id)s, %(pack)s, %(plan)s,
        %(quantity)s, %(amount_minor)s, %(currency)s, %(state)s, %(subscription_id)s, %(period_start)s,
        %(period_end)s, %(tax_minor)s, %(discount_minor)s, %(fee_minor)s, %(pending_sale)s::jsonb, %(now)s, %(now)s)
ON CONFLICT (app, provider, reference) DO UPDATE SET
    aliases = ARRAY(SELECT DISTINCT alias FROM unnest(payment.aliases || excluded.aliases) AS alias ORDER BY alias),
    order_id = coalesce(payment.order_id, excluded.order_id),
    pack = coalesce(payment.pack, excluded.pack),
    plan = coalesce(payment.plan, excluded.plan),
    subscription_id = coalesce(payment.subscription_id, excluded.subscription_id),
    period_start = coalesce(payment.period_start, excluded.period_start),
    period_end = coalesce(payment.period_end, excluded.period_end),
    tax_minor = coalesce(excluded.tax_minor, payment.tax_minor),
    discount_minor = coalesce(excluded.discount_minor, payment.discount_minor),
    fee_minor = coalesce(excluded.fee_minor, payment.fee_minor),
    updated_at = excluded.updated_at
RETURNING id, account_id, state, entry_id, reference, xmax = 0
"""


@dataclass(frozen=True, slots=True)
class Payment:
    """The recorded payment. `entry_id` is the ledger entry that credited it; `is_new`: this call created the row."""

    id: int
    account_id: int
    state: str
    entry_id: int | None
    reference: str
    is_new: bool


def record(
    conn: Connection,
    *,
    app: str,
    account_id: int,
    provider: str,
    reference: str,
    aliases: Sequence[str],
    state: str,
    now: datetime,
    pack: str | None = None,
    plan: str | None = None,
    quantity: int = 1,
    amount_minor: int | None = None,
    currency: str | None = None,
    subscription_id: int | None = None,
    period_start: datetime | None = None,
    period_end: datetime | None = None,
    order_id: str | None = None,
    tax_minor: int | None = None,
    discount_minor: int | None = None,
    fee_minor: int | None = None,
    pending_sale: str | None = None,
) -> Payment:
    """The payment's row, created if it is new, locked until the end of the transaction.

    `order_id`: an id that several payments may share. It is listed with the aliases but never identifies a payment.
    `pending_sale`: JSON of what a payment buys that is not paid yet.
    """
    values = {**locals(), "aliases": sorted({*aliases} - {reference})}
    del values["conn"]
    row = conn.execute(RECORD, values).fetchone()
    assert row is not None
    return Payment(*row)


def settle(
    conn: Connection,
    payment_id: int,
    *,
    units: int,
    entry_id: int | None,
    quantity: int,
    amount_minor: int | None,
    now: datetime,
) -> None:
    """Settle the payment: add the units that it granted, and keep the first entry that credited it.

    `quantity`, that of its first pack, and the amount may not have been known, or may have been larger, before.
    """
    conn.execute(
        """UPDATE payment SET state = 'settled', units_granted = units_granted + %s,
        quantity = CASE WHEN entry_id IS NULL THEN %s ELSE quantity END,
        amount_minor = CASE WHEN entry_id IS NULL THEN coalesce(%s, amount_minor) ELSE amount_minor END,
        entry_id = coalesce(entry_id, %s), pending_sale = NULL, updated_at = %s WHERE id = %s""",
        [units, quantity, amount_minor, entry_id, now, payment_id],
    )


FIND = """
SELECT id, account_id, provider, reference, aliases, pack, plan, amount_minor, units_granted, refunded_minor,
       disputed_minor, state, entry_id, subscription_id, period_start, period_end, frozen, currency
FROM payment WHERE app = %s AND provider = %s AND (reference = ANY(%s::text[]) OR aliases && %s::text[])
ORDER BY entry_id IS NULL, id LIMIT 1 FOR UPDATE
"""


@dataclass(slots=True)
class ReversiblePayment:
    """The payment columns needed to compute reversals. `amount_minor` is None if the provider did not report it."""

    id: int
    account_id: int
    provider: str
    reference: str
    aliases: list[str]
    pack: str | None
    plan: str | None
    amount_minor: int | None
    units_granted: int
    refunded_minor: int
    disputed_minor: int
    state: str
    entry_id: int | None
    subscription_id: int | None
    period_start: datetime | None
    period_end: datetime | None
    frozen: bool
    currency: str | None


def find(conn: Connection, app: str, provider: str, ids: Sequence[str]) -> ReversiblePayment | None:
    """The payment with one of these ids, locked until the end of the transaction."""
    database.require_transaction(conn)
    row = conn.execute(FIND, [app, provider, list(ids), list(ids)], prepare=True).fetchone()
    return ReversiblePayment(*row) if row else None


def reference_of(conn: Connection, app: str, provider: str, ids: Sequence[str]) -> str | None:
    """The reference of the payment with one of these ids, if there is one."""
    row = conn.execute(
        """SELECT reference FROM payment WHERE app = %s AND provider = %s
        AND (reference = ANY(%s::text[]) OR aliases && %s::text[]) ORDER BY entry_id IS NULL, id LIMIT 1""",
        [app, provider, list(ids), list(ids)],
        prepare=True,
    ).fetchone()
    return str(row[0]) if row else None


def save_reversals(conn: Connection, payment: ReversiblePayment, *, now: datetime) -> None:
    """Store the payment's reversals, its state and its aliases."""
    conn.execute(
        """UPDATE payment SET refunded_minor = %s, disputed_minor = %s, frozen = %s, state = %s, aliases = %s,
        updated_at = %s WHERE id = %s""",
        [
            payment.refunded_minor,
            payment.disputed_minor,
            payment.frozen,
            payment.state,
            payment.aliases,
            now,
            payment.id,
        ],
    )


def set_state(conn: Connection, payment_id: int, state: str, *, now: datetime) -> None:
    """Set the state, `pending` or `failed`, of a payment that has granted nothing."""
    conn.execute("UPDATE payment SET state = %s, updated_at = %s WHERE id = %s", [state, now, payment_id])
