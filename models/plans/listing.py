"""Subscriptions in the form of the API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from models import cycles, database, pagination
from models.errors import NotFound
from models.plans import owed, stored_facts, stored_terms
from models.plans.rules.months import SHORTEST_MONTH
from models.tables import Account, Subscription

AN_INSTANT = timedelta(microseconds=1)
# In these states a subscription counts as running, even if its last invoice is unpaid.
RUNNING = ("active", "trialing", "past_due", "paused")
WITH_PLAN = """
SELECT s.id FROM subscription s JOIN account a ON a.id = s.account_id
WHERE a.app = %(app)s AND a.customer = %(customer)s AND s.status = ANY(%(running)s::text[])
  AND (s.ended_at IS NULL OR s.ended_at > %(now)s)
  AND (EXISTS (SELECT 1 FROM jsonb_array_elements(s.items) AS item WHERE item ->> 'plan' = %(plan)s)
       OR (s.items = '[]' AND s.plan = %(plan)s))
ORDER BY s.id LIMIT 1
"""


def running_with(app: str, customer: str, plan: str, *, now: datetime) -> int | None:
    """The number of a running subscription of the customer that has the plan."""
    values = {"app": app, "customer": customer, "plan": plan, "running": list(RUNNING), "now": now}
    rows = database.read(WITH_PLAN, values)
    return int(rows[0][0]) if rows else None


def for_customer(
    app: str, customer: str, *, limit: int = 50, cursor: str | None = None, now: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """The customer's subscriptions, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is not one of this list.
    """
    (below,) = pagination.decode("subscriptions", cursor)
    query = _select().where(Account.app == app, Account.customer == customer, Subscription.id < below)
    rows = list(query.order_by(Subscription.id.desc()).limit(limit + 1))
    page, following = pagination.cut("subscriptions", rows, limit, attrgetter("id"))
    return [to_json(row, now) for row in page], following


def find(app: str, subscription_id: int) -> Any:
    """The row, with its `customer`.

    Raises:
        NotFound: the app has no such subscription, or it is not known yet whose it is.
    """
    row = _select().where(Account.app == app, Subscription.id == subscription_id).first()
    if row is None:
        raise NotFound(f"no subscription {subscription_id}")
    return row


def get(app: str, subscription_id: int, *, now: datetime) -> dict[str, Any]:
    """One subscription, with what it is owed up to now.

    Raises:
        NotFound: the app has no such subscription.
    """
    row = find(app, subscription_id)
    conn = database.live_connection()
    facts = stored_facts.read(conn, app, row.provider, row.provider_id, row.id)
    due = owed.owed(facts, stored_terms.stored(conn, app), now)
    return {
        **to_json(row, now),
        "owed": [
            {"start": one.start, "end": one.end, "plan": one.plan, "units": one.units, "why": one.why} for one in due
        ],
    }


def _select() -> Any:
    joined = Subscription.select(Subscription, Account.customer)
    return joined.join(Account, on=(Account.id == Subscription.account_id)).objects()


def to_json(row: Any, now: datetime) -> dict[str, Any]:
    """A row of `find` in the form of the API."""
    start, end = running_cycle(row, now)
    return {
        "id": row.id,
        "customer": row.customer,
        "plan": row.plan,
        "items": row.items,
        "status": row.status,
        "provider": row.provider,
        "provider_id": row.provider_id,
        "cycle_start": start,
        "cycle_end": end,
        "trial_end": row.trial_end,
        "cancel_at": row.cancel_at,
        "ended_at": row.ended_at,
        "granted_at": row.granted_at,
        "next_grant_at": _next_grant_at(row),
        "pending_change": _change(row.pending_change),
        "paused_until": row.paused_until,
        "open_invoice_url": row.open_invoice_url,
    }


def _next_grant_at(row: Any) -> datetime | None:
    """When units that are paid for already are granted next."""
    grants = [datetime.fromisoformat(one["due"]) for one in row.upcoming if one.get("units")]
    return min(grants, default=None)


def _change(waiting: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if waiting is None:
        return None
    return {**waiting, "at": datetime.fromisoformat(waiting["at"]) if waiting["at"] else None}


def running_cycle(row: Subscription, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The month of the anchor that runs, or ran last; of a price by the day or week, the provider's period."""
    starts_at, runs_to = row.cycle_start, row.cycle_end
    if row.anchor is None or (
        starts_at and runs_to and runs_to - starts_at < SHORTEST_MONTH and starts_at >= row.anchor
    ):
        return starts_at, runs_to
    # The provider's event for an end may come later than the end itself: the period's end is the earlier of the two.
    ended_at = min(row.ended_at, runs_to or row.ended_at) if row.ended_at else None
    began_at = starts_at if starts_at and starts_at < row.anchor else row.created_at
    start, end = _cycle(row.anchor, began_at, min(now, ended_at - AN_INSTANT) if ended_at else now)
    return start, runs_to if ended_at and runs_to and start < runs_to < end else end


def _cycle(anchor: datetime, began_at: datetime, moment: datetime) -> tuple[datetime, datetime]:
    """(start, end) of the cycle that contains the moment.

    Before the anchor, as in a trial, there is one cycle: from when the subscription began to the anchor.
    """
    if moment < anchor and began_at < anchor:
        return began_at, anchor
    cycle = cycles.cycle_at(anchor, moment)
    return cycles.cycle_start(anchor, cycle), cycles.cycle_start(anchor, cycle + 1)
