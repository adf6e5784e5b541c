"""Deductions of the kernel: `ledger.post` in batches of 500."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial

from benchmarks.customers import APP, RATE, customer
from benchmarks.hot_paths.cpu import Piece
from models import database
from models.ledger.post import post
from models.planning.movements import Take

BATCH = 500
WARM_UP = 3_000  # from then on PostgreSQL keeps its plans


def pieces(database_url: str, count: int, accounts: int) -> Iterator[Piece]:
    """Batches of deductions, `count` in all."""
    for piece in _batches(min(count, WARM_UP), accounts):
        piece()
    yield from _batches(count, accounts)


def _batches(count: int, accounts: int) -> Iterator[Piece]:
    for first in range(0, count, BATCH):
        yield partial(post_batch, range(accounts), first, min(BATCH, count - first))


def post_batch(accounts: Sequence[int], number: int, size: int = BATCH) -> int:
    """Deductions of random accounts in one transaction. Returns how many were applied, which is all of them."""
    now = datetime.now(timezone.utc)
    prefix = f"usage:{os.getpid()}:{now.timestamp()}:{number}"
    takes = [
        Take(
            app=APP,
            customer=customer(random.choice(accounts)),
            key=f"{prefix}:{index}",
            units=1,
            reason=RATE,
            meta={"rate": RATE, "quantity": 60, "price": [1, 60, 0]},
            actor="usage",
            occurred_at=now,
            received_at=now,
        )
        for index in range(size)
    ]
    outcomes = database.transaction(lambda conn: post(conn, takes, now=now))
    applied = sum(outcome.status == "applied" and outcome.units == 1 for outcome in outcomes)
    assert applied == size, "a deduction was not applied"
    return applied
