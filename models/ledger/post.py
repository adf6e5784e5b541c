"""The ledger's kernel: `post` is the only writer of entries, allocations, lots, holds and balances.

A batch takes four steps in one transaction: lock the accounts in id order, in a separate statement; load the rows that
the movements name (models/ledger/load.py); plan in pure Python (models/planning/plan.py); write with a few set-based
statements (models/ledger/write.py). A single charge is a batch of one, so there is one code path. Alerts are written to
the outbox in the same transaction.

Locking and reading in one statement would read lots as they were before the lock was granted. The kernel writes
absolute values, so the changes of the transaction that held the lock would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from psycopg.errors import SerializationFailure, UniqueViolation

from models import database
from models.catalog import catalog
from models.database import Connection
from models.ledger import alerts
from models.ledger.load import key_columns, load
from models.ledger.write import write
from models.outbox import messages
from models.planning.movements import Movement, Outcome
from models.planning.plan import plan
from models.planning.state import Account, Policy, State

Key = tuple[str, str]

LOCK = """
SELECT a.id, a.app, a.customer, a.balance, a.held, a.debt, a.seq, a.ctid::text
FROM account a JOIN unnest(%s::text[], %s::text[]) AS named(app, customer)
  ON a.app = named.app AND a.customer = named.customer
ORDER BY a.id FOR NO KEY UPDATE OF a
"""
CREATE = """
INSERT INTO account (app, customer, created_at, updated_at)
SELECT app, customer, %(now)s, %(now)s
FROM unnest(%(apps)s::text[], %(customers)s::text[]) AS named(app, customer)
ORDER BY app, customer ON CONFLICT DO NOTHING
"""


def post(conn: Connection, movements: Sequence[Movement], *, now: datetime) -> list[Outcome]:
    """Post the batch inside the caller's transaction. `outcomes[i]` is the result of `movements[i]`.

    Movements of one account are applied in the order given. A refused movement writes nothing and does not affect the
    others; the caller decides whether a refusal rolls back.

    Raises:
        ValueError: a movement has negative units.
        SerializationFailure: a key of the batch was posted to another account meanwhile; retry the transaction.
    """
    if not movements:
        return []
    state = State()
    _lock(conn, state, movements, now)
    entry_ids, lot_ids, hold_ids = load(conn, state, movements, now)
    result = plan(state, movements, now=now, entry_ids=entry_ids, lot_ids=lot_ids, hold_ids=hold_ids)
    try:
        write(conn, result)
    except UniqueViolation as error:
        # Two transactions posted one key to two accounts at the same time. The retry finds the key.
        raise SerializationFailure("a key of the batch was posted by another transaction") from error
    messages.emit(conn, alerts.messages(result), now=now)
    return result.outcomes


def _lock(conn: Connection, state: State, movements: Iterable[Movement], now: datetime) -> None:
    """Lock the accounts that the movements name, in id order. Missing accounts are created."""
    named = {(movement.app, movement.customer) for movement in movements}
    _lock_named(conn, state, named)
    missing = sorted(named - state.accounts.keys())
    if missing:
        apps, customers = key_columns(missing)
        conn.execute(CREATE, {"now": now, "apps": apps, "customers": customers})
        _lock_named(conn, state, missing)


def _lock_named(conn: Connection, state: State, named: Iterable[Key]) -> None:
    database.require_transaction(conn)
    rows = conn.execute(LOCK, key_columns(list(named)), prepare=True, binary=True)
    policies: dict[str, Policy] = {}
    for id_, app, customer, balance, held, debt, seq, ctid in rows.fetchall():
        policy = policies.get(app) or policies.setdefault(app, policy_of(app))
        state.accounts[app, customer] = Account(id_, app, customer, balance, held, debt, seq, policy, ctid=ctid)


def policy_of(app: str) -> Policy:
    """The app's rules; the defaults for an app that is no longer in the catalog but still has balances."""
    known = catalog.current().apps.get(app)
    if known is None:
        return Policy()
    return Policy(known.burn_order, known.on_shortfall, known.refund_grace, known.alerts.low_balance, known.unit)
