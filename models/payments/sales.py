"""What a payment bought, and what its amount consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.database import Connection


def pending(conn: Connection, payment_id: int) -> tuple[int, dict[str, Any]]:
    """(quantity, what else is stored of the sale) of a payment that is not paid yet."""
    row = conn.execute("SELECT quantity, pending_sale FROM payment WHERE id = %s", [payment_id]).fetchone()
    assert row is not None
    return int(row[0]), row[1] or {}


def store_parts(
    conn: Connection,
    app: str,
    provider: str,
    ids: Sequence[str],
    *,
    tax_minor: int | None,
    discount_minor: int | None,
    fee_minor: int | None,
) -> int | None:
    """Store the parts that are not None, of the payment with one of these ids. Returns its account, None if unknown."""
    row = conn.execute(
        """UPDATE payment SET tax_minor = coalesce(%s, tax_minor), discount_minor = coalesce(%s, discount_minor),
        fee_minor = coalesce(%s, fee_minor)
        WHERE app = %s AND provider = %s AND (reference = ANY(%s::text[]) OR aliases && %s::text[])
        RETURNING account_id""",
        [tax_minor, discount_minor, fee_minor, app, provider, list(ids), list(ids)],
    ).fetchone()
    return int(row[0]) if row else None


def is_credited_by(conn: Connection, entry_id: int, key: str) -> bool:
    """Whether the key of the entry that credited a payment begins with `key`."""
    row = conn.execute("SELECT starts_with(key, %s) FROM entry WHERE id = %s", [key, entry_id]).fetchone()
    return bool(row and row[0])


def pack_grants(conn: Connection, payment_id: int) -> list[tuple[int, int]]:
    """(entry, units) of each pack that the payment bought."""
    sql = "SELECT entry_id, granted FROM lot WHERE payment_id = %s AND subscription_id IS NULL ORDER BY id"
    return conn.execute(sql, [payment_id], prepare=True).fetchall()
