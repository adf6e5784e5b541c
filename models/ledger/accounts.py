"""Accounts: one per customer of an app. This module creates them; only `post` writes balances."""

from __future__ import annotations

import re
from datetime import datetime

from models.database import Connection
from models.errors import Unprocessable

# The next step for an operator when the customer of a payment cannot be determined.
CREDIT_MANUALLY = "refund the payment, or credit the units manually (POST /v1/adjustments)"
# The next step when a payment alone does not say which pack, or how many, were sold.
CREDITED_ELSEWHERE = (
    "if it was paid through a checkout session or an invoice, that event credits it; otherwise credit it manually"
    " (POST /v1/adjustments)"
)
# No slash or backslash, no control character, no lone surrogate.
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,120}")


def ensure(conn: Connection, app: str, customer: str, *, now: datetime) -> int:
    """The id of the customer's account, which is created if it does not exist."""
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
    """Whether the text is a valid customer name or client id: 1 to 120 characters, none that would break a URL path."""
    return _NAME.fullmatch(text) is not None and text not in (".", "..")


def known(customer: str | None, where: str) -> str:
    """The customer that an event names, validated. `where`: the provider's field, for the error message.

    Raises:
        Unprocessable: the event names no customer, or one that is not a valid name.
    """
    if not customer:
        raise Unprocessable(f"no customer: {where} is empty; {CREDIT_MANUALLY}")
    if not is_name(customer):
        raise Unprocessable(
            f"{customer[:200]!r} in {where} is not a valid customer name: use 1 to 120 characters without / and \\;"
            f" {CREDIT_MANUALLY}"
        )
    return customer
