"""Subscriptions as stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

from models import arrays, database
from models.database import Connection
from models.plans.subscription import Period, Subscription

COLUMNS = """s.id, s.app, a.customer, s.account_id, s.provider, s.provider_id, s.plan, s.status, s.anchor,
s.current_period_end, s.paid_until, s.paid, s.withheld, s.cycle_base, s.next_cycle, s.next_cycle_at, s.granted_at,
s.changed_at, s.plan_at, s.promised_plan, s.promised_units, s.promised_cycle"""


def _of(row: Sequence[Any]) -> Subscription:
    subscription = Subscription(*row)
    subscription.paid = [_period(times) for times in subscription.paid]
    subscription.withheld = {why: _period(times) if times else None for why, times in subscription.withheld.items()}
    return subscription


def _period(times: Any) -> Period:
    """A period as JSON has it: two texts, of which the second may be null."""
    start, end = times
    return Period(datetime.fromisoformat(start), datetime.fromisoformat(end) if end else None)


def _written(periods: Any) -> str:
    return orjson.dumps(
        periods,
        default=lambda period: [period.start, period.end],
        option=orjson.OPT_PASSTHROUGH_DATACLASS,
    ).decode()


def lock(conn: Connection, app: str, provider: str, provider_id: str) -> Subscription | None:
    """The subscription, locked until the end of the transaction."""
    database.require_transaction(conn)
    row = conn.execute(
        f"""SELECT {COLUMNS} FROM subscription s JOIN account a ON a.id = s.account_id
        WHERE s.app = %s AND s.provider = %s AND s.provider_id = %s FOR UPDATE OF s""",
        [app, provider, provider_id],
    ).fetchone()
    return _of(row) if row else None


def lock_by_id(conn: Connection, subscription_id: int) -> Subscription:
    """The subscription of this row, locked until the end of the transaction."""
    database.require_transaction(conn)
    row = conn.execute(
        f"SELECT {COLUMNS} FROM subscription s JOIN account a ON a.id = s.account_id WHERE s.id = %s FOR UPDATE OF s",
        [subscription_id],
    ).fetchone()
    assert row is not None, "a payment's subscription is never deleted"
    return _of(row)


def lock_due(conn: Connection, now: datetime, *, apps: Sequence[str], limit: int) -> list[Subscription]:
    """Subscriptions with a cycle to grant, locked. Rows that another transaction has locked are skipped."""
    database.require_transaction(conn)
    rows = conn.execute(
        f"""SELECT {COLUMNS} FROM subscription s JOIN account a ON a.id = s.account_id
        WHERE s.next_cycle_at <= %s AND s.app = ANY(%s) ORDER BY s.next_cycle_at, s.id LIMIT %s
        FOR UPDATE OF s SKIP LOCKED""",
        [now, list(apps), limit],
    )
    return [_of(row) for row in rows]


def lock_of_account(conn: Connection, app: str, customer: str) -> list[Subscription]:
    """All subscriptions of a customer, locked."""
    database.require_transaction(conn)
    rows = conn.execute(
        f"""SELECT {COLUMNS} FROM subscription s JOIN account a ON a.id = s.account_id
        WHERE a.app = %s AND a.customer = %s ORDER BY s.id FOR UPDATE OF s""",
        [app, customer],
    )
    return [_of(row) for row in rows]


def insert(conn: Connection, subscription: Subscription, *, now: datetime) -> Subscription:
    """Store a new subscription and return it with its id. If one was stored meanwhile, that one is returned, locked."""
    row = conn.execute(
        """INSERT INTO subscription (app, account_id, provider, provider_id, plan, status, anchor, current_period_end,
            paid_until, cycle_base, next_cycle, changed_at, plan_at, promised_plan, promised_units, promised_cycle,
            created_at, updated_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (app, provider, provider_id) DO NOTHING RETURNING id""",
        [
            subscription.app,
            subscription.account_id,
            subscription.provider,
            subscription.provider_id,
            subscription.plan,
            subscription.status,
            subscription.anchor,
            subscription.current_period_end,
            subscription.paid_until,
            subscription.cycle_base,
            subscription.next_cycle,
            subscription.changed_at,
            subscription.plan_at,
            subscription.promised_plan,
            subscription.promised_units,
            subscription.promised_cycle,
            now,
            now,
        ],
    ).fetchone()
    if row is None:
        found = lock(conn, subscription.app, subscription.provider, subscription.provider_id)
        assert found is not None
        return found
    subscription.id = row[0]
    return subscription


def save(conn: Connection, subscription: Subscription, *, now: datetime) -> None:
    """Write back what a provider's event changed."""
    conn.execute(
        """UPDATE subscription SET plan = %s, status = %s, anchor = %s, current_period_end = %s, paid_until = %s,
            paid = %s::jsonb, withheld = %s::jsonb, cycle_base = %s, changed_at = %s, plan_at = %s, updated_at = %s
        WHERE id = %s""",
        [
            subscription.plan,
            subscription.status,
            subscription.anchor,
            subscription.current_period_end,
            subscription.paid_until,
            _written(subscription.paid),
            _written(subscription.withheld),
            subscription.cycle_base,
            subscription.changed_at,
            subscription.plan_at,
            now,
            subscription.id,
        ],
    )


SAVE_CYCLES = """
UPDATE subscription s SET next_cycle = new.next_cycle, next_cycle_at = new.next_cycle_at, granted_at = new.granted_at
FROM unnest(%s::bigint[], %s::int[], %s::timestamptz[], %s::timestamptz[])
  AS new(id, next_cycle, next_cycle_at, granted_at)
WHERE s.id = new.id
"""


def save_cycles(conn: Connection, many: Sequence[Subscription], *, parked: set[int]) -> None:
    """Store the granted cycles and when the next one is owed: never, for those in `parked`, whose plan is unknown."""
    for subscription in many:
        subscription.next_cycle_at = subscription.next_owed() if subscription.id not in parked else None
    conn.execute(
        SAVE_CYCLES,
        [
            arrays.ints([subscription.id for subscription in many]),
            arrays.ints([subscription.next_cycle for subscription in many]),
            arrays.times([subscription.next_cycle_at for subscription in many]),
            arrays.times([subscription.granted_at for subscription in many]),
        ],
    )


def granted(conn: Connection, ids: Iterable[int]) -> dict[tuple[int, int], tuple[int, list[str]]]:
    """(Units granted so far, the sources that granted them: `plan:pro`), by (subscription, cycle)."""
    rows = conn.execute(
        """SELECT subscription_id, cycle, sum(granted)::bigint, array_agg(source) FROM lot
        WHERE subscription_id = ANY(%s::bigint[]) GROUP BY subscription_id, cycle""",
        [arrays.ints(ids)],
    )
    return {(subscription, cycle): (units, sources) for subscription, cycle, units, sources in rows}
