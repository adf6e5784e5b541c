"""The fixed cast of the tests, and the few things that they do all the time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.ledger import post as ledger
from models.planning.movements import Grant, Movement, Outcome

ADA, BO, CY = "ada", "bo", "cy"


def app(slug: str = "ai-services") -> App:
    """One of the shipped apps."""
    return catalog.current()[slug]


def post(*movements: Movement, now: datetime) -> list[Outcome]:
    """Post the movements in one transaction."""
    return database.transaction(lambda conn: ledger.post(conn, movements, now=now))


def give(customer: str, units: int, *, now: datetime, slug: str = "ai-services", key: str = "", **more: Any) -> int:
    """Give the customer units; returns the entry."""
    (outcome,) = post(
        Grant(app=slug, customer=customer, key=key, units=units, type="bonus", source="gift", **more), now=now
    )
    assert outcome.entry_id
    return outcome.entry_id


def balance(customer: str, slug: str = "ai-services") -> int:
    """The book balance."""
    rows = database.read("SELECT balance FROM account WHERE app = %s AND customer = %s", [slug, customer])
    return int(rows[0][0]) if rows else 0


def entries(customer: str, slug: str = "ai-services") -> list[tuple[str, int]]:
    """(type, amount) of the customer's entries, oldest first."""
    return database.read(
        "SELECT type, amount FROM entry JOIN account ON account.id = account_id WHERE entry.app = %s AND customer = %s"
        " ORDER BY entry.seq",
        [slug, customer],
    )


def deliver(slug: str, event: dict[str, Any], *, now: datetime) -> bool:
    """Store an event as the receiver does and apply what is pending; whether it was new."""
    from jobs.inbox import events

    new = events.receive(slug, "stripe", event["id"], event["type"], orjson.dumps(event).decode(), now=now)
    while events.apply_pending(now=now):
        pass
    return new


def event_states(slug: str) -> list[tuple[str, str | None]]:
    """(state, error) of the app's events, oldest first."""
    return database.read("SELECT state, error FROM inbox_event WHERE app = %s ORDER BY id", [slug])


def settle_all(*, now: datetime) -> int:
    """Settle usage until nothing is due; how many reports."""
    from jobs import usage

    total = 0
    while count := usage.settle(now=now):
        total += count
    return total
