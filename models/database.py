"""Connections to PostgreSQL, transactions that are safe to retry, and migrations.

Each process has one peewee pool. A request or a message takes a connection at its first statement and returns it at its
end (`release`), so a process opens no more connections than it needs at the same time. peewee and SQL share the
connection and its transaction. A peewee query always uses the thread's connection, even inside a function that is
given a `conn`.

Use peewee queries over `models.tables` off the hot paths: what operators and apps configure (keys, endpoints,
customers' fields), checkouts, refund requests, activation keys, schedule runs, lists.

Use set-based SQL on the hot paths, where building a peewee query and its rows costs 200-400 microseconds of CPU per
small statement: the ledger's load, write and ids; recording and finding payments; plans' feeds; accepting and settling
usage; sessions; idempotency keys; claims (events, deliveries, due subscriptions) and sweeps. Use it for large single
statements, too: verify, explain, balances, reports and the operation log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import psycopg
from peewee import InterfaceError, OperationalError, PeeweeException, SelectBase
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads

from models.errors import Unavailable

# jsonb stores whole numbers of any size. orjson reads those beyond 64 bits as floats, which it can write again, so that
# every stored value can be returned.
set_json_loads(orjson.loads)

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
ATTEMPTS = 6
REPEATABLE = (SerializationFailure, DeadlockDetected)
# What the libraries raise if the database does not respond, or closes the connection.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError)
# The server closes connections that idle in the pool. The next statement on one fails and is retried on a new one.
TIMEOUTS = (
    "-c statement_timeout=30s -c lock_timeout=20s -c idle_in_transaction_session_timeout=30s"
    " -c idle_session_timeout=60s"
)


class RunAgain(SerializationFailure):
    """Raised inside `transaction` to run it again, because it lost a race that only a new snapshot can decide."""


class _Pool(PooledPostgresqlDatabase):
    """A pool that does not check connections on checkout: a lost one is replaced when a statement fails on it."""

    def _is_closed(self, conn: Connection) -> bool:
        return bool(conn.closed)

    def execute(self, query: Any, **options: Any) -> Any:
        """Run a model's query on the thread's connection, opening one if needed. Returns the cursor.

        Outside a transaction, a SELECT on a lost connection is retried once on a new one, as in `read`. A write is not
        retried, because it may have been committed: put writes that are safe to repeat in `transaction`.

        Raises:
            Unavailable: outside a transaction, the database cannot be reached or the connection was lost.
            psycopg.Error: outside a transaction, the statement failed. Inside one, the error is peewee's.
        """
        if in_transaction():
            return super().execute(query, **options)
        run_query = super().execute
        return _persist(lambda _: run_query(query, **options), connections=2 if isinstance(query, SelectBase) else 1)

    def begin(self, *args: Any, **options: Any) -> None:
        """Open a transaction for peewee's `atomic`.

        Raises:
            RuntimeError: a transaction is open already, which the COMMIT of `atomic` would end.
        """
        if in_transaction():
            raise RuntimeError("atomic() inside transaction() would commit too early: use conn.transaction() instead")
        super().begin(*args, **options)


database = _Pool(None, prefer_psycopg3=True, autoconnect=False)


def bind(url: str, *, max_connections: int = 32, application_name: str = "scrip") -> None:
    """Configure this process to use the database at `url`. Connects at the first use."""
    if not database.deferred:
        database.close_all()
    database.init(
        url,
        prefer_psycopg3=True,
        max_connections=max_connections,
        timeout=5,
        stale_timeout=300,
        options=TIMEOUTS,
        application_name=application_name,
        connect_timeout=5,
    )


def connection() -> Connection:
    """The calling thread's connection; opens one if needed.

    Raises:
        Unavailable: the database cannot be reached, or all connections are in use.
    """
    if database.is_closed():
        try:
            database.connect()
        except (OperationalError, InterfaceError, psycopg.OperationalError, MaxConnectionsExceeded) as error:
            raise Unavailable("the database cannot be reached") from error
    return database.connection()


def live_connection() -> Connection:
    """The thread's connection, replaced if it was lost while idle: for several reads outside a transaction.

    Raises:
        Unavailable: the database cannot be reached.
    """
    read("SELECT 1")
    return connection()


def release() -> None:
    """Return the thread's connection to the pool, at the end of a request or a message."""
    if not database.is_closed():
        database.close()


def discard() -> None:
    """Close the thread's connection, whose state is unknown, and the idle ones, which may be lost as well."""
    if database.is_closed():
        return
    try:
        database.connection().close()
    finally:
        database.manual_close()
        database.close_idle()


def transaction(work: Callable[[Connection], T]) -> T:
    """Run `work` in one transaction and return what it returns.

    After a serialization failure, a deadlock or a lost connection, the whole transaction is retried. If the connection
    is lost at COMMIT, the transaction may have been committed, so `work` must be idempotent by its keys.

    Raises:
        Unavailable: the database is unavailable, or the connection was lost on every attempt.
        psycopg.Error: a statement failed, whether run by peewee or by SQL.
    """
    return _persist(lambda conn: _in_transaction(conn, work))


def _in_transaction(conn: Connection, work: Callable[[Connection], T]) -> T:
    with conn.transaction():
        return work(conn)


def _persist(work: Callable[[Connection], T], *, connections: int = 3) -> T:
    """Run `work`, retrying conflicts, and lost connections up to a total of `connections`. Returns its result."""
    for attempt in range(ATTEMPTS):
        try:
            return work(connection())
        except (psycopg.Error, PeeweeException) as error:
            cause = original(error)
            if is_lost(cause):
                discard()
                if attempt >= connections - 1:
                    raise Unavailable("the connection to the database was lost") from error
            elif isinstance(cause, REPEATABLE) and attempt < ATTEMPTS - 1 and not in_transaction():
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
            elif cause is error:
                raise
            else:
                raise cause from error
    raise AssertionError("unreachable")


def original(error: BaseException) -> BaseException:
    """The psycopg error that a peewee error wraps; any other error itself."""
    cause: BaseException = getattr(error, "orig", error)
    return cause


def is_lost(error: BaseException) -> bool:
    """Whether the error means that the connection is lost, not that a statement failed."""
    cause = original(error)
    state = getattr(cause, "sqlstate", None)
    if state is None:  # the error does not come from the server
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError))
    return bool(state.startswith(("08", "57P", "25P03")))


def in_transaction() -> bool:
    """Whether the thread's connection is in a transaction. Runs no query."""
    return connection().pgconn.transaction_status != TransactionStatus.IDLE


def require_transaction(conn: Connection) -> None:
    """Check that a transaction is open. Every function that locks rows calls this first. Runs no query.

    Raises:
        RuntimeError: the connection is not in a transaction, so the lock would be released at once.
    """
    if conn.pgconn.transaction_status == TransactionStatus.IDLE and conn.autocommit:
        raise RuntimeError("a lock outside a transaction is released at once: call this inside database.transaction()")


def read(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a read-only statement, run outside a transaction and retried once if the connection is lost."""
    return _persist(lambda conn: conn.execute(sql, params).fetchall(), connections=2)


def write(sql: str, params: Any = None) -> psycopg.Cursor[tuple[Any, ...]]:
    """Run and commit one writing statement. Returns its cursor.

    It is retried if the connection is lost, so it must be idempotent by its keys.
    """
    return _persist(lambda conn: conn.execute(sql, params, prepare=True))
