"""A database of the version before plans were facts: sixty stories of subscriptions, as that version had applied them.

data/before_facts.json.gz: the rows of its tables as COPY writes them, and the time at which the stories were cut off.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from jobs import maintenance, runs
from models import database, schema
from models.catalog import catalog
from settings import settings
from tests.plans.stories import prices

OLD = Path(__file__).with_name("data") / "before_facts.json.gz"
LAST_OLD = 16
BALANCES = "SELECT customer, balance, held, debt FROM account ORDER BY customer"
LOTS = "SELECT id, granted, remaining, held, frozen, expires_at FROM lot ORDER BY id"


@pytest.fixture
def stories() -> Iterator[datetime]:
    """This process works on a database of its own, which the old version has left; when it did."""
    assert settings.database_url
    content = json.loads(gzip.decompress(OLD.read_bytes()))
    with psycopg.connect(settings.database_url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS of_stories")
        server.execute("CREATE DATABASE of_stories")
        url = urlsplit(settings.database_url)._replace(path="/of_stories").geturl()
        with psycopg.connect(url) as conn:
            migrate(conn, 1, LAST_OLD)
            restore(conn, content["tables"])
        database.bind(url, max_connections=4, application_name="tests")
        catalog.use(catalog.load(prices.CATALOG, {}))
        try:
            yield datetime.fromisoformat(content["at"])
        finally:
            database.database.close_all()
            database.bind(settings.database_url, max_connections=64, application_name="tests")
            server.execute("DROP DATABASE of_stories WITH (FORCE)")


def migrate(conn: psycopg.Connection[Any], first: int, last: int = 9999) -> None:
    for path in sorted(schema.MIGRATIONS.glob("*.sql")):
        if first <= int(path.stem[:4]) <= last:
            conn.execute(path.read_text())
    conn.commit()


def restore(conn: psycopg.Connection[Any], tables: dict[str, Any]) -> None:
    conn.execute("SET session_replication_role = replica")
    for name, table in tables.items():
        with conn.cursor().copy(f"COPY {name} ({', '.join(table['columns'])}) FROM STDIN") as copy:
            copy.write(table["rows"])
    conn.execute("SET session_replication_role = origin")
    for sequence in ("account_id_seq", "entry_id_seq", "lot_id_seq"):
        table = sequence.removesuffix("_id_seq")
        conn.execute(f"SELECT setval('{sequence}', (SELECT max(id) + 1 FROM {table}))")
    for table in ("payment", "subscription"):
        conn.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) + 1 FROM {table}))")
    conn.commit()


def new_schema() -> None:
    migrate(database.connection(), LAST_OLD + 1)


def failures(now: datetime) -> list[list[str]]:
    return [check.failures for check in maintenance.check_books(now=now) if not check.ok]


def test_no_balance_and_no_lot_moves_when_everything_is_computed_again(stories: datetime) -> None:
    before, lots = database.read(BALANCES), database.read(LOTS)
    assert len(before) > 60
    assert sum(balance for _, balance, _, _ in before) > 100_000
    new_schema()
    counts = runs.run(prices.APP, "grant-monthly", now=stories)["counts"]
    assert counts == {"subscriptions": 60, "units": 0}
    assert (database.read(BALANCES), database.read(LOTS)) == (before, lots)
    assert failures(stories) == []


def test_paid_years_go_on_month_by_month(stories: datetime) -> None:
    new_schema()
    runs.run(prices.APP, "grant-monthly", now=stories)
    later = stories + timedelta(days=70)
    assert runs.run(prices.APP, "grant-monthly", now=later)["counts"]["units"] > 0
    assert runs.run(prices.APP, "grant-monthly", now=later)["counts"] == {"subscriptions": 0, "units": 0}
    assert failures(later) == []


def test_a_migration_that_is_interrupted_leaves_what_was_there(stories: datetime) -> None:
    before = database.read(BALANCES)

    def work(conn: psycopg.Connection[Any]) -> None:
        conn.execute((schema.MIGRATIONS / "0017_plan_facts.sql").read_text())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.transaction(work)
    assert database.read("SELECT to_regclass('plan_fact')::text") == [(None,)]
    new_schema()
    assert database.read(BALANCES) == before
