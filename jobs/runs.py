"""The jobs that run on a schedule, or by hand: one table, name to function.

A job is a function of `now` that does one chunk and says where to go on; it is idempotent, so a chunk may be done
twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from jobs import maintenance
from jobs.chunks import Chunk
from jobs.ledger import expiry, holds
from jobs.outbox import expiry_alerts
from jobs.plans import grants
from jobs.reconciliation import run as reconciliation
from jobs.sessions import engine
from models.errors import NotFound

MOST_FOUND = 100
Job = Callable[..., Chunk]

JOBS: dict[str, Job] = {
    "expire": expiry.expire,
    "grant-monthly": grants.grant_monthly,
    "release-holds": holds.release_expired,
    "settle-sessions": engine.settle,
    "start-waiting": engine.start_waiting,
    "reconcile": reconciliation.whole,
    "reconcile-recent": reconciliation.recent,
    "tell-expiring": expiry_alerts.emit_expiring,
    "verify": maintenance.verify,
    "prune": maintenance.prune,
}
# They wait for others: what is due otherwise goes first, and one worker at a time is enough.
SLOW = ("reconcile", "reconcile-recent")
BY_HAND = ("expire", "grant-monthly", "release-holds", "settle-sessions", "start-waiting", "reconcile", "verify")


def chunks(job: str, *, now: datetime, app: str | None = None, after: Any = None) -> Iterator[Chunk]:
    """The chunks of a job until it is finished, each done when it is yielded; from `after` on, where one was left.

    Raises:
        NotFound: there is no such job.
    """
    if job not in JOBS:
        raise NotFound(f"no job {job!r}; there are {', '.join(JOBS)}")
    while True:
        step = JOBS[job](now=now, app=app, after=after)
        yield step
        if step.after is None:
            return
        after = step.after


def run(app: str | None, job: str, *, now: datetime) -> dict[str, Any]:
    """Run a job to its end, for one app or for all. Returns `{"job", "counts", "found", "more"}`: the first
    `MOST_FOUND` things that a person should look at, and how many others there are. By hand: `BY_HAND`.

    Raises:
        NotFound: there is no such job.
    """
    if job not in BY_HAND:
        raise NotFound(f"no job {job!r}; there are {', '.join(BY_HAND)}")
    counts: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    more = 0
    for step in chunks(job, now=now, app=app):
        counts.update(step.counts)
        room = MOST_FOUND - len(found)
        found += step.found[:room]
        more += len(step.found[room:])
    return {"job": job, "counts": dict(counts), "found": found, "more": more}
