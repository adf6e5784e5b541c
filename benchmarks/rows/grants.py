"""L4 and P8: the monthly grant, as one plain statement over all accounts, and as a run of the schedule.

A run grants months that were computed when their bill was reported; it reads no facts. Computing what is owed from new
facts is part of applying an event (C1's kind of work), not of this row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as numbers

from benchmarks.databases import bound, measured
from benchmarks.frame import Bench, Measure, Row
from benchmarks.rows.settle import check_books
from benchmarks.subscribers import MONTHS, due_at, subscribers
from jobs.plans import grants

UNITS = 1000
# One statement that writes the same rows as a run: lots, entries, allocations, messages and balances.
PLAIN = """
WITH owed AS MATERIALIZED (
    SELECT id AS account_id, app, customer, balance, seq, nextval('entry_id_seq') AS entry_id,
           nextval('lot_id_seq') AS lot_id
    FROM account WHERE app = 'songs'
), entries AS (
    INSERT INTO entry (id, app, account_id, seq, amount, type, reason, key, balance_before, balance_after, actor, meta,
                       created_at)
    SELECT entry_id, app, account_id, seq + 1, {units}, 'subscription_grant', 'pro', 'grant:{number}:' || account_id,
           balance, balance + {units}, 'schedule', jsonb_build_object('plan', 'pro', 'units', {units}), now() FROM owed
), lots AS (
    INSERT INTO lot (id, account_id, entry_id, source, granted, remaining, effective_at)
    SELECT lot_id, account_id, entry_id, 'plan:pro', {units}, {units}, now() FROM owed
), allocations AS (
    INSERT INTO allocation (entry_id, lot_id, amount) SELECT entry_id, lot_id, {units} FROM owed
), messages AS (
    INSERT INTO outbox_message (app, type, customer, data, created_at)
    SELECT app, 'grant.monthly', customer, json_build_object('plan', 'pro', 'units', {units}), now() FROM owed
    RETURNING id, app
), deliveries AS (
    INSERT INTO outbox_delivery (app, message_id, endpoint_id, next_attempt_at, created_at)
    SELECT m.app, m.id, e.id, now(), now() FROM messages m JOIN endpoint e ON e.app = m.app
)
UPDATE account a SET balance = a.balance + {units}, seq = a.seq + 1, updated_at = now()
FROM owed WHERE a.id = owed.account_id
"""


def _size(bench: Bench) -> int:
    return bench.size(10_000, 100_000)


@contextmanager
def plain(bench: Bench) -> Iterator[Measure]:
    """Grants per second of one statement over all subscribers."""
    count, rounds = _size(bench), numbers()

    def measure() -> float:
        with measured(copy):
            began_at = time.perf_counter()
            copy.run(PLAIN.format(units=UNITS, number=next(rounds)))
            seconds = time.perf_counter() - began_at
        return count / seconds

    with subscribers(bench, "l4", count) as copy:
        yield measure


@contextmanager
def run(bench: Bench) -> Iterator[Measure]:
    """Grants per second of a run of the schedule, in one process, until no subscription is due."""
    count, months = _size(bench), iter(range(1, MONTHS + 1))

    def measure() -> float:
        now = due_at(next(months))
        with measured(copy), bound(copy):
            began_at = time.perf_counter()
            granted = 0
            while units := grants.grant_monthly(now=now).counts["units"]:
                granted += units
            seconds = time.perf_counter() - began_at
        assert granted == count * UNITS, f"{granted} units were granted, not {count * UNITS}"
        return count / seconds

    with subscribers(bench, "p8", count) as copy:
        yield measure
        check_books(copy)


L4 = Row("L4", "grants", "one statement that grants a month to 100,000 subscribers", "/s", plain)
P8 = Row("P8", "grants", "the monthly grant of 100,000 subscribers, one process", "/s", run, "L4", 0.8)
