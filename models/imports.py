"""Storage of balance imports beside the ledger: the rows imported so far, and the session limits of accounts.

An imported row is a row of `request` with the resource `import`, as a charge has `charge`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from models import arrays, database
from models.database import Connection
from models.errors import Conflict

RESOURCE = "import"

CUSTOM_PLANS = "SET LOCAL plan_cache_mode = force_custom_plan"
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('import:' || %s, 0))"
STORED = """
SELECT id, customer, content FROM request
WHERE app = %s AND resource = %s AND (customer = ANY(%s::text[]) OR id = ANY(%s::text[]))
"""
ACCOUNTS = "SELECT customer, id FROM account WHERE app = %s AND customer = ANY(%s::text[])"
STORE = """
INSERT INTO request (app, resource, id, customer, content, answer, created_at)
SELECT %s, %s, id, customer, content, answer::json, %s
FROM unnest(%s::text[], %s::text[], %s::jsonb[], %s::jsonb[]) AS new(id, customer, content, answer)
"""
SET_GATES = """
UPDATE account SET free_sessions_used = greatest(account.free_sessions_used, new.free_sessions_used),
                   cooldown_until = greatest(account.cooldown_until, new.cooldown_until), updated_at = %s
FROM (SELECT customer, max(used)::integer, max(until)
      FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[]) AS given(customer, used, until) GROUP BY customer)
  AS new(customer, free_sessions_used, cooldown_until)
WHERE account.app = %s AND account.customer = new.customer
"""


class Stored(NamedTuple):
    """A row that was imported before."""

    id: str
    customer: str
    content: dict[str, Any]


class Gate(NamedTuple):
    """A customer's used free sessions and cooldown in the older system."""

    customer: str
    free_sessions_used: int
    cooldown_until: datetime | None


def lock(conn: Connection, app: str) -> None:
    """Lock out other imports of the app until the end of the transaction.

    Raises:
        Conflict: another import is running.
    """
    database.require_transaction(conn)
    row = conn.execute(LOCK, [app]).fetchone()
    if not (row and row[0]):
        raise Conflict(f"another import for {app} is running")


def plan_each_statement(conn: Connection) -> None:
    """Never reuse a query plan in this transaction: plans made while the tables are small read them whole."""
    conn.execute(CUSTOM_PLANS)


def find(conn: Connection, app: str, customers: Collection[str], ids: Collection[str]) -> list[Stored]:
    """The rows imported before for these customers, or with these ids."""
    values = [app, RESOURCE, arrays.texts(customers), arrays.texts(ids)]
    return [Stored(*row) for row in conn.execute(STORED, values)]


def account_ids(conn: Connection, app: str, customers: Collection[str]) -> dict[str, int]:
    """The account ids by customer. Customers without an account are absent."""
    return dict(conn.execute(ACCOUNTS, [app, arrays.texts(customers)]).fetchall())


def store(
    conn: Connection, app: str, rows: Sequence[Stored], answers: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """Store the rows, each with its result."""
    columns = [
        arrays.texts([row.id for row in rows]),
        arrays.texts([row.customer for row in rows]),
        arrays.jsons([row.content for row in rows]),
        arrays.jsons(answers),
    ]
    conn.execute(STORE, [app, RESOURCE, now, *columns])


def set_gates(conn: Connection, app: str, gates: Sequence[Gate], *, now: datetime) -> None:
    """Store used free sessions and cooldowns on the accounts, where they exceed the stored ones."""
    columns = [
        arrays.texts([gate.customer for gate in gates]),
        arrays.ints([gate.free_sessions_used for gate in gates]),
        arrays.times([gate.cooldown_until for gate in gates]),
    ]
    conn.execute(SET_GATES, [now, *columns, app])
