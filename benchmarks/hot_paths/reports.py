"""Usage reports, from pending rows to the ledger, by the drain's job function."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timezone

from benchmarks.customers import APP, RATE, customer
from benchmarks.hot_paths.cpu import Piece
from jobs import usage
from models.catalog import catalog

REPORTS_A_REQUEST = 1_000
# Small batches: PostgreSQL keeps a plan from the sixth run of a statement on.
WARM_UP, WARM_UP_BATCH = 1_500, 100


def pieces(database_url: str, count: int, accounts: int) -> Iterator[Piece]:
    """Batches of pending reports that are settled, until `count` are."""
    accept(min(count, WARM_UP), accounts)
    while _settle(WARM_UP_BATCH):
        pass
    accept(count, accounts)
    settled: list[int] = []

    def settle() -> int:
        settled.append(_settle())
        assert settled[-1], "a report was not settled"
        return settled[-1]

    while sum(settled) < count:
        yield settle
    assert not _settle(), "a report was not settled"


def _settle(limit: int = usage.BATCH) -> int:
    return usage.settle(now=datetime.now(timezone.utc), limit=limit)


def accept(count: int, accounts: int) -> None:
    """Accept that many reports of random customers, each one minute, as the receiver does."""
    app, now = catalog.current()[APP], datetime.now(timezone.utc)
    for first in range(0, count, REPORTS_A_REQUEST):
        size = min(REPORTS_A_REQUEST, count - first)
        reports = [_report(f"{now.timestamp()}:{first + index}", accounts) for index in range(size)]
        accepted, _ = usage.accept(app, reports, now=now)
        assert accepted == size, "a report was not accepted"


def _report(report_id: str, accounts: int) -> dict[str, object]:
    return {"id": report_id, "customer": customer(random.randrange(accounts)), "rate": RATE, "quantity": 60}
