"""Which scheduled runs there were: a unique row a (job, period), so that any number of nodes may tick."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg.types.json import Jsonb

from models import database
from models.database import Connection

TICK_LOCK = 7_265_910_442
EPOCH = datetime(2020, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was recorded and is not finished. `after` is where it goes on, with what it counted so far."""

    job: str
    period: datetime
    attempts: int
    after: Any = None
    counts: dict[str, int] | None = None


def period_of(moment: datetime, every: timedelta) -> datetime:
    """The start of the period that the moment lies in; periods are counted from a fixed day, in UTC."""
    return EPOCH + (moment - EPOCH) // every * every


def record(jobs: Iterable[tuple[str, timedelta]], *, now: datetime) -> list[str]:
    """Record the current period of each job that has no row for it yet. Returns the names recorded.

    The lock only saves work where several nodes tick at once; the unique row is the guarantee. A job's missed periods
    need no rows: every job does all that is due by now.
    """
    return database.transaction(lambda conn: _record(conn, list(jobs), now))


def _record(conn: Connection, jobs: list[tuple[str, timedelta]], now: datetime) -> list[str]:
    database.require_transaction(conn)
    locked = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [TICK_LOCK]).fetchone()
    if not (locked and locked[0]):
        return []
    rows = conn.execute(
        """INSERT INTO schedule_run (job, period, next_attempt_at)
        SELECT job, period, %s FROM unnest(%s::text[], %s::timestamptz[]) AS due(job, period)
        ON CONFLICT (job, period) DO NOTHING RETURNING job""",
        [now, [name for name, _ in jobs], [period_of(now, every) for _, every in jobs]],
    )
    return [job for (job,) in rows]


def next_run(*, now: datetime, last: Collection[str] = ()) -> Run | None:
    """The oldest run that is due and not finished; those of the jobs in `last` only when nothing else is due."""
    rows = database.read(
        """SELECT job, period, attempts, reached, counts FROM schedule_run
        WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY job = ANY(%s::text[]), period, job LIMIT 1""",
        [now, list(last)],
    )
    return Run(*rows[0]) if rows else None


def lease(run: Run, until: datetime) -> None:
    """Leave the run to this worker until then, or until it is finished, paused or has failed."""
    database.write(
        "UPDATE schedule_run SET next_attempt_at = %s WHERE job = %s AND period = %s AND state = 'pending'",
        [until, run.job, run.period],
    )


def finish(run: Run, counts: dict[str, int], *, now: datetime) -> None:
    """The run is done; so are earlier ones of the same job, whose work it did."""
    database.write(
        """UPDATE schedule_run SET state = 'done', counts = CASE WHEN period = %s THEN %s ELSE counts END,
            finished_at = %s
        WHERE job = %s AND period <= %s AND state = 'pending'""",
        [run.period, Jsonb(counts), now, run.job, run.period],
    )


def pause(run: Run, after: Any, counts: dict[str, int], *, now: datetime) -> None:
    """The run's time was up: note where it goes on."""
    database.write(
        """UPDATE schedule_run SET reached = %s, counts = %s, next_attempt_at = %s
        WHERE job = %s AND period = %s AND state = 'pending'""",
        [Jsonb(after), Jsonb(counts), now, run.job, run.period],
    )


def fail(run: Run, error: str, next_attempt_at: datetime, *, dead: bool) -> None:
    """The run failed; it is tried again later, or is dead and visible."""
    database.write(
        """UPDATE schedule_run SET attempts = attempts + 1, error = %s, next_attempt_at = %s, state = %s
        WHERE job = %s AND period = %s""",
        [error, next_attempt_at, "dead" if dead else "pending", run.job, run.period],
    )
