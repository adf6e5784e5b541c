"""The table of the hot paths, and how a process is set up to measure them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.hot_paths import deductions, pack_events, reports, session_starts
from benchmarks.hot_paths.cpu import APPLICATION, Piece
from models import database
from workers.start import configure_logs, tune_garbage_collector

# Fewer than in a batch of the drain: the shorter a piece, the likelier is one that nothing disturbs.
EVENTS_A_PIECE = 10


@dataclass(frozen=True)
class HotPath:
    """One path. `pieces(database_url, count, accounts)` prepares, then yields pieces of work, then checks them."""

    pieces: Callable[[str, int, int], Iterator[Piece]]
    # The units of a short run.
    count: int


HOT_PATHS = {
    "K1": HotPath(deductions.pieces, 8_000),
    "P1": HotPath(reports.pieces, 8_000),
    "C1": HotPath(partial(pack_events.pieces, batch=EVENTS_A_PIECE), 160),
    "C2": HotPath(session_starts.pieces, 96),
}


def set_up(database_url: str) -> None:
    """Make this process like a worker: logs to stderr, few looks of the cycle collector, a pool of its own."""
    configure_logs()
    database.bind(database_url, max_connections=4, application_name=APPLICATION)
    tune_garbage_collector()
