"""Transactions run again, connections replaced and locks refused: what `models.database` promises to its callers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import MagicMock

import peewee
import psycopg
import pytest

import jobs
import models
from models import database
from models.errors import Unavailable
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


class Row(peewee.Model):
    """Some columns of `account`."""

    app = peewee.TextField()
    customer = peewee.TextField()
    tier = peewee.TextField(null=True)

    class Meta:
        database = database.database
        table_name = "account"


@pytest.fixture(autouse=True)
def rows(db: str, now: datetime) -> None:
    for customer in ("ada", "bo"):
        sql = "INSERT INTO account (app, customer, created_at, updated_at) VALUES (%s, %s, %s, %s)"
        database.write(sql, [APP, customer, now, now])


@pytest.fixture
def other(db: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Another connection to the same database."""
    with psycopg.connect(db, autocommit=True) as conn:
        yield conn


def promote(customer: str, tier: str) -> int:
    updated: int = Row.update(tier=tier).where(Row.customer == customer).execute()
    return updated


def tiers() -> dict[str, str | None]:
    return {row.customer: row.tier for row in Row.select()}


def kill(pid: int, other: psycopg.Connection[tuple[Any, ...]]) -> None:
    other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def kill_mine(other: psycopg.Connection[tuple[Any, ...]]) -> int:
    """End the server's side of this thread's connection. Returns its process id."""
    pid = database.connection().info.backend_pid
    kill(pid, other)
    return pid


def set_tier(customer: str, tier: str) -> None:
    database.write("UPDATE account SET tier = %s WHERE customer = %s", [tier, customer])


@pytest.mark.parametrize("change", [promote, set_tier], ids=["by peewee", "by run"])
def test_a_query_that_cannot_be_serialized_has_its_whole_transaction_run_again(
    change: Callable[[str, str], Any], other: psycopg.Connection[tuple[Any, ...]]
) -> None:
    tries = 0

    def work(conn: database.Connection) -> None:
        nonlocal tries
        tries += 1
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert Row.select().count() == 2
        if tries == 1:
            other.execute("UPDATE account SET tier = 'pro' WHERE customer = 'ada'")
        change("ada", "max")

    database.transaction(work)
    assert tries == 2
    assert tiers() == {"ada": "max", "bo": None}


def test_a_peewee_query_that_ends_a_deadlock_is_run_again(other: psycopg.Connection[tuple[Any, ...]]) -> None:
    tries = 0

    def cross() -> None:
        with other.transaction():
            other.execute("UPDATE account SET tier = 'pro' WHERE customer = 'bo'")
            crossing.set()
            promoted.wait(10)
            other.execute("UPDATE account SET tier = 'pro' WHERE customer = 'ada'")

    crossing, promoted = threading.Event(), threading.Event()
    crosser = threading.Thread(target=cross)

    def work(conn: database.Connection) -> None:
        nonlocal tries
        tries += 1
        conn.execute("SET LOCAL deadlock_timeout = '10ms'")  # this transaction is the one that is cancelled
        if tries == 1:
            crosser.start()
            crossing.wait(10)
        promote("ada", "max")
        if tries == 1:
            promoted.set()
            wait_until(lambda: conn.execute(WAITING, [other.info.backend_pid]).fetchone())
        promote("bo", "max")

    database.transaction(work)
    crosser.join()
    assert tries == 2
    assert tiers() == {"ada": "max", "bo": "max"}


WAITING = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"


def test_a_peewee_query_on_a_connection_that_is_lost_runs_the_transaction_again(
    other: psycopg.Connection[tuple[Any, ...]],
) -> None:
    tries = 0

    def work(_: database.Connection) -> None:
        nonlocal tries
        tries += 1
        promote("ada", "max")
        if tries == 1:
            kill_mine(other)
        promote("bo", "max")

    database.transaction(work)
    assert tries == 2
    assert tiers() == {"ada": "max", "bo": "max"}


def test_a_transaction_that_idled_for_too_long_is_run_again() -> None:
    tries = 0

    def work(conn: database.Connection) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            conn.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
            pid = conn.info.backend_pid
            with psycopg.connect(conn.info.dsn) as watch:
                wait_until(lambda: not watch.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone())
        promote("ada", "max")

    database.transaction(work)
    assert tries == 2


def test_a_peewee_error_that_no_retry_helps_leaves_a_transaction_as_the_drivers() -> None:
    tries = 0

    def work(_: database.Connection) -> None:
        nonlocal tries
        tries += 1
        Row.insert(app=APP, customer="ada").execute()

    with pytest.raises(psycopg.errors.NotNullViolation) as raised:
        database.transaction(work)
    assert isinstance(raised.value.__cause__, peewee.IntegrityError)
    assert raised.value.__cause__.__context__ is None, "a cycle hangs whatever prints the error"
    assert tries == 1


def test_a_peewee_query_opens_the_connection_that_its_thread_lacks() -> None:
    database.release()
    assert tiers() == {"ada": None, "bo": None}


def test_a_peewee_read_on_a_lost_connection_is_run_again(other: psycopg.Connection[tuple[Any, ...]]) -> None:
    lost = kill_mine(other)
    assert tiers() == {"ada": None, "bo": None}
    assert database.connection().info.backend_pid != lost


def test_a_peewee_write_on_a_lost_connection_is_not_and_the_next_one_works(
    other: psycopg.Connection[tuple[Any, ...]],
) -> None:
    kill_mine(other)
    with pytest.raises(Unavailable):
        promote("ada", "max")
    assert promote("ada", "max") == 1


@contextmanager
def database_away(url: str) -> Iterator[None]:
    try:
        database.bind("postgresql://nobody@127.0.0.1:1/nothing")
        yield
    finally:
        database.bind(url, max_connections=64, application_name="tests")


def test_a_database_that_is_away_is_unavailable_for_peewee_and_for_sql_alike(db: str) -> None:
    with database_away(db):
        for read in (tiers, lambda: database.read("SELECT 1")):
            with pytest.raises(Unavailable):
                read()


def test_peewees_own_transaction_inside_another_is_refused_and_nothing_is_committed() -> None:
    def work(_: database.Connection) -> None:
        promote("ada", "max")
        with database.database.atomic():
            promote("bo", "max")

    with pytest.raises(RuntimeError, match="atomic"):
        database.transaction(work)
    assert tiers() == {"ada": None, "bo": None}
    with database.database.atomic():
        promote("bo", "max")
    assert tiers() == {"ada": None, "bo": "max"}


LOCKING = ("FOR UPDATE", "FOR NO KEY UPDATE", "advisory_xact_lock")


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of `models` and `jobs` whose first argument is a connection, with its full name."""
    for package in (models, jobs):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            owners = [module, *(kind for _, kind in inspect.getmembers(module, inspect.isclass))]
            for function in [
                function for owner in owners for _, function in inspect.getmembers(owner, inspect.isfunction)
            ]:
                parameters = [*inspect.signature(function).parameters]
                if function.__module__ == module.__name__ and parameters[:1] == ["conn"]:
                    yield f"{module.__name__}.{function.__qualname__}", function


def locks(name: str, function: Callable[..., Any]) -> bool:
    """Whether the name says so, or a statement that is named or written in it, or a peewee query."""
    code = function.__code__
    if "for_update" in code.co_names:
        return True
    texts = [*code.co_consts, *(function.__globals__.get(used) for used in code.co_names)]
    named = name.rpartition(".")[2].startswith(("lock", "try_lock"))
    return named or any(word in text for text in texts if isinstance(text, str) for word in LOCKING)


LOCKERS = dict(pair for pair in functions() if locks(*pair) and pair[0] != "models.database.require_transaction")


def test_the_functions_that_lock_are_found() -> None:
    assert len(LOCKERS) > 20
    assert {
        "models.sessions.sessions.lock",
        "models.ledger.post._lock_named",
        "models.outbox.deliveries.replay",
        "models.inbox.failures.lock",
    } <= LOCKERS.keys()


@pytest.mark.parametrize("name", sorted(LOCKERS))
def test_a_lock_outside_a_transaction_is_refused(name: str) -> None:
    parameters = [*inspect.signature(LOCKERS[name]).parameters.values()][1:]
    positional = [MagicMock() for parameter in parameters if parameter.kind != parameter.KEYWORD_ONLY]
    named = {parameter.name: MagicMock() for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY}
    with pytest.raises(RuntimeError, match="outside a transaction"):
        LOCKERS[name](database.connection(), *positional, **named)


def test_a_lock_is_taken_on_a_connection_that_opens_its_transaction_by_itself(db: str) -> None:
    with psycopg.connect(db) as conn:
        database.require_transaction(conn)
        conn.execute("SELECT 1")
        database.require_transaction(conn)
