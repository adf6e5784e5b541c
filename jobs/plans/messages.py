"""Outgoing events of plans: grants, and changes of a subscription that its latest snapshot reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jobs.plans import projection
from jobs.plans.projection import Before
from models.catalog.apps import App
from models.database import Connection
from models.outbox import messages
from models.outbox.messages import Message
from models.planning.movements import Grant, Outcome
from models.plans.facts import ENDED, PAYING
from models.plans.owed import Account
from models.plans.subscriptions import Subscription

OVERDUE = ("past_due", "unpaid")


def emit_grants(conn: Connection, made: Sequence[tuple[Subscription, Grant, Outcome]], *, now: datetime) -> None:
    """Emit `grant.monthly` for each grant that was applied."""
    found = [_grant(row, grant, outcome) for row, grant, outcome in made if outcome.status == "applied"]
    if found:
        messages.emit(conn, found, now=now)


def _grant(row: Subscription, grant: Grant, outcome: Outcome) -> Message:
    noted = grant.meta or {}
    data = {
        "plan": noted["plan"],
        "cycle": noted["cycle"],
        "period_start": noted["period_start"],
        "period_end": noted["period_end"],
        "units": outcome.units,
        "subscription": row.provider_id,
        "entry": outcome.entry_id,
    }
    return Message(row.app, "grant.monthly", grant.customer, data)


def emit_changes(
    conn: Connection, app: App, row: Subscription, account: Account, before: Before, *, now: datetime
) -> None:
    """Emit what changed, if the latest snapshot or the plan is another one than before, and the customer's tier."""
    customer = account.owner.latest
    found = []
    is_other = (row.snapshot, row.plan) != (before.snapshot, before.plan) and row.snapshot is not None
    if is_other and (type_ := _type(row, before)):
        found.append(Message(app.slug, type_, customer, _content(row, account)))
    tier = projection.tier(app, row, now)
    if tier != before.tier and customer is not None:
        found.append(Message(app.slug, "customer.tier_changed", customer, {"tier": tier, "previous_tier": before.tier}))
    if found:
        messages.emit(conn, found, now=now)


def _type(row: Subscription, before: Before) -> str | None:
    if row.status in ENDED:
        return None if before.status in ENDED else "subscription.ended"
    if row.status in OVERDUE:
        return None if before.status in OVERDUE else "subscription.past_due"
    is_running = row.status in PAYING
    if before.snapshot is None or before.status == "incomplete":
        return "subscription.started" if is_running else None
    return "subscription.changed"


def _content(row: Subscription, account: Account) -> dict[str, Any]:
    latest = account.timeline.latest
    assert latest is not None
    return {
        "subscription": row.id,
        "provider": row.provider,
        "provider_id": row.provider_id,
        "plan": row.plan,
        "status": row.status,
        "items": projection.items(account),
        "cancel_at": latest.cancel_at,
        "ended_at": account.timeline.ended_at,
        "trial_end": latest.trial_end,
    }
