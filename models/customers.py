"""Customers: fields, tier and subscription. Balances are in models/ledger/balances.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from peewee import fn

from models import database, pagination
from models.catalog.apps import App
from models.database import Connection
from models.errors import NotFound
from models.payments import provider_customers
from models.plans import activation, listing
from models.tables import Account, Subscription

CHANGEABLE = ("tier", "email", "timezone")
# SQL, because the start of a session reads it.
TIER = """
SELECT a.tier, s.plan FROM account a LEFT JOIN subscription s ON s.account_id = a.id AND s.owed_until > %s
WHERE a.app = %s AND a.customer = %s ORDER BY s.id DESC NULLS LAST
"""


def get(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The customer in the form of the API.

    Raises:
        NotFound: the app has no such customer.
    """
    account = Account.get_or_none(Account.app == app.slug, Account.customer == customer)
    if account is None:
        raise NotFound(f"no customer {customer!r}")
    return _to_json(app, [account], now)[0]


def list_page(
    app: App, *, query: str | None = None, limit: int = 50, cursor: str | None = None, now: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """Customers whose name or email contains `query`, newest first, and the cursor of the next page (None on the last).

    Case does not matter.

    Raises:
        Invalid: the cursor is not one that this list returned.
    """
    (below,) = pagination.decode("customers", cursor)
    matching = Account.select().where(Account.app == app.slug, Account.id < below)
    if query is not None:
        matching = matching.where(_contains(Account.customer, query) | _contains(Account.email, query))
    accounts = list(matching.order_by(Account.id.desc()).limit(limit + 1))
    page, following = pagination.cut("customers", accounts, limit, attrgetter("id"))
    return _to_json(app, page, now), following


def change(conn: Connection, app: str, customer: str, changes: dict[str, str | None], *, now: datetime) -> None:
    """Set those of `tier`, `email` and `timezone` that `changes` has; None clears. Creates a customer that is new."""
    values = {name: changes[name] for name in CHANGEABLE if name in changes}
    new = Account.insert(app=app, customer=customer, created_at=now, updated_at=now, **values)
    new.on_conflict(
        conflict_target=(Account.app, Account.customer),
        preserve=[Account.updated_at, *(getattr(Account, name) for name in values)],
    ).execute()


def email(app: str, customer: str) -> str | None:
    """The customer's email address."""
    account = Account.get_or_none(Account.app == app, Account.customer == customer)
    return account.email if account else None


def tier(app: App, customer: str, *, now: datetime) -> str | None:
    """The tier in effect: of the largest plan that is owed now, else the customer's own."""
    rows = database.read(TIER, [now, app.slug, customer])
    plans = [app.plans[plan] for _, plan in rows if plan in app.plans and app.plans[plan].tier]
    largest = max(plans, key=lambda plan: (plan.units, plan.price_minor), default=None)
    return largest.tier if largest else (rows[0][0] if rows else None)


def _contains(column: Any, text: str) -> Any:
    return fn.strpos(fn.lower(column), fn.lower(text)) > 0


def _to_json(app: App, accounts: Sequence[Account], now: datetime) -> list[dict[str, Any]]:
    ids = [account.id for account in accounts]
    if not ids:
        return []
    subscriptions = _subscriptions(app, ids, now)
    providers = provider_customers.of_accounts(ids)
    keys = activation.of_accounts(ids)
    return [
        {
            **_fields(app, account, subscriptions.get(account.id), now),
            "provider_customers": providers.get(account.id, {}),
            "subscription": _subscription(subscriptions.get(account.id), now),
            "activation_key": keys.get(account.id),
        }
        for account in accounts
    ]


def _subscriptions(app: App, account_ids: Sequence[int], now: datetime) -> dict[int, Subscription]:
    """The subscription to show of each account: of the largest plan that is owed now, else the latest one."""
    found: dict[int, Subscription] = {}
    for row in Subscription.select().where(Subscription.account_id.in_(account_ids)).order_by(Subscription.id):
        shown = found.get(row.account_id)
        if shown is None or _rank(app, row, now) >= _rank(app, shown, now):
            found[row.account_id] = row
    return found


def _rank(app: App, row: Subscription, now: datetime) -> tuple[bool, bool, int, int, bool]:
    """Plans with a tier before those without, as in `tier`; of equal ones that which has not ended."""
    is_owed = _is_owed(row, now)
    plan = app.plans.get(row.plan or "") if is_owed else None
    size = (bool(plan.tier), plan.units, plan.price_minor) if plan else (False, 0, 0)
    return is_owed, *size, is_owed and row.ended_at is None


def _is_owed(row: Subscription, now: datetime) -> bool:
    return row.owed_until is not None and row.owed_until > now


def _fields(app: App, account: Account, subscription: Subscription | None, now: datetime) -> dict[str, Any]:
    is_owed = subscription is not None and _is_owed(subscription, now)
    plan_tier = _tier_of(app, subscription.plan) if subscription and is_owed else None
    return {
        "customer": account.customer,
        "tier": plan_tier or account.tier,
        "email": account.email,
        "timezone": account.timezone,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def _subscription(row: Subscription | None, now: datetime) -> dict[str, Any] | None:
    if row is None:
        return None
    start, end = listing.running_cycle(row, now)
    return {
        "plan": row.plan,
        "status": row.status,
        "provider": row.provider,
        "provider_id": row.provider_id,
        "cycle_start": start,
        "cycle_end": end,
        "granted_at": row.granted_at,
    }


def _tier_of(app: App, plan: str | None) -> str | None:
    known = app.plans.get(plan or "")
    return known.tier if known else None
