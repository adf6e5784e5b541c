"""The scheduler process: `python -m scheduler.main`. APScheduler only triggers ticks; the state is in PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timezone

from apscheduler.schedulers.blocking import BlockingScheduler

import workers.main
from models import database
from models.errors import Unavailable
from scheduler.tick import poll, sweep, tick
from settings import settings
from workers.start import bind_database

TICK_SECONDS = 10
SANDBOX_TICK_SECONDS = 1
SWEEP_SECONDS = 15
POLL_SECONDS = 1


def guarded(work: Callable[[], object]) -> Callable[[], None]:
    """`work`, skipped while the database is unavailable, so that the scheduler keeps running."""

    def run() -> None:
        try:
            work()
        except Unavailable:
            database.discard()

    return run


def build() -> BlockingScheduler:
    """The scheduler with its three intervals: tick, sweep and poll."""
    options = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BlockingScheduler(timezone=timezone.utc, job_defaults=options)
    seconds = SANDBOX_TICK_SECONDS if settings.sandbox else TICK_SECONDS
    scheduler.add_job(guarded(tick), "interval", seconds=seconds, id="tick")
    scheduler.add_job(guarded(sweep), "interval", seconds=SWEEP_SECONDS, id="sweep")
    scheduler.add_job(guarded(poll), "interval", seconds=POLL_SECONDS, id="poll")
    return scheduler


def main() -> None:
    """Run the scheduler until SIGTERM or SIGINT."""
    assert workers.main.broker, "wake-ups need the declared actors"
    bind_database("scrip scheduler", threads=4)
    scheduler = build()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: scheduler.shutdown(wait=False))
    scheduler.start()


if __name__ == "__main__":
    main()
