"""CPU time of pieces of work: of this process, and of the PostgreSQL backends that serve it.

On a machine that others share, CPU time says more than elapsed time: it does not count waiting for a core or a disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import psutil
import psycopg

NANOSECONDS = 10**9
# The measured connections have this name; those that prepare and check have none.
APPLICATION = "scrip hot paths"
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
# A piece of work; it returns how many units it did.
Piece = Callable[[], int]


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of one unit: `python` of this process with all its threads, `server` of its database backends."""

    python: float
    server: float


def begun(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces; what precedes the first one is done now."""
    return chain([next(pieces)], pieces)


def in_turns(
    database_url: str, paths: Mapping[str, Iterator[Piece]], wait: Callable[[], Any] = lambda: None
) -> dict[str, list[Cpu]]:
    """The CPU time of one unit in each piece of each path: one piece of each path is a turn, with a `wait` before it.

    What a path does between its pieces is not counted, nor are background processes of the server.

    Raises:
        RuntimeError: a measured connection was closed, so that the CPU time of its backend is unknown.
    """
    costs: dict[str, list[Cpu]] = {name: [] for name in paths}
    with psycopg.connect(database_url, autocommit=True) as observer:
        for turn in zip_longest(*paths.values()):
            wait()
            for name, piece in zip(paths, turn, strict=True):
                if piece is not None:
                    costs[name].append(_of(observer, piece))
    return costs


def _of(observer: psycopg.Connection[Any], piece: Piece) -> Cpu:
    before = _backends(observer)
    began_at = time.process_time()
    units = piece()
    python = time.process_time() - began_at
    after = _backends(observer)
    if before.keys() - after.keys():
        raise RuntimeError("a measured connection to the database was closed")
    server = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
    return Cpu(python / units, server / units)


def _backends(observer: psycopg.Connection[Any]) -> dict[int, float]:
    """CPU seconds by process id."""
    return {pid: cpu_seconds(pid) for (pid,) in observer.execute(BACKENDS, [APPLICATION])}


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process of one thread has used: to the nanosecond on Linux, else to the clock's tick."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / NANOSECONDS
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
