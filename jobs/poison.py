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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg
import structlog

from models import database, events, outbox
from models.errors import ProviderAway, ScripError, TooEarly, Unavailable, Unprocessable
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
            QUEUES[queue].fail(conn, ids[0], Failure(DIED, now))
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


def count_failure(queue: str, row_id: int, error: Exception, *, now: datetime, attempts: int | None = None) -> None:
    """Count the failure in a commit of its own; dead at once where no retry can mend it. Several drains may try a row
    at the same time: `attempts`, how often it had been tried before, keeps them from counting one failure twice.

    A provider that is away is nobody's fault: the row backs off, however long that takes, and does not die of it.
    """
    failure = Failure(
        told(error, "Replay it once that is mended"),
        now,
        is_final=isinstance(error, Unprocessable),
        is_nobodys=isinstance(error, ProviderAway),
        attempts=attempts,
        waits_for=error.extra["waits_for"] if isinstance(error, TooEarly) else None,
    )
    if database.transact(lambda conn: QUEUES[queue].fail(conn, row_id, failure)):
        log_defect(error, queue=queue, row=row_id)
        if failure.waits_for is not None:
            events.wake_late(row_id, now=now)


def told(error: Exception, todo: str) -> str:
    """What an operator reads of a failure. Of one that nobody meant it says so, and the `todo`."""
    if isinstance(error, ScripError):
        return error.detail
    words = str(error).partition("\n")[0] or "without a word"
    return f"Scrip itself failed on it: {words}; the workers' log says where. {todo}"


def log_defect(error: Exception, **where: Any) -> None:
    """Where an error that nobody meant came from, for the log, with what failed."""
    if not isinstance(error, ScripError):
        log.error("failed", exc_info=error, **where)


def backoff(attempts: int) -> timedelta:
    """How long to wait after this many failures: 10 s doubled each time, at most an hour, with jitter."""
    seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (attempts - 1), LONGEST_BACKOFF_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))


@dataclass(frozen=True, slots=True)
class Failure:
    """One try of a row that failed, with what people are told of it. `is_final`: no retry will mend it; `is_nobodys`:
    the row does not die of it; `attempts`: how often the row had been tried before, if that is known.
    """

    error: str
    now: datetime
    is_final: bool = False
    is_nobodys: bool = False
    attempts: int | None = None
    waits_for: str | None = None

    def kills(self, attempts: int) -> bool:
        """Whether the row, which had failed so often before by its own fault, is dead now."""
        return self.is_final or (attempts + 1 >= ATTEMPTS and not self.is_nobodys)


class UsageQueue:
    """How a failure is kept on `usage_queue`; a dead report says so itself too."""

    operation = "TRACK_USAGE"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE usage_queue SET solo = true WHERE report_id = ANY(%s)", [ids])

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count it; False where another drain did: then the row is not due any more."""
        database.require_transaction(conn)
        error, now = failure.error, failure.now
        row = conn.execute(
            """SELECT q.attempts, r.app, r.customer, r.external_id
            FROM usage_queue q JOIN usage_report r ON r.id = q.report_id
            WHERE q.report_id = %s AND NOT q.dead AND q.next_attempt_at <= %s FOR UPDATE OF q""",
            [row_id, now],
        ).fetchone()
        if row is None:
            return False
        attempts, app, customer, external_id = row
        dead = failure.kills(attempts)
        conn.execute(
            """UPDATE usage_queue SET attempts = attempts + 1, error = %s, dead = %s, solo = true, next_attempt_at = %s
            WHERE report_id = %s""",
            [error, dead, now + backoff(attempts + 1), row_id],
        )
        if dead:
            conn.execute("UPDATE usage_report SET state = 'dead', settled_at = %s WHERE id = %s", [now, row_id])
        log_error(conn, app, UsageQueue.operation, customer, {"report": external_id, "dead": dead}, error, now)
        return True


class EventQueue:
    """How a failure is kept on `inbox_event`."""

    operation = "PAYMENT"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE inbox_event SET solo = true WHERE id = ANY(%s) AND state = 'pending'", [ids])

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count it; False where another drain did."""
        database.require_transaction(conn)
        error, now = failure.error, failure.now
        row = conn.execute(
            """SELECT attempts, excused, app, customer, event_id, provider, type FROM inbox_event
            WHERE id = %s AND state = 'pending' AND attempts = coalesce(%s, attempts) FOR UPDATE""",
            [row_id, failure.attempts],
        ).fetchone()
        if row is None:
            return False
        attempts, excused, app, customer, event_id, provider, type_ = row
        dead = failure.kills(attempts - excused)
        conn.execute(
            """UPDATE inbox_event SET attempts = attempts + 1, excused = excused + %s, error = %s, state = %s,
                   solo = true, waits_for = %s, next_attempt_at = %s, processed_at = %s WHERE id = %s""",
            [
                int(failure.is_nobodys),
                error,
                "dead" if dead else "pending",
                failure.waits_for,
                now + backoff(attempts + 1),
                now if dead else None,
                row_id,
            ],
        )
        if dead:
            told = {"event": row_id, "event_id": event_id, "provider": provider, "type": type_, "error": error}
            outbox.tell(conn, [Message(app, "event.dead", customer, told)], now=now)
        details = {"event": event_id, "provider": provider, "type": type_, "dead": dead}
        log_error(conn, app, EventQueue.operation, customer, details, error, now)
        return True


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
