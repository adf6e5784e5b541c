"""The connection to PostgreSQL, transactions that are safe to repeat, and migrations.

One peewee pool per process. A request or a message takes a connection at its first statement and returns it at its end
(`release`), so that an idle process holds as many as it ever needed at once. peewee and SQL share the connection and
its transaction; a peewee query uses the thread's connection whatever `conn` it is given beside.

peewee queries over `models.tables` are for everything off the hot paths: what operators and apps configure (keys,
endpoints, customers' fields), checkouts, refund requests, activation keys, idempotency keys, schedule runs, lists.

SQL over sets of rows is for the hot paths, where building a peewee query and its rows costs 200-400 microseconds of CPU
for each small statement: the ledger's load, write and ids; recording and finding payments; plans' feeds; accepting and
settling usage; sessions; claims (events, deliveries, due subscriptions) and sweeps. It is also for single large
statements: verify, explain, balances, reports and the operation log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import orjson
import psycopg
from peewee import InterfaceError, OperationalError, PeeweeException, SelectBase
from playhouse.migrations import Migration, Runner
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads

from models.errors import Unavailable

# jsonb keeps whole numbers of any size. orjson reads those beyond 64 bits as floats, which it can also write: what was
# stored can be answered.
set_json_loads(orjson.loads)

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_265_910_441
ATTEMPTS = 6
REPEATABLE = (SerializationFailure, DeadlockDetected)
# The server ends a connection that idles in the pool; whoever takes it next finds out and takes a fresh one.
TIMEOUTS = (
    "-c statement_timeout=30s -c lock_timeout=20s -c idle_in_transaction_session_timeout=30s"
    " -c idle_session_timeout=60s"
)


class _Pool(PooledPostgresqlDatabase):
    """A pool that hands out connections unchecked: a lost one is replaced when a statement fails on it."""

    def _is_closed(self, conn: Connection) -> bool:
        return bool(conn.closed)

    def execute(self, query: Any, **options: Any) -> Any:
        """Run a model's query on the thread's connection, opened when it has none. Returns the cursor.

        Outside a transaction, a SELECT on a lost connection is run again on a fresh one, as `read` does. A write is
        not, because it may have been committed: a write that may be repeated belongs in `transaction`.

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
            RuntimeError: a transaction is open already; the COMMIT of `atomic` would end it.
        """
        if in_transaction():
            raise RuntimeError("atomic() inside transaction() would commit too early: use conn.transaction() instead")
        super().begin(*args, **options)


database = _Pool(None, prefer_psycopg3=True, autoconnect=False)


def bind(url: str, *, max_connections: int = 32, application_name: str = "scrip") -> None:
    """Point this process at the database at `url`. Connects at the first use."""
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
    """The calling thread's connection, opened when it has none.

    Raises:
        Unavailable: the database cannot be reached, or all connections are in use.
    """
    if database.is_closed():
        try:
            database.connect()
        except (OperationalError, InterfaceError, psycopg.OperationalError, MaxConnectionsExceeded) as error:
            raise Unavailable("the database cannot be reached") from error
    return database.connection()


def checked_connection() -> Connection:
    """The calling thread's connection, replaced if it was lost while idle: for several reads outside a transaction.

    Raises:
        Unavailable: the database cannot be reached.
    """
    read("SELECT 1")
    return connection()


def release() -> None:
    """Give the thread's connection back to the pool: at the end of a request or a message."""
    if not database.is_closed():
        database.close()


def discard() -> None:
    """Close the thread's connection for good: its state is not known. What lost it may have lost the idle ones too."""
    if database.is_closed():
        return
    try:
        database.connection().close()
    finally:
        database.manual_close()
        database.close_idle()


def transaction(work: Callable[[Connection], T]) -> T:
    """Run `work` in one transaction and return what it returns.

    A serialization failure, a deadlock and a lost connection run it again, whole. A connection that is lost at COMMIT
    leaves open whether it was committed: `work` must be idempotent by its keys, so that the second run finds out.

    Raises:
        Unavailable: the database stayed away.
        psycopg.Error: a statement failed, whether peewee ran it or not.
    """
    return _persist(lambda conn: _in_transaction(conn, work))


def _in_transaction(conn: Connection, work: Callable[[Connection], T]) -> T:
    with conn.transaction():
        return work(conn)


def _persist(work: Callable[[Connection], T], *, connections: int = 3) -> T:
    """What `work` returns, on at most so many connections, of which all but the last were lost."""
    for attempt in range(ATTEMPTS):
        try:
            return work(connection())
        except (psycopg.Error, PeeweeException) as error:
            cause = original(error)
            if is_lost(cause):
                discard()
                if attempt >= connections - 1:
                    raise Unavailable("the database went away") from error
            elif isinstance(cause, REPEATABLE) and attempt < ATTEMPTS - 1 and not in_transaction():
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
            elif cause is error:
                raise
            else:
                raise cause from error
    raise AssertionError("unreachable")


def original(error: BaseException) -> BaseException:
    """The driver's error inside one of peewee's; any other error itself."""
    cause: BaseException = getattr(error, "orig", error)
    return cause


def is_lost(error: BaseException) -> bool:
    """Whether the error means that the connection is gone, rather than that a statement failed."""
    cause = original(error)
    state = getattr(cause, "sqlstate", None)
    if state is None:  # it does not come from the server
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError))
    return bool(state.startswith(("08", "57P", "25P03")))


def in_transaction() -> bool:
    """Whether the thread's connection is in a transaction. Runs no query."""
    return connection().pgconn.transaction_status != TransactionStatus.IDLE


def require_transaction(conn: Connection) -> None:
    """Check that a lock taken now is kept: every function that locks calls this first. Runs no query.

    Raises:
        RuntimeError: the connection is in no transaction, so that the lock would be released at once.
    """
    if conn.pgconn.transaction_status == TransactionStatus.IDLE and conn.autocommit:
        raise RuntimeError("a lock outside a transaction is released at once: call this inside database.transaction()")


def read(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    """The rows of one read-only statement, outside of any transaction; read once more on a fresh connection if lost."""
    return _persist(lambda conn: conn.execute(sql, params).fetchall(), connections=2)


def write(sql: str, params: Any = None) -> psycopg.Cursor[tuple[Any, ...]]:
    """One writing statement in a commit of its own, idempotent by its keys.

    It is run again if the connection is lost.
    """
    return _persist(lambda conn: conn.execute(sql, params, prepare=True))


class _SqlFile(Migration):
    """A migration that is a file of plain SQL."""

    __slots__ = ()

    def load(self) -> SimpleNamespace:
        """What playhouse's runner wants of a migration: an `up`, run in a transaction."""

        def up(migrator: Any, db: Any) -> None:
            db.connection().execute(Path(self.path).read_text())

        return SimpleNamespace(up=up, atomic=True)


class _Runner(Runner):
    def migrations(self) -> list[Migration]:
        return sorted(_SqlFile(int(path.stem[:4]), path.stem, str(path), None) for path in MIGRATIONS.glob("*.sql"))


def migrate() -> list[str]:
    """Apply what is missing, under an advisory lock so that nodes may start together. Returns the names applied."""
    conn = connection()
    conn.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    try:
        return _Runner(database, str(MIGRATIONS)).up()
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def pending_migrations() -> list[str]:
    """The names of migrations that this code has and the database has not."""
    connection()
    return [row.name for row in _Runner(database, str(MIGRATIONS)).status() if row.path and not row.applied]
