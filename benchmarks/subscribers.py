"""The data set of the grant rows: many yearly subscriptions, each paid by one bill, with the first month granted.

One of them is made by the engine, from its facts. The others are copies of its rows under other names, because making
them one by one takes longer than the benchmark.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone

from benchmarks.databases import Database
from benchmarks.frame import Bench
from jobs.plans import reports
from jobs.providers.facts import PlanReported
from models import cycles, database
from models.catalog import catalog
from models.database import Connection
from models.ledger import accounts
from models.plans import stored_terms
from models.plans.facts import Bill, Interval, Item, Line, Snapshot

APP, PLAN, PROVIDER = "songs", "pro", "stripe"
PRICE, CUSTOMER, SUBSCRIPTION, BILL = "price_bench_0", "subscriber-0", "sub_bench_0", "in_bench_0"
ANCHOR = datetime(2026, 1, 15, 9, 0, tzinfo=timezone.utc)
# By the schedule: the month that the payment itself grants is the first of the year.
MONTHS = 11

# References between the rows of one subscription. The ids of a copy are those of the original plus its number × STEP.
STEP = 10
REFERENCES = {
    "account": ("id",),
    "subscription": ("id", "account_id"),
    "plan_fact": ("id",),
    "payment": ("id", "account_id", "subscription_id", "entry_id"),
    "entry": ("id", "account_id"),
    "lot": ("id", "account_id", "entry_id", "payment_id", "subscription_id"),
    "allocation": ("entry_id", "lot_id"),
}
COPY = """
INSERT INTO {table} OVERRIDING SYSTEM VALUE
SELECT made.* FROM {table} t CROSS JOIN generate_series(1, %s) AS n CROSS JOIN LATERAL jsonb_populate_record(t,
    replace(replace(to_jsonb(t)::text, 'subscriber-0', 'subscriber-' || n), '_bench_0', '_bench_' || n)::jsonb
    || jsonb_build_object({ids})) AS made
"""
ENDPOINT = """
INSERT INTO endpoint (app, external_id, url, events, secret, created_at, updated_at)
VALUES (%s, 'bench', 'https://app.example/hooks', '{grant.monthly}', 'whsec_bench', %s, %s)
"""
SEQUENCES = """
SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))
WHERE pg_get_serial_sequence('{table}', 'id') IS NOT NULL
"""
OWN_SEQUENCES = "SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"


def subscribers(bench: Bench, row: str, count: int) -> AbstractContextManager[Database]:
    """A database of the row with that many subscribers, whose second month is due one month after `ANCHOR`."""
    return bench.server.copy(row, f"subscribers_{count}", lambda: fill(count))


def due_at(month: int) -> datetime:
    """When the schedule grants that month: 1 for the second month of the year."""
    return cycles.cycle_start(ANCHOR, month) + timedelta(minutes=1)


def fill(count: int) -> None:
    """Make that many subscribers in the database that `models.database` is bound to."""

    def work(conn: Connection) -> None:
        app = catalog.current()[APP]
        stored_terms.note(conn, app, now=ANCHOR - timedelta(days=1))
        accounts.ensure(conn, APP, CUSTOMER, now=ANCHOR)
        for fact in _facts():
            reports.apply(conn, app, fact, now=ANCHOR)
        conn.execute("DELETE FROM activation_key")
        for table, names in REFERENCES.items():
            ids = ", ".join(f"'{name}', t.{name} + {STEP} * n" for name in names)
            conn.execute(COPY.format(table=table, ids=ids), [count - 1])
            if "id" in names:
                conn.execute((OWN_SEQUENCES if table in ("entry", "lot") else SEQUENCES).format(table=table))

    database.transaction(work)
    # With an endpoint, as in production: each grant writes a message and a delivery, too.
    database.write(ENDPOINT, [APP, ANCHOR, ANCHOR])


def _facts() -> list[PlanReported]:
    """An active subscription by the year, and its paid bill."""
    end = cycles.cycle_start(ANCHOR, 12)
    year = Interval("month", 12)
    snapshot = Snapshot(
        "evt_bench_0",
        ANCHOR,
        ANCHOR,
        "active",
        items=(Item("si_bench_0", PRICE, 1, year, ANCHOR, end),),
        anchor=ANCHOR,
        latest_invoice=BILL,
        customer=CUSTOMER,
        provider_customer="cus_bench_0",
        plan=PLAN,
    )
    line = Line("il_bench_0", ANCHOR, end, 29_900, item="si_bench_0", price=PRICE, interval=year)
    bill = Bill(
        "evt_bench_0_paid",
        BILL,
        "paid",
        ANCHOR,
        (line,),
        reason="subscription_create",
        total_minor=29_900,
        paid_minor=29_900,
        currency="usd",
        customer=CUSTOMER,
        provider_customer="cus_bench_0",
    )
    return [
        PlanReported(app=APP, event_id=fact.key, provider=PROVIDER, subscription=SUBSCRIPTION, fact=fact)
        for fact in (snapshot, bill)
    ]
