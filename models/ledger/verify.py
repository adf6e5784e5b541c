"""The nine invariants of the ledger, checked over whole tables in one snapshot: `manage.py verify`.

A check runs a few statements; each finds the rows that violate one part of the invariant and names them by id. They are
set-based and lock nothing: a million entries take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import arrays
from models.database import Connection
from models.ledger import carries
from models.ledger.checks import CHECKS

PlanUnits = Mapping[str, Mapping[str, int]]
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
    plans: PlanUnits | None = None,
    alarm_age: timedelta = ALARM_AGE,
    progress: Callable[[Check], None] | None = None,
) -> list[Check]:
    """Check the nine invariants of one app, or of all apps, in one read-only snapshot.

    `plans`: the monthly units by app and plan, in addition to those that the grants' entries record. `alarm_age`: how
    long a usage report may stay pending. `progress` is called with each check as it ends.

    Raises:
        ActiveSqlTransaction: `conn` is in a transaction that has already run a query.
    """
    values = {"app": app, "now": now, "overdue": now - alarm_age, **_plan_columns(plans or {})}
    checks = []
    with conn.transaction():
        for setting in SNAPSHOT:
            conn.execute(setting)
        for number, (name, counted, finders) in enumerate([*CHECKS, carries.CHECK], start=1):
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


def _plan_columns(plans: PlanUnits) -> dict[str, str]:
    rows = [(app, plan, units) for app, sizes in plans.items() for plan, units in sizes.items()]
    return {
        "plan_apps": arrays.texts(app for app, _, _ in rows),
        "plan_names": arrays.texts(plan for _, plan, _ in rows),
        "plan_units": arrays.ints(units for _, _, units in rows),
    }


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
