"""The data set of most rows: many customers of one app, each with one lot, created through the kernel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timezone

from benchmarks.databases import Database
from benchmarks.frame import Bench
from models import database
from models.ledger.post import post
from models.planning.movements import Grant, Movement

APP, RATE = "ai-services", "voice_call"
UNITS = 1_000_000  # more than any run takes
GRANTS_A_BATCH = 2_000


def customers(bench: Bench, row: str) -> AbstractContextManager[Database]:
    """A database of the row with `bench.customers` customers: `customer(n)` for n from 0."""
    count = bench.customers
    return bench.server.copy(row, f"customers_{count}", lambda: fill(count))


def customer(number: int) -> str:
    """The name of one customer."""
    return f"customer-{number}"


def fill(count: int) -> None:
    """Make that many customers in the database that `models.database` is bound to."""
    now = datetime.now(timezone.utc)
    for first in range(0, count, GRANTS_A_BATCH):
        grants = [_grant(number) for number in range(first, min(first + GRANTS_A_BATCH, count))]
        database.transaction(lambda conn, grants=grants: post(conn, grants, now=now))  # type: ignore[misc]


def _grant(number: int) -> Movement:
    return Grant(
        app=APP,
        customer=customer(number),
        key=f"purchase:{number}",
        units=UNITS,
        type="purchase",
        source="pack",
        reason="starter",
        price_minor=1000,
        currency="usd",
    )
