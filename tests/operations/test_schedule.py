"""The schedule: each (job, period) once, on any number of nodes, and all that is due after any downtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from jobs import runs
from jobs import schedule as running
from jobs.chunks import Chunk
from models import database
from models.errors import NotFound
from models.operations import schedule
from models.tables import ScheduleRun
from tests.support.cast import ADA, balance, give

pytestmark = pytest.mark.usefixtures("db")
HOURLY = [("expire", timedelta(hours=1))]


def test_a_period_is_recorded_once(now: datetime) -> None:
    assert schedule.record(HOURLY, now=now) == ["expire"]
    assert schedule.record(HOURLY, now=now + timedelta(minutes=59)) == []
    assert schedule.record(HOURLY, now=now + timedelta(hours=1)) == ["expire"]


def test_five_schedulers_at_once_record_a_period_once(now: datetime) -> None:
    def tick(_: int) -> int:
        try:
            return len(schedule.record(HOURLY, now=now))
        finally:
            database.release()

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(tick, range(25))) == 1
    assert database.read("SELECT count(*) FROM schedule_run") == [(1,)]


@pytest.mark.parametrize(
    "day", [datetime(2026, 3, 8, 7, tzinfo=timezone.utc), datetime(2026, 11, 1, 5, tzinfo=timezone.utc)]
)
def test_a_day_with_a_change_of_clocks_has_24_hourly_periods_like_any_other(day: datetime) -> None:
    periods = {schedule.period_of(day + timedelta(minutes=10 * n), timedelta(hours=1)) for n in range(24 * 6)}
    assert len(periods) == 24


def test_one_run_after_downtime_does_all_that_is_due(now: datetime) -> None:
    give(ADA, 10, now=now, expires_after=timedelta(days=1))
    give(ADA, 20, now=now, expires_after=timedelta(days=20))
    schedule.record(HOURLY, now=now)
    later = now + timedelta(days=40)
    schedule.record(HOURLY, now=later)
    while running.run_due(now=later):
        pass
    assert balance(ADA) == 0
    assert database.read("SELECT DISTINCT state FROM schedule_run") == [("done",)]


def test_a_run_that_is_done_finishes_earlier_ones_of_its_job_which_keep_what_they_counted(now: datetime) -> None:
    later = now + timedelta(hours=1)
    for jobs, moment in ((HOURLY, now), ([*HOURLY, ("prune", timedelta(hours=1))], later)):
        schedule.record(jobs, now=moment)
    first, last = ScheduleRun.select().where(ScheduleRun.job == "expire").order_by(ScheduleRun.period)
    schedule.pause(first, {"lot": 7}, {"lots": 2}, now=later)
    schedule.finish(last, {"lots": 5}, now=later)
    rows = database.read("SELECT job, state, reached, counts, finished_at FROM schedule_run ORDER BY job, period")
    assert rows == [
        ("expire", "done", {"lot": 7}, {"lots": 2}, later),
        ("expire", "done", None, {"lots": 5}, later),
        ("prune", "pending", None, None, None),
    ]
    assert schedule.prune(before=last.period) == 1


def test_a_failing_job_backs_off_and_does_not_stop_the_others(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> Chunk:
        raise RuntimeError("no")

    monkeypatch.setitem(runs.JOBS, "expire", broken)
    schedule.record([*HOURLY, ("prune", timedelta(hours=1))], now=now)
    while running.run_due(now=now):
        pass
    rows = database.read("SELECT job, state, attempts, error FROM schedule_run ORDER BY job")
    told = "Internal error: no. See the worker log for the traceback. It is retried automatically."
    assert rows == [("expire", "pending", 1, told), ("prune", "done", 0, None)]


def test_a_job_that_fails_time_and_again_is_dead_and_says_that_the_next_one_does_its_work(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> Chunk:
        raise RuntimeError("no")

    monkeypatch.setitem(runs.JOBS, "expire", broken)
    schedule.record(HOURLY, now=now)
    for attempt in range(running.ATTEMPTS):
        running.run_due(now=now + timedelta(hours=2 * attempt))
    ((state, error),) = database.read("SELECT state, error FROM schedule_run")
    assert state == "dead"
    assert error.startswith("Internal error: no. See the worker log for the traceback. ")
    assert error.endswith("The next run of the job does the work of this one.")


def test_a_job_that_nobody_knows_is_named_with_those_there_are(now: datetime) -> None:
    with pytest.raises(NotFound, match="those that do are expire"):
        runs.run(None, "dance", now=now)


def test_expiry_takes_more_lots_than_fit_a_chunk(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.ledger import lot_expiry

    monkeypatch.setattr(lot_expiry, "CHUNK", 7)
    for number in range(20):
        give(f"c{number}", 5, now=now, expires_after=timedelta(hours=number + 1))
    counts = runs.run("ai-services", "expire", now=now + timedelta(hours=15))["counts"]
    assert (counts["lots"], counts["units"]) == (15, 75)


def test_a_run_for_one_app_leaves_the_others_alone(now: datetime) -> None:
    give(ADA, 5, now=now, expires_after=timedelta(hours=1))
    give(ADA, 5, now=now, expires_after=timedelta(hours=1), slug="songs")
    runs.run("songs", "expire", now=now + timedelta(hours=2))
    assert (balance(ADA), balance(ADA, "songs")) == (5, 0)
