"""What keeps one bad row from stopping a thousand good ones.

A batch that fails is split until the culprit stands alone; it is counted in a commit of its own, backs off, and is dead
after `ATTEMPTS`: visible, replayable, never dropped. A row that no retry will mend (`Unprocessable`) is dead at once.

A row that kills its worker leaves no exception behind. So a drain marks what it is about to try, in a commit before
it: a marker whose connection is gone was left by a death. Its rows are tried one by one from then on, and only a
death alone under its marker counts as a failure of the row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg
import structlog

from models import database, outbox
from models.errors import ProviderAway, ScripError, Unavailable, Unprocessable
from models.outbox import Message

Connection = psycopg.Connection[tuple[Any, ...]]
log = structlog.get_logger()
ATTEMPTS = 8
FIRST_BACKOFF_SECONDS = 10
LONGEST_BACKOFF_SECONDS = 3600
DIED = "the worker died while it tried this alone: see its log, and replay it once that is mended"

MARK = """
INSERT INTO drain_marker (queue, ids, backend_start)
SELECT %s, %s, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid() RETURNING id
"""
ORPHANS = """
DELETE FROM drain_marker m WHERE queue = %s AND NOT EXISTS (
    SELECT 1 FROM pg_stat_activity s WHERE s.pid = m.backend_pid AND s.backend_start = m.backend_start)
RETURNING ids
"""


def mark(conn: Connection, queue: str, ids: Sequence[int]) -> int:
    """Say that this connection is about to try these rows. Returns the marker, to be taken away with `unmark`."""
    row = conn.execute(MARK, [queue, list(ids)], prepare=True).fetchone()
    assert row is not None
    return int(row[0])


def unmark(marker: int) -> None:
    """The rows were tried and the worker lives."""
    database.run("DELETE FROM drain_marker WHERE id = %s", [marker])


def try_survivors_alone(queue: str, *, now: datetime) -> int:
    """Take over the markers of workers that died. Returns how many there were."""
    if not database.fetch("SELECT 1 FROM drain_marker WHERE queue = %s LIMIT 1", [queue]):
        return 0
    return database.transact(lambda conn: _take_over(conn, queue, now))


def _take_over(conn: Connection, queue: str, now: datetime) -> int:
    orphans = [ids for (ids,) in conn.execute(ORPHANS, [queue])]
    for ids in orphans:
        if len(ids) == 1:
            QUEUES[queue].fail(conn, ids[0], DIED, now)
        else:
            QUEUES[queue].isolate(conn, ids)
    return len(orphans)


def apply_or_split(
    ids: Sequence[int], *, apply: Callable[[Sequence[int]], Any], bury: Callable[[int, Exception], None]
) -> None:
    """Apply the batch; where it fails, its halves.

    What fails alone is buried. A database that is away is no failure.
    """
    try:
        apply(ids)
    except Unavailable:
        raise
    except Exception as error:
        if len(ids) == 1:
            bury(ids[0], error)
            return
        half = len(ids) // 2
        apply_or_split(ids[:half], apply=apply, bury=bury)
        apply_or_split(ids[half:], apply=apply, bury=bury)


def count_failure(queue: str, row_id: int, error: Exception, *, now: datetime) -> None:
    """Count the failure in a commit of its own; dead at once where no retry can mend it.

    A provider that is away is nobody's fault: the row backs off, however long that takes, and does not die of it.
    """
    final = isinstance(error, Unprocessable)
    patient = isinstance(error, ProviderAway)
    text = told(error, "Replay it once that is mended", queue=queue, row=row_id)
    database.transact(lambda conn: QUEUES[queue].fail(conn, row_id, text, now, final=final, patient=patient))


def told(error: Exception, todo: str, **where: Any) -> str:
    """What an operator reads of a failure. Of one that nobody meant it says so, and the `todo`; where it came from is
    in the log, as what failed `where`.
    """
    if isinstance(error, ScripError):
        return error.detail
    log.error("failed", exc_info=error, **where)
    words = str(error).partition("\n")[0] or "without a word"
    return f"Scrip itself failed on it: {words}; the workers' log says where. {todo}"


def backoff(attempts: int) -> timedelta:
    """How long to wait after this many failures: 10 s doubled each time, at most an hour, with jitter."""
    seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (attempts - 1), LONGEST_BACKOFF_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))


class UsageQueue:
    """How a failure is kept on `usage_queue`; a dead report says so itself too."""

    operation = "TRACK_USAGE"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE usage_queue SET solo = true WHERE report_id = ANY(%s)", [ids])

    @staticmethod
    def fail(
        conn: Connection, row_id: int, error: str, now: datetime, *, final: bool = False, patient: bool = False
    ) -> None:
        row = conn.execute(
            """SELECT q.attempts, r.app, r.customer, r.external_id
            FROM usage_queue q JOIN usage_report r ON r.id = q.report_id
            WHERE q.report_id = %s AND NOT q.dead FOR UPDATE OF q""",
            [row_id],
        ).fetchone()
        if row is None:
            return
        attempts, app, customer, external_id = row
        dead = final or (attempts + 1 >= ATTEMPTS and not patient)
        conn.execute(
            """UPDATE usage_queue SET attempts = attempts + 1, error = %s, dead = %s, solo = true, next_attempt_at = %s
            WHERE report_id = %s""",
            [error, dead, now + backoff(attempts + 1), row_id],
        )
        if dead:
            conn.execute("UPDATE usage_report SET state = 'dead', settled_at = %s WHERE id = %s", [now, row_id])
        log_error(conn, app, UsageQueue.operation, customer, {"report": external_id, "dead": dead}, error, now)


class EventQueue:
    """How a failure is kept on `inbox_event`."""

    operation = "PAYMENT"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE inbox_event SET solo = true WHERE id = ANY(%s) AND state = 'pending'", [ids])

    @staticmethod
    def fail(
        conn: Connection, row_id: int, error: str, now: datetime, *, final: bool = False, patient: bool = False
    ) -> None:
        row = conn.execute(
            """SELECT attempts, app, customer, event_id, provider, type FROM inbox_event
            WHERE id = %s AND state = 'pending' FOR UPDATE""",
            [row_id],
        ).fetchone()
        if row is None:
            return
        attempts, app, customer, event_id, provider, type_ = row
        dead = final or (attempts + 1 >= ATTEMPTS and not patient)
        conn.execute(
            """UPDATE inbox_event SET attempts = attempts + 1, error = %s, state = %s, solo = true,
                   next_attempt_at = %s, processed_at = %s WHERE id = %s""",
            [error, "dead" if dead else "pending", now + backoff(attempts + 1), now if dead else None, row_id],
        )
        if dead:
            told = {"event": row_id, "event_id": event_id, "provider": provider, "type": type_, "error": error}
            outbox.tell(conn, [Message(app, "event.dead", customer, told)], now=now)
        details = {"event": event_id, "provider": provider, "type": type_, "dead": dead}
        log_error(conn, app, EventQueue.operation, customer, details, error, now)


def log_error(
    conn: Connection,
    app: str,
    operation: str,
    customer: str | None,
    details: dict[str, Any],
    error: str | dict[str, Any],
    now: datetime,
) -> None:
    """An ERROR row of the operation log."""
    conn.execute(
        """INSERT INTO operation_error (app, operation, customer, details, error, created_at)
        VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, %s)""",
        [
            app,
            operation,
            customer,
            orjson.dumps(details).decode(),
            orjson.dumps(error if isinstance(error, dict) else {"message": error}).decode(),
            now,
        ],
    )


QUEUES: dict[str, type[UsageQueue] | type[EventQueue]] = {"usage": UsageQueue, "webhooks": EventQueue}
