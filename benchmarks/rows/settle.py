"""P1: usage reports, from pending rows to the ledger, by the default workers: real processes, rung once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import redis

import embedded
import processes
import supervisor
from benchmarks.customers import customers
from benchmarks.databases import Database, bound, measured
from benchmarks.frame import Bench, Measure, Row
from benchmarks.hot_paths.reports import accept
from embedded import Servers
from models import database as db
from models import verify
from workers import main as actors
from workers import rings
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
    """Reports settled a second, from the ring until the queue is empty."""
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
    """Ring once; the seconds until nothing is queued."""
    whole = pending = copy.value(PENDING)
    began_at = time.perf_counter()
    assert rings.ring("usage"), "the ring was not sent"
    while pending:
        elapsed = time.perf_counter() - began_at
        assert elapsed < PATIENCE_SECONDS, f"{pending} reports are still pending"
        # Counting costs the server time too: look seldom at first, and often near the end.
        expected = pending * elapsed / (whole - pending) if pending < whole else LONGEST_POLL_SECONDS
        time.sleep(min(LONGEST_POLL_SECONDS, max(SHORTEST_POLL_SECONDS, expected / 2)))
        pending = copy.value(PENDING)
    return time.perf_counter() - began_at


@contextmanager
def _workers(bench: Bench, copy: Database) -> Iterator[None]:
    """The row `worker` of the supervisor's table, every process of it up and then idle."""
    _redis().flushdb()
    process = next(it for it in supervisor.table(bench.settings) if it.name == "worker")
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
    client: redis.Redis = actors.broker.client  # which knows the actor that a ring goes to
    return client


def _wait_until_up(bench: Bench, child: subprocess.Popen[bytes]) -> None:
    """Until every process says that it listens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _redis().zcard(HEARTBEATS) < bench.settings.worker_processes:
        assert child.poll() is None, "the workers ended; see worker.log"
        assert time.monotonic() < deadline, "the workers do not start; see worker.log"
        time.sleep(LONGEST_POLL_SECONDS)


def check_settled(copy: Database) -> None:
    """Every report that was accepted is settled, by one entry of its units. Raises AssertionError."""
    assert copy.value(NOT_SETTLED) == 0, f"{copy.value(NOT_SETTLED)} reports are not settled"


def check_books(copy: Database) -> None:
    """The eight invariants hold. Raises AssertionError."""
    with bound(copy):
        checks = verify.verify(db.connection(), now=datetime.now(timezone.utc))
    failed = [check for check in checks if not check.ok]
    assert not failed, f"the books do not add up: {failed}"


P1 = Row("P1", "settle", "usage reports settled by the default workers, 100,000 customers", "/s", settle, "L1", 2.0)
