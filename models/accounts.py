"""Accounts: one customer of one app. Balances are written by the ledger alone; here they only come to be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from models.errors import Unprocessable

Connection = psycopg.Connection[tuple[Any, ...]]
LONGEST_CUSTOMER = 120


def ensure(conn: Connection, app: str, customer: str, *, now: datetime) -> int:
    """The id of the customer's account, which is made if it is missing."""
    conn.execute(
        "INSERT INTO account (app, customer, created_at, updated_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [app, customer, now, now],
    )
    row = conn.execute("SELECT id FROM account WHERE app = %s AND customer = %s", [app, customer]).fetchone()
    assert row is not None
    return int(row[0])


def customer_of(conn: Connection, account_id: int) -> str:
    """The customer of an account."""
    row = conn.execute("SELECT customer FROM account WHERE id = %s", [account_id]).fetchone()
    assert row is not None
    return str(row[0])


def is_customer(text: str) -> bool:
    """Whether the text may be a customer (or a client's id): 1 to 120 characters, no slashes, no control characters."""
    return (
        0 < len(text) <= LONGEST_CUSTOMER
        and text not in (".", "..")
        and not any(
            character in "/\\" or (not character.isprintable() and not character.isspace()) for character in text
        )
        and not any(
            ord(character) < 32 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000
            for character in text
        )
    )


def known(customer: str | None, where: str) -> str:
    """The customer that an event names.

    Raises:
        Unprocessable: it names none, or one that cannot be; `where` says where it was looked for.
    """
    if not customer:
        raise Unprocessable(f"no customer: {where} is empty")
    if not is_customer(customer):
        raise Unprocessable(f"{customer[:200]!r} in {where} cannot be a customer: 1 to 120 characters without / and \\")
    return customer
