"""The nine invariants of the ledger, checked over whole tables in one snapshot: `manage.py verify`.

A check runs a few statements; each finds the rows that violate one part of the invariant and names them by id. They are
set-based and lock nothing: a million entries take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.database import Connection
from models.ledger import carries
from models.ledger.checks import CHECKS, PLANS

# (now, overdue, app) to (how many subscriptions, a text for each difference).
PlanCheck = Callable[..., tuple[int, list[str]]]
NAMED_FAILURES = 20
ALARM_AGE = timedelta(minutes=15)
# Parallel workers halve the time. At the default parallel_tuple_cost the planner does not start them, because it
# estimates every row to be a failure. Shared hash tables would need more /dev/shm than a container has by default.
SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL statement_timeout = '30min'",
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL jit = off",
    "SET LOCAL parallel_tuple_cost = 0",
    "SET LOCAL enable_parallel_hash = off",
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of checking one invariant. `failures`: a text with the id of each of the first `NAMED_FAILURES`.

    `checked` counts the rows that the invariant is about: accounts, lots, entries, payments, reports, cycles or holds.
    """

    number: int
    name: str
    ok: bool
    checked: int
    failed: int
    failures: list[str]


def verify(
    conn: Connection,
    *,
    now: datetime,
    app: str | None = None,
    plans: PlanCheck | None = None,
    alarm_age: timedelta = ALARM_AGE,
    progress: Callable[[Check], None] | None = None,
) -> list[Check]:
    """Check the nine invariants of one app, or of all apps, in one read-only snapshot.

    `plans` compares plans with their facts; None: they are not checked. `alarm_age`: how long a usage report may stay
    pending, and a grant be due. `progress` is called with each check as it ends.

    Raises:
        ActiveSqlTransaction: `conn` is in a transaction that has already run a query.
    """
    values = {"app": app, "now": now, "overdue": now - alarm_age}
    checks = []
    with conn.transaction():
        for setting in SNAPSHOT:
            conn.execute(setting)
        for number, (name, counted, finders) in enumerate([*CHECKS, carries.CHECK], start=1):
            if name == PLANS:
                checks.append(_check_plans(conn, number, plans, values))
            else:
                checks.append(_check(conn, number, name, counted, finders, values))
            if progress:
                progress(checks[-1])
    return checks


def _check(
    conn: Connection, number: int, name: str, counted: str, finders: list[str], values: Mapping[str, Any]
) -> Check:
    tables = WHOLE if values["app"] is None else OF_ONE_APP
    (checked,) = conn.execute(f"SELECT count(*) FROM {counted}".format(**tables), values).fetchone() or (0,)
    failed, failures = 0, []
    for finder in finders:
        sample = f"SELECT text, count(*) OVER () FROM ({finder}) AS f(text) ORDER BY text LIMIT {NAMED_FAILURES}"
        rows = conn.execute(sample.format(**tables), values).fetchall()
        failed += rows[0][1] if rows else 0
        failures += [text for text, _ in rows]
    return Check(number, name, not failed, checked, failed, failures[:NAMED_FAILURES])


def _check_plans(conn: Connection, number: int, plans: PlanCheck | None, values: Mapping[str, Any]) -> Check:
    checked, failures = plans(conn, **values) if plans else (0, [])
    return Check(number, PLANS, not failures, checked, len(failures), sorted(failures)[:NAMED_FAILURES])


# Lots, carried totals and allocations have no `app` column. For all apps the bare tables are read, so that rows without
# an account are found as well.
WHOLE = {
    "account": "account",
    "entry": "entry",
    "lot": "lot",
    "allocation": "allocation",
    "hold": "hold",
    "carry": "carry",
    "payment": "payment",
    "session": "session",
    "usage_report": "usage_report",
    "usage_queue": "usage_queue",
}
OF_ONE_APP = {name: f"(SELECT * FROM {name} WHERE app = %(app)s)" for name in WHOLE} | {
    "lot": "(SELECT * FROM lot WHERE account_id IN (SELECT id FROM account WHERE app = %(app)s))",
    "carry": "(SELECT * FROM carry WHERE account_id IN (SELECT id FROM account WHERE app = %(app)s))",
    "allocation": "(SELECT * FROM allocation WHERE entry_id IN (SELECT id FROM entry WHERE app = %(app)s))",
}
