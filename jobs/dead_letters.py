"""Retries, backoff and dead-lettering: a failing batch is bisected until the poison row is isolated.

The failure of a row is counted in a commit of its own. The row backs off and is dead after `ATTEMPTS`: visible,
replayable, never dropped. A row that no retry can fix (`Unprocessable`) is dead at once.

A row that kills its worker raises no exception. So a drain commits an attempt before it processes a batch. An attempt
whose connection is closed was left by a crash: its rows are then processed one by one, and only a crash during an
attempt of a single row counts as a failure of that row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from models import database
from models.database import Connection
from models.errors import ProviderAway, ScripError, TooEarly, Unavailable, Unprocessable
from models.inbox import events
from models.outbox import messages
from models.outbox.messages import Message

log = structlog.get_logger()
ATTEMPTS = 8
FIRST_BACKOFF_SECONDS = 10
LONGEST_BACKOFF_SECONDS = 3600
DIED = (
    "The worker process crashed while processing this row on its own. Check the worker log, fix the cause and replay"
    " the row."
)

MARK = """
INSERT INTO drain_marker (queue, ids, backend_start)
SELECT %s, %s, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid() RETURNING id
"""
ORPHANS = """
DELETE FROM drain_marker m WHERE queue = %s AND NOT EXISTS (
    SELECT 1 FROM pg_stat_activity s WHERE s.pid = m.backend_pid AND s.backend_start = m.backend_start)
RETURNING ids
"""


def begin_attempt(conn: Connection, queue: str, ids: Sequence[int]) -> int:
    """Record that this connection is about to process these rows. Returns the attempt for `end_attempt`."""
    row = conn.execute(MARK, [queue, list(ids)], prepare=True).fetchone()
    assert row is not None
    return int(row[0])


def end_attempt(attempt: int) -> None:
    """Remove the record of an attempt that ended without a crash."""
    database.write("DELETE FROM drain_marker WHERE id = %s", [attempt])


def recover_crashed_attempts(queue: str, *, now: datetime) -> int:
    """Take over the attempts of crashed workers. Returns how many there were."""
    if not database.read("SELECT 1 FROM drain_marker WHERE queue = %s LIMIT 1", [queue]):
        return 0
    return database.transaction(lambda conn: _take_over(conn, queue, now))


def _take_over(conn: Connection, queue: str, now: datetime) -> int:
    orphans = [ids for (ids,) in conn.execute(ORPHANS, [queue])]
    for ids in orphans:
        if len(ids) == 1:
            QUEUES[queue].fail(conn, ids[0], Failure(DIED, now))
        else:
            QUEUES[queue].isolate(conn, ids)
    return len(orphans)


def apply_or_split(
    ids: Sequence[int], *, apply: Callable[[Sequence[int]], Any], on_failure: Callable[[int, Exception], None]
) -> None:
    """Apply the batch; if it fails, apply its halves.

    A row that fails alone is passed to `on_failure`. `Unavailable` is re-raised and not counted.
    """
    try:
        apply(ids)
    except Unavailable:
        raise
    except Exception as error:
        if len(ids) == 1:
            on_failure(ids[0], error)
            return
        half = len(ids) // 2
        apply_or_split(ids[:half], apply=apply, on_failure=on_failure)
        apply_or_split(ids[half:], apply=apply, on_failure=on_failure)


def count_failure(queue: str, row_id: int, error: Exception, *, now: datetime, attempts: int | None = None) -> None:
    """Count the failure in a commit of its own. The row is dead at once if no retry can fix it.

    Several drains may process one row at the same time: `attempts`, the count before this attempt, keeps one failure
    from being counted twice. Provider outages back off indefinitely and never dead-letter the row.
    """
    failure = Failure(
        operator_message(error, "Replay it once the cause is fixed"),
        now,
        is_final=isinstance(error, Unprocessable),
        is_outage=isinstance(error, ProviderAway),
        attempts=attempts,
        waits_for=error.extra["waits_for"] if isinstance(error, TooEarly) else None,
    )
    if database.transaction(lambda conn: QUEUES[queue].fail(conn, row_id, failure)):
        log_defect(error, queue=queue, row=row_id)
        if failure.waits_for is not None:
            events.wake_late(row_id, now=now)


def operator_message(error: Exception, next_step: str) -> str:
    """The error message for operators. An unexpected exception is labelled as an internal error, with `next_step`."""
    if isinstance(error, ScripError):
        return error.detail
    words = str(error).partition("\n")[0] or type(error).__name__
    return f"Internal error: {words}. See the worker log for the traceback. {next_step}"


def log_defect(error: Exception, **where: Any) -> None:
    """Log the traceback of an unexpected exception, with the row or job that failed."""
    if not isinstance(error, ScripError):
        log.error("failed", exc_info=error, **where)


def backoff(attempts: int) -> timedelta:
    """The delay after this many failures: 10 s, doubled each time, at most one hour, ±25 % jitter."""
    seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (attempts - 1), LONGEST_BACKOFF_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt of a row. `error`: the message for operators.

    `is_final`: no retry can fix it. `is_outage`: a provider outage, which never dead-letters the row. `attempts`: the
    count before this attempt, if known. `waits_for`: the fact without which the event cannot be applied.
    """

    error: str
    now: datetime
    is_final: bool = False
    is_outage: bool = False
    attempts: int | None = None
    waits_for: str | None = None

    def is_terminal(self, attempts: int) -> bool:
        """Whether the row is dead after this failure. `attempts`: its earlier failures, without provider outages."""
        return self.is_final or (attempts + 1 >= ATTEMPTS and not self.is_outage)


class UsageQueue:
    """Stores failures in `usage_queue`; a dead report also has the state `dead`."""

    operation = "TRACK_USAGE"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE usage_queue SET solo = true WHERE report_id = ANY(%s)", [ids])

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count the failure. Returns False if another drain has counted it: the row is not due then."""
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
        dead = failure.is_terminal(attempts)
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
    """Stores failures in `inbox_event`."""

    operation = "PAYMENT"

    @staticmethod
    def isolate(conn: Connection, ids: Sequence[int]) -> None:
        conn.execute("UPDATE inbox_event SET solo = true WHERE id = ANY(%s) AND state = 'pending'", [ids])

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count the failure. Returns False if another drain has counted it."""
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
        dead = failure.is_terminal(attempts - excused)
        conn.execute(
            """UPDATE inbox_event SET attempts = attempts + 1, excused = excused + %s, error = %s, state = %s,
                   solo = true, waits_for = %s, next_attempt_at = %s, processed_at = %s WHERE id = %s""",
            [
                int(failure.is_outage),
                error,
                "dead" if dead else "pending",
                failure.waits_for,
                now + backoff(attempts + 1),
                now if dead else None,
                row_id,
            ],
        )
        if dead:
            data = {"event": row_id, "event_id": event_id, "provider": provider, "type": type_, "error": error}
            messages.emit(conn, [Message(app, "event.dead", customer, data)], now=now)
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
    """Insert an ERROR row into the operation log."""
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
