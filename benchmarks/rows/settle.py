"""P1: usage reports, from pending rows to the ledger, by the default workers: real processes, woken up once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import redis

import workers.main
from benchmarks.customers import customers
from benchmarks.databases import Database, bound, measured
from benchmarks.frame import Bench, Measure, Row
from benchmarks.hot_paths.reports import accept
from models import database as db
from models.ledger import verify
from runtime import embedded, processes, supervisor
from runtime.embedded import Servers
from workers import wakeups
from workers.broker import NAMESPACE

PATIENCE_SECONDS = 120.0
LONGEST_POLL_SECONDS, SHORTEST_POLL_SECONDS = 0.2, 0.01
HEARTBEATS = f"{NAMESPACE}:__heartbeats__"
PENDING = "SELECT count(*) FROM usage_queue"
NOT_SETTLED = """
SELECT count(*) FROM usage_report r LEFT JOIN entry e ON e.app = r.app AND e.key = 'usage:' || r.external_id
WHERE r.state <> 'settled' OR e.id IS DISTINCT FROM r.entry_id OR -e.amount IS DISTINCT FROM r.units
"""


@contextmanager
def settle(bench: Bench) -> Iterator[Measure]:
    """Reports settled per second, from the wake-up until the queue is empty."""
    count = bench.size(40_000, 200_000)

    def measure() -> float:
        with bound(copy), _workers(bench, copy):
            accept(count, bench.customers)
            with measured(copy):
                seconds = _time_to_settle(copy)
        check_settled(copy)
        return count / seconds

    with customers(bench, "p1") as copy:
        yield measure
        check_books(copy)


def _time_to_settle(copy: Database) -> float:
    """Wake up the workers once. Returns the seconds until the queue is empty."""
    total = pending = copy.value(PENDING)
    began_at = time.perf_counter()
    assert wakeups.notify("usage"), "the wake-up was not sent"
    while pending:
        elapsed = time.perf_counter() - began_at
        assert elapsed < PATIENCE_SECONDS, f"{pending} reports are still pending"
        # Counting also loads the server: poll rarely at first, and often near the end.
        expected = pending * elapsed / (total - pending) if pending < total else LONGEST_POLL_SECONDS
        time.sleep(min(LONGEST_POLL_SECONDS, max(SHORTEST_POLL_SECONDS, expected / 2)))
        pending = copy.value(PENDING)
    return time.perf_counter() - began_at


@contextmanager
def _workers(bench: Bench, copy: Database) -> Iterator[None]:
    """Run the row `worker` of the supervisor's table, with all its processes started and idle."""
    _redis().flushdb()
    process = next(row for row in supervisor.table(bench.settings) if row.name == "worker")
    servers = Servers(copy.url, bench.servers.redis_url)
    process = replace(process, environment={**os.environ, **embedded.environment(bench.settings, servers)})
    with open(bench.settings.log_dir / "worker.log", "ab") as log:
        child = processes.spawn(process, log)
    try:
        _wait_until_up(bench, child)
        yield
    finally:
        processes.stop(process, child)


def _redis() -> redis.Redis:
    client: redis.Redis = workers.main.broker.client  # the broker with the declared actors
    return client


def _wait_until_up(bench: Bench, child: subprocess.Popen[bytes]) -> None:
    """Wait until every process sends heartbeats."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _redis().zcard(HEARTBEATS) < bench.settings.worker_processes:
        assert child.poll() is None, "the workers ended; see worker.log"
        assert time.monotonic() < deadline, "the workers do not start; see worker.log"
        time.sleep(LONGEST_POLL_SECONDS)


def check_settled(copy: Database) -> None:
    """Check that every accepted report is settled by one entry of its units. Raises AssertionError."""
    assert copy.value(NOT_SETTLED) == 0, f"{copy.value(NOT_SETTLED)} reports are not settled"


def check_books(copy: Database) -> None:
    """Check the invariants of the ledger. Raises AssertionError."""
    with bound(copy):
        checks = verify.verify(db.connection(), now=datetime.now(timezone.utc))
    failed = [check for check in checks if not check.ok]
    assert not failed, f"the ledger violates invariants: {failed}"


P1 = Row("P1", "settle", "usage reports settled by the default workers, 100,000 customers", "/s", settle, "L1", 2.0)
