"""Payments: one row an economic payment, however many events tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

RECORD = """
INSERT INTO payment (app, account_id, provider, reference, aliases, pack, plan, quantity, amount_minor, currency, state,
                     subscription_id, period_start, period_end, created_at, updated_at)
VALUES (%(app)s, %(account_id)s, %(provider)s, %(reference)s, %(aliases)s, %(pack)s, %(plan)s, %(quantity)s,
        %(amount_minor)s, %(currency)s, %(state)s, %(subscription_id)s, %(period_start)s,
        %(period_end)s, %(now)s, %(now)s)
ON CONFLICT (app, provider, reference) DO UPDATE SET
    aliases = ARRAY(SELECT DISTINCT alias FROM unnest(payment.aliases || excluded.aliases) AS alias ORDER BY alias),
    updated_at = excluded.updated_at
RETURNING id, account_id, state, entry_id, reference, xmax = 0
"""


@dataclass(frozen=True, slots=True)
class Payment:
    """What the rules need of a payment. `entry_id` is the entry that credited it; `is_new`: nothing was known of it."""

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
) -> Payment:
    """The payment's row, made if it is new, and locked until the end of the transaction."""
    values = {**locals(), "aliases": sorted({*aliases} - {reference})}
    del values["conn"]
    row = conn.execute(RECORD, values).fetchone()
    assert row is not None
    return Payment(*row)


def settle(conn: Connection, payment_id: int, *, units: int, entry_id: int | None, now: datetime) -> None:
    """Write down what the payment granted."""
    conn.execute(
        """UPDATE payment SET state = 'settled', units_granted = units_granted + %s, entry_id = coalesce(entry_id, %s),
        updated_at = %s WHERE id = %s""",
        [units, entry_id, now, payment_id],
    )


def set_state(conn: Connection, payment_id: int, state: str, *, now: datetime) -> None:
    """Move a payment that granted nothing yet between `pending` and `failed`."""
    conn.execute("UPDATE payment SET state = %s, updated_at = %s WHERE id = %s", [state, now, payment_id])


def is_known(conn: Connection, app: str, provider: str, alias: str) -> bool:
    """Whether a payment goes by this id."""
    row = conn.execute(
        "SELECT 1 FROM payment WHERE app = %s AND provider = %s AND (reference = %s OR %s = ANY(aliases)) LIMIT 1",
        [app, provider, alias, alias],
    ).fetchone()
    return row is not None
