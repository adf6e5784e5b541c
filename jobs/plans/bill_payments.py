"""The payments of a subscription's bills: one row for each paid bill, by which refunds find it."""

from __future__ import annotations

from datetime import datetime

from jobs.plans.movements import Payments
from models.catalog.apps import App
from models.database import Connection
from models.ledger import accounts
from models.outbox import messages
from models.payments import messages as payment_messages
from models.payments import payments, standing
from models.payments import reversals as payment_reversals
from models.plans import plan_payments
from models.plans.facts import Bill
from models.plans.owed import Account
from models.plans.rules.bills import plan_lines
from models.plans.rules.by_status import bill_start
from models.plans.subscriptions import Subscription


def ids(conn: Connection, app: str, provider: str, subscription: str) -> list[str]:
    """All ids of bills that are reported as paid and have no payment yet."""
    return plan_payments.unrecorded(conn, app, provider, subscription)


def record(conn: Connection, app: App, row: Subscription, account: Account, *, now: datetime) -> Payments:
    """Record a payment for each paid bill. Returns the id and the reference of the payment of each bill."""
    known = plan_payments.of_subscription(conn, row.id)
    found: dict[str, tuple[int, str]] = {}
    for bill in account.bills:
        if bill.state != "paid":
            continue
        stored = next((known[name] for name in (bill.bill, *bill.aliases) if name in known), None)
        if stored is not None:
            found[bill.bill] = stored
        elif any(not line.is_one_off for line in bill.lines):
            found[bill.bill] = _record(conn, app, row, account, bill, now)
    return found


def _record(
    conn: Connection, app: App, row: Subscription, account: Account, bill: Bill, now: datetime
) -> tuple[int, str]:
    all_ids = payment_reversals.lock(conn, app.slug, row.provider, (bill.bill, *bill.aliases))
    start = bill_start(bill)
    customer = account.owner.at(start) or account.owner.latest
    assert customer is not None
    sold = [one for one in plan_lines(bill, account.prices, account.timeline) if not one.is_credit]
    leading = max(sold, key=lambda one: (one.units(one.line.start), one.line.id), default=None)
    payment = payments.record(
        conn,
        app=app.slug,
        account_id=accounts.ensure(conn, app.slug, customer, now=now),
        provider=row.provider,
        reference=payments.reference_of(conn, app.slug, row.provider, all_ids) or bill.bill,
        aliases=all_ids,
        plan=leading.terms.plan if leading else None,
        quantity=leading.line.quantity if leading else 1,
        amount_minor=bill.paid_minor,
        currency=bill.currency,
        state="settled",
        subscription_id=row.id,
        period_start=start,
        period_end=max((line.end for line in bill.lines), default=None),
        now=now,
    )
    if payment.is_new:
        paid_for = {"plan": leading.terms.plan if leading else None, "subscription": row.provider_id}
        told = payment_messages.settled(
            app.slug, customer, row.provider, payment.id, payment.reference, bill.paid_minor, bill.currency, paid_for
        )
        messages.emit(conn, [told], now=now)
        reversible, is_changed = standing.refresh(conn, app.slug, row.provider, all_ids, now=now)
        if reversible is not None and is_changed:
            messages.emit(conn, [payment_messages.reversed_(app.slug, customer, reversible, 0)], now=now)
    return payment.id, payment.reference
