"""Accounts: one customer of one app. Balances are written by the ledger alone; here they only come to be."""

from __future__ import annotations

import re
from datetime import datetime

from models.database import Connection
from models.errors import Unprocessable

# The next step where nobody can tell whose payment it is.
BY_HAND = "refund the payment, or give its units by hand (POST /v1/adjustments)"
# Why a payment that says not how many were sold is nothing without a promise of ours.
NOT_ALONE = (
    "its checkout session or its invoice credits it, where it has one; what was sold without either has to be given by"
    " hand (POST /v1/adjustments)"
)
# No slash or backslash, no control character, no lone surrogate.
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,120}")


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


def is_name(text: str) -> bool:
    """Whether the text may be a customer, or a client's id: 1 to 120 characters, none that would break a path."""
    return _NAME.fullmatch(text) is not None and text not in (".", "..")


def known(customer: str | None, where: str) -> str:
    """The customer that an event names.

    Raises:
        Unprocessable: it names none, or one that cannot be; `where` says where it was looked for.
    """
    if not customer:
        raise Unprocessable(f"no customer: {where} is empty; {BY_HAND}")
    if not is_name(customer):
        raise Unprocessable(
            f"{customer[:200]!r} in {where} cannot be a customer: 1 to 120 characters without / and \\; {BY_HAND}"
        )
    return customer
