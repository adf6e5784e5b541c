"""Runs of scheduled jobs: one row per (job, period), so that any number of nodes can schedule them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from peewee import Case, Value

from models import database
from models.database import Connection
from models.tables import ScheduleRun

TICK_LOCK = 7_265_910_442
EPOCH = datetime(2020, 1, 1, tzinfo=timezone.utc)
PENDING = ScheduleRun.state == "pending"


def period_of(moment: datetime, every: timedelta) -> datetime:
    """Return the start of the period that contains the moment. Periods are counted from a fixed day, in UTC."""
    return EPOCH + (moment - EPOCH) // every * every


def record(jobs: Iterable[tuple[str, timedelta]], *, now: datetime) -> list[str]:
    """Insert the current period of each job that has no row for it yet. Returns the names of these jobs.

    The primary key guarantees that a period is recorded once; the lock only saves work when several nodes tick at the
    same time. Missed periods need no rows: every job does all work that is due.
    """
    return database.transaction(lambda conn: _record(conn, list(jobs), now))


def _record(conn: Connection, jobs: list[tuple[str, timedelta]], now: datetime) -> list[str]:
    database.require_transaction(conn)
    locked = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [TICK_LOCK]).fetchone()
    if not (locked and locked[0]):
        return []
    rows = [{"job": name, "period": period_of(now, every), "next_attempt_at": now} for name, every in jobs]
    query: Any = ScheduleRun.insert_many(rows).on_conflict_ignore().returning(ScheduleRun.job)
    return [run.job for run in query.execute()]


def next_run(*, now: datetime, last: Collection[str] = ()) -> ScheduleRun | None:
    """Return the oldest due run that is not finished; runs of the jobs in `last` only if no other run is due."""
    due = ScheduleRun.select().where(PENDING, ScheduleRun.next_attempt_at <= now)
    run: ScheduleRun | None = due.order_by(ScheduleRun.job.in_(last), ScheduleRun.period, ScheduleRun.job).first()
    return run


def lease(run: ScheduleRun, until: datetime) -> None:
    """Keep other workers from the run until then, or until it is finished, paused or has failed."""
    _update(_is(run) & PENDING, next_attempt_at=until)


def finish(run: ScheduleRun, counts: dict[str, int], *, now: datetime) -> None:
    """Mark the run as done, and with it earlier runs of the job, whose work it did."""
    own = ScheduleRun.period == run.period
    counted = Case(None, [(own, Value(counts, converter=ScheduleRun.counts.db_value))], ScheduleRun.counts)
    earlier = (ScheduleRun.job == run.job) & (ScheduleRun.period <= run.period)
    _update(earlier & PENDING, state="done", counts=counted, finished_at=now)


def pause(run: ScheduleRun, after: Any, counts: dict[str, int], *, now: datetime) -> None:
    """Store where the run continues, as its time is up, and what it has counted so far. It is due again at `now`."""
    _update(_is(run) & PENDING, reached=after, counts=counts, next_attempt_at=now)


def fail(run: ScheduleRun, error: str, next_attempt_at: datetime, *, dead: bool) -> None:
    """Count the failure. The run is retried at `next_attempt_at`, or is dead: visible and not retried."""
    _update(
        _is(run),
        attempts=ScheduleRun.attempts + 1,
        error=error,
        next_attempt_at=next_attempt_at,
        state="dead" if dead else "pending",
    )


def prune(*, before: datetime) -> int:
    """Delete finished runs of periods before `before`. Returns how many."""
    finished = (ScheduleRun.state == "done") & (ScheduleRun.period < before)
    return int(database.transaction(lambda _: ScheduleRun.delete().where(finished).execute()))


def _is(run: ScheduleRun) -> Any:
    return (ScheduleRun.job == run.job) & (ScheduleRun.period == run.period)


def _update(condition: Any, **values: Any) -> None:
    database.transaction(lambda _: ScheduleRun.update(**values).where(condition).execute())
