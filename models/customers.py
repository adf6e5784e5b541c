"""Customers: who they are, their tier and their subscription. Their balances are in models/ledger/balances.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from models import cycles, database, pagination
from models.catalog.apps import App
from models.database import Connection
from models.errors import NotFound
from models.plans import activation
from models.plans.subscription import ENDED, PAYING

Row = tuple[Any, ...]
AN_INSTANT = timedelta(microseconds=1)
CHANGEABLE = ("tier", "email", "timezone")

COLUMNS = "a.id, a.customer, a.tier, a.email, a.timezone, a.created_at, a.updated_at"
ONE = f"SELECT {COLUMNS} FROM account a WHERE a.app = %s AND a.customer = %s"
# The customers that one looks for by a part of their name or address, in any case.
MANY = f"""
SELECT {COLUMNS} FROM account a WHERE a.app = %(app)s AND a.id < %(below)s
AND (%(query)s::text IS NULL OR strpos(lower(a.customer), lower(%(query)s)) > 0
     OR strpos(lower(a.email), lower(%(query)s)) > 0)
ORDER BY a.id DESC LIMIT %(limit)s
"""
# The latest one that pays; where none does, the latest.
SUBSCRIPTIONS = """
SELECT DISTINCT ON (account_id) account_id, plan, status, provider, provider_id, anchor, granted_at,
    changed_at, current_period_end, created_at FROM subscription
WHERE account_id = ANY(%s) ORDER BY account_id, status = ANY(%s) DESC, id DESC
"""
PROVIDER_CUSTOMERS = """
SELECT account_id, provider, provider_id FROM provider_customer WHERE account_id = ANY(%s)
ORDER BY provider, provider_id
"""
CHANGE = """
INSERT INTO account (app, customer, tier, email, timezone, created_at, updated_at)
VALUES (%(app)s, %(customer)s, %(tier)s, %(email)s, %(timezone)s, %(now)s, %(now)s)
ON CONFLICT (app, customer) DO UPDATE SET updated_at = excluded.updated_at
"""
TIER = """
SELECT a.tier, s.plan FROM account a LEFT JOIN subscription s ON s.account_id = a.id AND s.status = ANY(%s)
WHERE a.app = %s AND a.customer = %s ORDER BY s.id DESC NULLS LAST
"""


def get(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The customer as the API shows it.

    Raises:
        NotFound: the app has no such customer.
    """
    rows = database.read(ONE, [app.slug, customer])
    if not rows:
        raise NotFound(f"no customer {customer!r}")
    return _to_json(app, rows, now)[0]


def list_page(
    app: App, *, query: str | None = None, limit: int = 50, cursor: str | None = None, now: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """Customers whose name or email contains `query`, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is not one of ours.
    """
    (below,) = pagination.decode("customers", cursor)
    values = {"app": app.slug, "query": query, "below": below, "limit": limit + 1}
    rows, following = pagination.cut("customers", database.read(MANY, values), limit, itemgetter(0))
    return _to_json(app, rows, now), following


def change(conn: Connection, app: str, customer: str, changes: dict[str, str | None], *, now: datetime) -> None:
    """Set those of `tier`, `email` and `timezone` that `changes` has; None clears. Makes a customer that is new."""
    named = [name for name in CHANGEABLE if name in changes]
    values = {"app": app, "customer": customer, "now": now, **{name: changes.get(name) for name in CHANGEABLE}}
    conn.execute(CHANGE + "".join(f", {name} = excluded.{name}" for name in named), values)


def tier(app: App, customer: str) -> str | None:
    """The tier that holds now: the plan's while a subscription is active or trialing, else the one that was set."""
    rows = database.read(TIER, [list(PAYING), app.slug, customer])
    by_plan = (_tier_of(app, plan) for _, plan in rows)
    return next((found for found in by_plan if found), rows[0][0] if rows else None)


def _to_json(app: App, rows: Iterable[Row], now: datetime) -> list[dict[str, Any]]:
    rows = list(rows)
    ids = [row[0] for row in rows]
    subscriptions = {row[0]: row[1:] for row in database.read(SUBSCRIPTIONS, [ids, list(PAYING)])} if ids else {}
    providers: dict[int, dict[str, str]] = {}
    for id_, provider, provider_id in database.read(PROVIDER_CUSTOMERS, [ids]) if ids else []:
        providers.setdefault(id_, {})[provider] = provider_id
    keys = activation.of_accounts(ids)
    return [
        _customer(app, row, subscriptions.get(row[0]), providers.get(row[0], {}), keys.get(row[0]), now) for row in rows
    ]


def _customer(
    app: App,
    row: Row,
    subscription: Sequence[Any] | None,
    providers: dict[str, str],
    activation_key: str | None,
    now: datetime,
) -> dict[str, Any]:
    _, customer, own_tier, email, timezone, created_at, updated_at = row
    plan_tier = _tier_of(app, subscription[0]) if subscription and subscription[1] in PAYING else None
    return {
        "customer": customer,
        "tier": plan_tier or own_tier,
        "email": email,
        "timezone": timezone,
        "created_at": created_at,
        "updated_at": updated_at,
        "provider_customers": providers,
        "subscription": _subscription(subscription, now) if subscription else None,
        "activation_key": activation_key,
    }


def _subscription(row: Sequence[Any], now: datetime) -> dict[str, Any]:
    plan, status, provider, provider_id, anchor, granted_at, changed_at, runs_to, created_at = row
    # We are told of an end when it is there, or a little later; the period ended when the provider says.
    ended_at = min(changed_at, runs_to or changed_at) if status in ENDED else None
    start, end = _cycle(anchor, created_at, min(now, ended_at - AN_INSTANT) if ended_at else now)
    if ended_at and runs_to and start < runs_to < end:
        end = runs_to
    return {
        "plan": plan,
        "status": status,
        "provider": provider,
        "provider_id": provider_id,
        "cycle_start": start,
        "cycle_end": end,
        "granted_at": granted_at,
    }


def _cycle(anchor: datetime, created_at: datetime, moment: datetime) -> tuple[datetime, datetime]:
    """(start, end) of the cycle that the moment lies in. Before the anchor, as in a trial, there is but one: from when
    the subscription came to be to the anchor.
    """
    if moment < anchor and created_at < anchor:
        return created_at, anchor
    cycle = cycles.cycle_at(anchor, moment)
    return cycles.cycle_start(anchor, cycle), cycles.cycle_start(anchor, cycle + 1)


def _tier_of(app: App, plan: str | None) -> str | None:
    known = app.plans.get(plan or "")
    return known.tier if known else None
