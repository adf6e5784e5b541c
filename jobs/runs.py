"""The jobs that run on a schedule or on request: one table, name to function.

A job is a function of `now` that does one chunk and returns where the next one continues. It is idempotent, so a chunk
may be run twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from jobs import maintenance
from jobs.chunks import Chunk
from jobs.ledger import holds, lot_expiry
from jobs.outbox import expiry_alerts
from jobs.plans import grants
from jobs.reconciliation import run as reconciliation
from jobs.sessions import engine
from models.errors import NotFound

MOST_FOUND = 100
Job = Callable[..., Chunk]

JOBS: dict[str, Job] = {
    "expire": lot_expiry.expire,
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
# They wait for payment providers: other due jobs run first, and one worker at a time is enough.
SLOW = ("reconcile", "reconcile-recent")
ON_REQUEST = ("expire", "grant-monthly", "release-holds", "settle-sessions", "start-waiting", "reconcile", "verify")


def chunks(job: str, *, now: datetime, app: str | None = None, after: Any = None) -> Iterator[Chunk]:
    """Run a job to its end and yield each chunk when it is done. `after`: where an earlier run was interrupted.

    Raises:
        NotFound: there is no such job.
    """
    if job not in JOBS:
        raise NotFound(f"no job {job!r}; the jobs are {', '.join(JOBS)}")
    while True:
        chunk = JOBS[job](now=now, app=app, after=after)
        yield chunk
        if chunk.after is None:
            return
        after = chunk.after


def run(app: str | None, job: str, *, now: datetime) -> dict[str, Any]:
    """Run one of the jobs `ON_REQUEST` to its end, for one app or for all.

    Returns `{"job", "counts", "found", "more"}`: the first `MOST_FOUND` findings for an operator, and how many more
    there are.

    Raises:
        NotFound: there is no such job, or it does not run on request.
    """
    if job not in ON_REQUEST:
        raise NotFound(f"no job {job!r} runs on request; those that do are {', '.join(ON_REQUEST)}")
    counts: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    more = 0
    for chunk in chunks(job, now=now, app=app):
        counts.update(chunk.counts)
        room = MOST_FOUND - len(found)
        found += chunk.found[:room]
        more += len(chunk.found[room:])
    return {"job": job, "counts": dict(counts), "found": found, "more": more}
