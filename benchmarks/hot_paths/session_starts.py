"""Session starts of the app with the longest gate: a tier, one session at a time, a balance, and a reserve on hold."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial

from benchmarks.databases import Database
from benchmarks.hot_paths.cpu import Piece
from jobs.sessions import sessions
from models import database
from models.catalog import catalog
from models.ledger.post import post
from models.planning.movements import Grant

APP, TIER = "voice-therapy", "firewall"
UNITS = 200  # more than the reserve
WARM_UP, GROUP = 30, 6


def pieces(database_url: str, count: int, accounts: int) -> Iterator[Piece]:
    """Groups of starts, `count` in all, each of a new customer, beside `accounts` that have no session."""
    warm_up = min(count, WARM_UP)
    callers = _callers(database_url, warm_up + count)
    _start(callers[:warm_up])
    for first in range(warm_up, len(callers), GROUP):
        yield partial(_start, callers[first : first + GROUP])


def _callers(database_url: str, count: int) -> list[str]:
    """New customers that the gate lets through."""
    stamp = time.time_ns()
    names = [f"caller-{stamp}-{number}" for number in range(count)]
    grants = [
        Grant(app=APP, customer=name, key=f"gift:{name}", units=UNITS, type="bonus", source="gift") for name in names
    ]
    database.transaction(lambda conn: post(conn, grants, now=datetime.now(timezone.utc)))
    Database(database_url).run(f"UPDATE account SET tier = '{TIER}' WHERE app = '{APP}' AND tier IS NULL")
    return names


def _start(callers: Sequence[str]) -> int:
    app = catalog.current()[APP]
    for name in callers:
        body = {"id": f"session-{name}", "customer": name, "metadata": {"voice": "calm"}}
        answer, status = sessions.start(app, body, now=datetime.now(timezone.utc))
        assert (status, answer["state"]) == (201, "active"), "a session did not start"
    return len(callers)
