"""The data set of most rows: many customers of one app, each with one lot, made through the kernel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timezone

from benchmarks.databases import Database
from benchmarks.frame import Bench
from models import database, ledger
from models.movements import Grant, Movement

APP, RATE = "ai-services", "voice_call"
UNITS = 1_000_000  # more than any run takes
GRANTS_A_BATCH = 2_000


def customers(bench: Bench, row: str) -> AbstractContextManager[Database]:
    """A database of the row's own with `bench.customers` customers, `customer(n)` for n from 0."""
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
        database.transact(lambda conn, grants=grants: ledger.post(conn, grants, now=now))  # type: ignore[misc]


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
