"""Retries, backoff and dead-lettering: a failing batch is bisected until the poison row is isolated.

The failure of a row is counted in a commit of its own. The row backs off and is dead after `ATTEMPTS`: visible,
replayable, never dropped. A row that no retry can fix (`Unprocessable`) is dead at once.

A row that kills its worker raises no exception. So a drain commits an attempt (models/inbox/attempts.py) before it
processes a batch. The rows of an attempt that a crash left are processed one by one, and only a crash during an attempt
of a single row counts as a failure of that row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from models import database
from models.database import Connection
from models.errors import ProviderAway, ScripError, TooEarly, Unavailable, Unprocessable
from models.inbox import attempts, events
from models.inbox import failures as event_failures
from models.operations.errors import log_error
from models.outbox import messages
from models.outbox.messages import Message
from models.usage import failures as usage_failures

log = structlog.get_logger()
ATTEMPTS = 8
FIRST_BACKOFF_SECONDS = 10
LONGEST_BACKOFF_SECONDS = 3600
DIED = (
    "The worker process crashed while processing this row on its own. Check the worker log, fix the cause and replay"
    " the row."
)


def recover_crashed_attempts(queue: str, *, now: datetime) -> int:
    """Take over the attempts of crashed workers. Returns how many there were."""
    if not attempts.has_open(queue):
        return 0
    return database.transaction(lambda conn: _take_over(conn, queue, now))


def _take_over(conn: Connection, queue: str, now: datetime) -> int:
    crashed = attempts.take_crashed(conn, queue)
    for ids in crashed:
        if len(ids) == 1:
            QUEUES[queue].fail(conn, ids[0], Failure(DIED, now))
        else:
            QUEUES[queue].isolate(conn, ids)
    return len(crashed)


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
    count before this attempt, if known. `waits_for`: the provider's id that must be known first.
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

    def retry_at(self, attempts: int) -> datetime:
        """When the row is due again. `attempts`: its earlier failures, provider outages included."""
        return self.now + backoff(attempts + 1)


class UsageQueue:
    """Failures of usage reports."""

    operation = "TRACK_USAGE"
    isolate = staticmethod(usage_failures.isolate)

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count the failure. Returns False if another drain settled the report or counted the failure."""
        report = usage_failures.lock(conn, row_id, now=failure.now)
        if report is None:
            return False
        dead = failure.is_terminal(report.attempts)
        usage_failures.count(
            conn, row_id, failure.error, dead=dead, next_attempt_at=failure.retry_at(report.attempts), now=failure.now
        )
        details = {"report": report.external_id, "dead": dead}
        log_error(conn, report.app, UsageQueue.operation, report.customer, details, failure.error, failure.now)
        return True


class EventQueue:
    """Failures of inbox events. A dead one is reported to the app's endpoints as `event.dead`."""

    operation = "PAYMENT"
    isolate = staticmethod(event_failures.isolate)

    @staticmethod
    def fail(conn: Connection, row_id: int, failure: Failure) -> bool:
        """Count the failure. Returns False if another drain has counted it."""
        event = event_failures.lock(conn, row_id, attempts=failure.attempts)
        if event is None:
            return False
        dead = failure.is_terminal(event.attempts - event.outage_attempts)
        event_failures.count(
            conn,
            row_id,
            failure.error,
            dead=dead,
            is_outage=failure.is_outage,
            waits_for=failure.waits_for,
            next_attempt_at=failure.retry_at(event.attempts),
            now=failure.now,
        )
        subject = {"provider": event.provider, "type": event.type}
        if dead:
            data = {"event": row_id, "event_id": event.event_id, **subject, "error": failure.error}
            messages.emit(conn, [Message(event.app, "event.dead", event.customer, data)], now=failure.now)
        details = {"event": event.event_id, **subject, "dead": dead}
        log_error(conn, event.app, EventQueue.operation, event.customer, details, failure.error, failure.now)
        return True


QUEUES: dict[str, type[UsageQueue] | type[EventQueue]] = {"usage": UsageQueue, "inbox": EventQueue}
