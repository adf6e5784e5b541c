"""K1, K2: the kernel alone: `ledger.post` in batches of 500 deductions, on one connection and on two in parallel."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from benchmarks.customers import customers
from benchmarks.databases import Database, measured
from benchmarks.frame import Bench, Measure, Row
from benchmarks.hot_paths.deductions import BATCH, post_batch
from models import database
from workers.start import tune_garbage_collector

WARM_UP_BATCHES = 6  # after these, PostgreSQL reuses its plans
START_SECONDS = 60.0


def kernel(processes: int) -> Callable[[Bench], AbstractContextManager[Measure]]:
    """Deductions per second of `processes` processes on disjoint accounts, like parallel drains."""

    @contextmanager
    def prepare(bench: Bench) -> Iterator[Measure]:
        seconds = bench.size(3, 5)

        def measure() -> float:
            before = _deductions(copy)
            with measured(copy):
                rate, posted = _together(copy, bench.customers, processes, seconds)
            assert _deductions(copy) - before == posted, "an entry is missing"
            return rate

        with customers(bench, f"k{processes}") as copy:
            yield measure

    return prepare


def _deductions(copy: Database) -> int:
    return copy.value("SELECT count(*) FROM entry WHERE type = 'deduction'")


def _together(copy: Database, accounts: int, processes: int, seconds: int) -> tuple[float, int]:
    """The sum of the rates of the processes, and the number of posted deductions, including the warm-up."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    children = [
        context.Process(
            target=_post_batches,
            args=(copy.url, range(number, accounts, processes), seconds, start, results),
            daemon=True,
        )
        for number in range(processes)
    ]
    for child in children:
        child.start()
    counts = [results.get(timeout=START_SECONDS + seconds) for _ in children]
    for child in children:
        child.join()
    return sum(rate for rate, _ in counts), sum(posted for _, posted in counts)


def _post_batches(url: str, accounts: range, seconds: int, start: Barrier, results: Queue[tuple[float, int]]) -> None:
    """One process, configured like a worker, that posts batches for random accounts sequentially."""
    database.bind(url, max_connections=1, application_name="scrip benchmark")
    tune_garbage_collector()
    number = 0
    for number in range(1, WARM_UP_BATCHES + 1):
        post_batch(accounts, number)
    start.wait(START_SECONDS)
    began_at = time.perf_counter()
    posted, elapsed = 0, 0.0
    while elapsed < seconds:
        number += 1
        posted += post_batch(accounts, number)
        elapsed = time.perf_counter() - began_at
    database.database.close_all()
    results.put((posted / elapsed, posted + WARM_UP_BATCHES * BATCH))


K1 = Row("K1", "kernel", "the kernel, batches of 500, one connection", "/s", kernel(1), limit="L1", target=2.5)
K2 = Row("K2", "kernel", "the same, two processes at once", "/s", kernel(2), limit="L1")
