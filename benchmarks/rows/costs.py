"""C1, C2: what one pack event and one session start cost, in CPU time of Python and of PostgreSQL."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from statistics import mean

from benchmarks.customers import customers
from benchmarks.databases import measured
from benchmarks.frame import Bench, Measure, Row
from benchmarks.hot_paths import cpu, pack_events, session_starts, table
from benchmarks.hot_paths.cpu import Piece
from runtime import processes

MICROSECONDS = 1e6


def cost(
    name: str, pieces: Callable[[str, int, int], Iterator[Piece]], *, quick: int, full: int
) -> Callable[[Bench], AbstractContextManager[Measure]]:
    """Microseconds of CPU of one unit of the path, in a process of its own that does so many units a round."""

    @contextmanager
    def prepare(bench: Bench) -> Iterator[Measure]:
        count = bench.size(quick, full)

        def measure() -> dict[str, float]:
            with measured(copy):
                return child.submit(_measure, pieces, copy.url, count, bench.customers).result()

        context = multiprocessing.get_context("spawn")
        with customers(bench, name) as copy, ProcessPoolExecutor(1, context, _begin, (copy.url,)) as child:
            yield measure

    return prepare


def _measure(
    pieces: Callable[[str, int, int], Iterator[Piece]], database_url: str, count: int, accounts: int
) -> dict[str, float]:
    """The mean of the pieces."""
    costs = cpu.in_turns(database_url, {"": pieces(database_url, count, accounts)})[""]
    return {
        "python": mean(cost.python for cost in costs) * MICROSECONDS,
        "server": mean(cost.server for cost in costs) * MICROSECONDS,
    }


def _begin(database_url: str) -> None:
    processes.die_with_parent()
    table.set_up(database_url)


EVENT = cost("c1", pack_events.pieces, quick=500, full=2_000)
START = cost("c2", session_starts.pieces, quick=250, full=1_000)
C1 = Row("C1", "cost", "CPU time of one pack event, received and applied", "µs", EVENT)
C2 = Row("C2", "cost", "CPU time of one session start", "µs", START)
