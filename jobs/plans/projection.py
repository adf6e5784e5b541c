"""What is kept of a subscription's computed state in its row, to be listed and to be found when something is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.catalog.apps import App
from models.database import Connection
from models.ledger import accounts
from models.payments import provider_customers
from models.plans import subscriptions, upcoming
from models.plans.facts import PAYING
from models.plans.owed import Account, Owed
from models.plans.rules import waiting
from models.plans.subscriptions import Subscription
from models.plans.upcoming import Upcoming

# Between the end of a period and the payment of the next one, a running subscription keeps its tier this long.
TIER_GRACE = timedelta(days=3)
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Before:
    """What the row said before it was computed again. `tier`: the one that its plan gave then."""

    snapshot: str | None
    status: str
    plan: str | None
    tier: str | None
    is_new: bool


def save(
    conn: Connection, app: App, row: Subscription, account: Account, later: Sequence[Upcoming], *, now: datetime
) -> Before:
    """Store what was computed in the locked row. Returns what it said before."""
    before = Before(row.snapshot, row.status, row.plan, tier(app, row, now), row.account_id is None)
    latest, owner = account.timeline.latest, account.owner.latest
    row.account_id = accounts.ensure(conn, app.slug, owner, now=now) if owner else None
    if row.account_id and latest and latest.customer and latest.provider_customer:
        provider_customers.store(conn, app.slug, row.provider, latest.provider_customer, row.account_id)
    row.plan, row.owed_until = _plan(account, now)
    row.status = _status(account)
    row.snapshot = latest.key if latest else None
    row.upcoming = upcoming.series([*later, *({"due": at} for at in (account.recompute_at,) if at)])
    start, end = _cycle(account, now)
    computed: dict[str, Any] = {
        "account_id": row.account_id,
        "plan": row.plan,
        "status": row.status,
        "anchor": (latest.anchor if latest else None) or start,
        "cycle_start": start,
        "cycle_end": end,
        "owed_until": row.owed_until,
        "trial_end": latest.trial_end if latest else None,
        "cancel_at": latest.cancel_at if latest else None,
        "ended_at": account.timeline.ended_at,
        "items": items(account),
        "snapshot": row.snapshot,
        "notes": account.notes,
        "pending_change": waiting.change(account.timeline, account.prices, account.schedules),
        "paused_until": latest.resumes_at if latest and latest.is_paused else None,
        "open_invoice_url": waiting.payable_url(account.bills),
    }
    subscriptions.save(conn, row.id, computed, now=now)
    subscriptions.save_upcoming(conn, [row])
    return before


def tier(app: App, row: Subscription, now: datetime) -> str | None:
    """The tier that the subscription gives now."""
    plan = app.plans.get(row.plan or "")
    return plan.tier if plan and row.owed_until and row.owed_until > now else None


def _status(account: Account) -> str:
    latest = account.timeline.latest
    if latest is None:
        return "active" if any(bill.state == "paid" for bill in account.bills) else "incomplete"
    if _is_paid_since(account):
        return "active"
    return PAUSED if latest.is_paused and latest.status in PAYING else latest.status


def _is_paid_since(account: Account) -> bool:
    """Whether a sale of PayPal was paid after its subscription was reported as past due: no other event says so."""
    latest = account.timeline.latest
    if latest is None or not latest.is_billed_by_sales or latest.status != "past_due":
        return False
    return any(bill.state == "paid" and bill.at >= latest.at for bill in account.bills)


def _plan(account: Account, now: datetime) -> tuple[str | None, datetime | None]:
    """The largest plan of a period that is owed now, and until when; else the plan of the first item, and None."""
    running = [one for one in account.owed if one.start <= now < one.end and one.units > 0 and one.due <= now]
    latest = account.timeline.latest
    is_paying = latest is not None and (latest.status in PAYING or _is_paid_since(account))
    is_running = is_paying and account.timeline.ended_at is None
    grace = TIER_GRACE if is_running else timedelta(0)
    if not running:
        running = [one for one in account.owed if one.units > 0 and one.start <= now < one.end + grace]
    if not running:
        return _first_plan(account), None
    plan = max(running, key=lambda one: _size(account, one)).plan
    until = max(one.end for one in running if one.plan == plan)
    for one in account.owed:  # in the order of their starts
        if one.plan == plan and one.units > 0 and one.start <= until:
            until = max(until, one.end)
    ends_with_it = latest is not None and latest.cancel_at is not None and latest.cancel_at <= until
    return plan, until if ends_with_it else until + grace


def _size(account: Account, one: Owed) -> tuple[int, int]:
    terms = account.prices.book.latest(one.plan)
    return (terms.units, terms.price_minor) if terms else (0, 0)


def _first_plan(account: Account) -> str | None:
    latest = account.timeline.latest
    found = account.prices.items(latest, latest.at) if latest else []
    if found:
        return found[0][1].plan
    return account.owed[-1].plan if account.owed else None


def _cycle(account: Account, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The provider's current period: of the latest snapshot, else of the latest bill.

    PayPal reports a new cycle by its sale only.
    """
    latest = account.timeline.latest
    lines = [line for bill in account.bills for line in bill.lines if not line.is_one_off]
    last = max(lines, key=lambda line: line.start, default=None)
    for item in latest.items if latest else ():
        is_newer = latest and latest.is_billed_by_sales and last and item.start and last.start > item.start
        if item.end and not is_newer:
            return item.start, item.end
    return (last.start, last.end) if last else (None, None)


def items(account: Account) -> list[dict[str, Any]]:
    """The items that are plans: `{"plan", "quantity", "units"}`, with the units of one period."""
    latest = account.timeline.latest
    found = account.prices.items(latest, latest.at) if latest else []
    return [
        {"plan": terms.plan, "quantity": item.quantity, "units": terms.units * item.quantity} for item, terms in found
    ]
