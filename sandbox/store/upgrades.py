"""Objects that an earlier version of the sandbox stored, brought to the present form when the file is opened."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

Thing = dict[str, Any]
VERSION = 1


def upgrade(connection: sqlite3.Connection) -> None:
    """Upgrade the objects of the file once. `PRAGMA user_version` is the version of its objects."""
    ((version,),) = connection.execute("PRAGMA user_version")
    if version >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for kind, change in CHANGES.items():
        for number, body in connection.execute("SELECT number, body FROM thing WHERE kind = ?", (kind,)).fetchall():
            thing = json.loads(body)
            change(thing)
            connection.execute("UPDATE thing SET body = ? WHERE number = ?", (json.dumps(thing), number))
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _subscription(thing: Thing) -> None:
    """Periods and billed lines were kept once for the one item."""
    for item in thing["items"]["data"]:
        item.update(_next=thing.get("_next", 1), _billed=thing.get("_billed"))
    settings = {"end_behavior": {"missing_payment_method": "create_invoice"}}
    _fill(thing, pending_update=None, schedule=None, trial_settings=settings, _has_card=True)


def _invoice(thing: Thing) -> None:
    _fill(
        thing,
        customer_email=None,
        customer_name=None,
        hosted_invoice_url=None,
        pre_payment_credit_notes_amount=0,
        post_payment_credit_notes_amount=0,
        total_discount_amounts=[],
    )


def _session(thing: Thing) -> None:
    creation = None if thing["mode"] == "subscription" else {"enabled": False, "invoice_data": {"metadata": {}}}
    _fill(
        thing,
        customer_creation=None,
        invoice_creation=creation,
        payment_method_collection="always",
        _at_trial_end="create_invoice",
    )


def _fill(thing: Thing, **defaults: Any) -> None:
    for name, value in defaults.items():
        thing.setdefault(name, value)


CHANGES: dict[str, Callable[[Thing], None]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "checkout.session": _session,
}
