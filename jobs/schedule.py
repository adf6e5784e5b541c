"""Runs what the scheduler recorded, in chunks, on a worker."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta

from jobs import dead_letters, runs
from models.errors import Unavailable
from models.operations import schedule
from models.tables import ScheduleRun

LONGEST_SECONDS = 20.0
ATTEMPTS = 8
LONGEST_REASON = 2000
# Longer than the longest chunk of a slow job: one page of a provider that does not respond until the timeout.
LEASE = timedelta(minutes=3)


def run_due(*, now: datetime) -> int:
    """Run the oldest recorded run that is due. Returns 1, or 0 if there is none."""
    run = schedule.next_run(now=now, last=runs.SLOW)
    if run is None:
        return 0
    if run.job in runs.SLOW:
        schedule.lease(run, now + LEASE)
    try:
        counts = _run(run, now)
    except Unavailable:
        raise
    except Exception as error:
        _count_failure(run, error, now)
        return 1
    if counts is not None:
        schedule.finish(run, counts, now=now)
    return 1


def _count_failure(run: ScheduleRun, error: Exception, now: datetime) -> None:
    is_dead = run.attempts + 1 >= ATTEMPTS
    next_step = "The next run of the job does the work of this one." if is_dead else "It is retried automatically."
    dead_letters.log_defect(error, job=run.job, period=run.period.isoformat())
    schedule.fail(
        run,
        dead_letters.operator_message(error, next_step)[:LONGEST_REASON],
        now + dead_letters.backoff(run.attempts + 1),
        dead=is_dead,
    )


def _run(run: ScheduleRun, now: datetime) -> dict[str, int] | None:
    """The counts of the whole run, or None if its time is up before its end: the next wake-up continues it.

    A job whose chunks leave no trace in the database returns where it continues as a dict, which is stored.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    counts: Counter[str] = Counter(run.counts or {})
    for chunk in runs.chunks(run.job, now=now, after=run.reached):
        counts.update(chunk.counts)
        if chunk.after is not None and time.monotonic() > deadline:
            if isinstance(chunk.after, dict):
                schedule.pause(run, chunk.after, dict(counts), now=now)
            return None
    return dict(counts)
