"""Lists PayPal's events, the orders of Scrip's checkouts, the subscriptions and the disputes for reconciliation.

Orders that were approved but not captured are captured. PayPal's lists of captures and refunds may be hours old, so
these are found by their events, which PayPal keeps for 30 days. PayPal has no list of subscriptions: those that Scrip
knows are fetched one by one, with their payments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobs.providers.fetched import Fetched, Window
from jobs.providers.paypal import checkout, client, events, fields
from jobs.providers.paypal.capture import APPROVED
from jobs.providers.paypal.client import Object
from models import clock
from models.catalog.apps import App
from models.errors import ProviderRefused
from models.payments import checkouts
from models.plans import subscriptions
from settings import settings

NAME = "paypal"
ORDERS_AT_ONCE = 20
SUBSCRIPTIONS_AT_ONCE = 20
# The event of a payment by its status in the list of a subscription's payments.
SALES = {
    "COMPLETED": "PAYMENT.SALE.COMPLETED",
    "PARTIALLY_REFUNDED": "PAYMENT.SALE.COMPLETED",
    "REFUNDED": "PAYMENT.SALE.COMPLETED",
    "PENDING": "PAYMENT.SALE.PENDING",
    "DECLINED": "PAYMENT.SALE.DENIED",
}
COMPLETED = "CHECKOUT.ORDER.COMPLETED"
PAID = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")
PAID_SALE = ("completed", "partially_refunded", "refunded", "reversed")

is_reachable = checkout.is_reachable
Lister = Callable[[App, Window, str | None], tuple[list[Fetched], str | None]]


def account(app: App) -> str:
    """The identity of the app's account, equal for apps that share it: its client id."""
    return client.account_of(app).client_id


def provider_time(app: App, now: datetime) -> datetime:
    """The provider's time at `now`: PayPal itself does not follow the sandbox's clock."""
    return now - clock.offset() if settings.sandbox and client.has_real_account(app) else now


def _events(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    listed = client.client(app).list_events(window.since, window.until)
    used = [event for event in listed if event.get("id") and event.get("event_type") in events.HANDLERS]
    return [_as_listed(event) for event in used], None


def _as_listed(event: Object) -> Fetched:
    return Fetched(event["id"], event["event_type"], event, needs_refetch=event["event_type"] == APPROVED)


def _orders(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    """The orders of checkouts that are open or pending in Scrip."""
    since = window.since + (clock.now() - provider_time(app, clock.now()))
    rows = checkouts.open_at(app.slug, NAME, since=since, after=int(cursor or 0), limit=ORDERS_AT_ONCE)
    found: list[Fetched] = []
    for row in rows:
        if row.provider_id and row.plan:
            found += _subscription(app, row.provider_id, window, is_checkout=True)
        elif row.provider_id:
            found += filter(None, [_order(app, row.provider_id, window)])
    return found, str(rows[-1].id) if len(rows) == ORDERS_AT_ONCE else None


def _subscriptions(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    """The subscriptions that Scrip knows, with their payments in the window.

    The frequent run reads only those whose next payment is about due: there is a call for each.
    """
    behind = clock.now() - provider_time(app, clock.now())
    rows = subscriptions.listed(
        *(app.slug, NAME, window.since + behind, window.until + behind),
        include_all=window.is_whole,
        after=int(cursor or 0),
        limit=SUBSCRIPTIONS_AT_ONCE,
    )
    found = [event for _, id_ in rows for event in _subscription(app, id_, window)]
    return found, str(rows[-1][0]) if len(rows) == SUBSCRIPTIONS_AT_ONCE else None


def _subscription(app: App, id_: str, window: Window, *, is_checkout: bool = False) -> list[Fetched]:
    """The subscription and its payments in the window, the newest first. One that PayPal does not know has none."""
    try:
        subscription = client.client(app).get_subscription(id_)
        payments = list(client.client(app).list_transactions(id_, window.since, window.until))
    except ProviderRefused as refusal:
        if refusal.status not in (403, 404):
            raise
        if is_checkout:
            checkouts.expire(app.slug, NAME, id_, now=window.until)
        return []
    sold = [_sale(subscription, payment, window) for payment in reversed(payments)]
    state = f"{subscription.get('status')}:{subscription.get('update_time')}"
    event = _as_event(f"reconcile:{id_}:{state}", "BILLING.SUBSCRIPTION.UPDATED", subscription, window)
    return [*filter(None, sold), event]


def _sale(subscription: Object, payment: Object, window: Window) -> Fetched | None:
    """A payment of the list as the sale that it is; None in a state that is not a sale's."""
    status = str(payment.get("status"))
    gross = fields.get(payment, "amount_with_breakdown", "gross_amount")
    type_ = SALES.get(status)
    if type_ is None or not isinstance(gross, dict) or not payment.get("id"):
        return None
    sale = {
        "id": payment["id"],
        "state": status.lower(),
        "amount": {"total": gross.get("value"), "currency": gross.get("currency_code")},
        "billing_agreement_id": subscription.get("id"),
        "custom": subscription.get("custom_id"),
        "create_time": payment.get("time"),
    }
    made_at = fields.time(payment.get("time"))
    event = _as_event(f"reconcile:{payment['id']}:{status}", type_, sale, window)
    return replace(event, is_old=made_at is not None and made_at < window.home_since)


def _order(app: App, order_id: str, window: Window) -> Fetched | None:
    try:
        order = client.client(app).get_order(order_id)
    except ProviderRefused as refusal:
        if refusal.status != 404:
            raise
        checkouts.expire(app.slug, NAME, order_id, now=window.until)
        return None
    if order.get("status") == "APPROVED":
        return _as_event(f"reconcile:{order_id}:approved", APPROVED, order, window, needs_refetch=True)
    if order.get("status") == "COMPLETED":
        return _as_event(f"reconcile:{order_id}{_pending_suffix(order)}", COMPLETED, order, window)
    return None


def _pending_suffix(order: Object) -> str:
    """Part of the event's id: when the money has arrived, the order needs another event."""
    return ":pending" if any(capture.get("status") == "PENDING" for capture in client.captures_of(order)) else ""


def _disputes(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    found = client.client(app).list_disputes(window.since)
    return [
        _as_event(
            f"reconcile:{dispute.get('dispute_id')}:{dispute.get('status')}:{dispute.get('dispute_life_cycle_stage')}",
            "CUSTOMER.DISPUTE.UPDATED",
            dispute,
            window,
        )
        for dispute in found
    ], None


def _as_event(id_: str, type_: str, resource: Object, window: Window, *, needs_refetch: bool = False) -> Fetched:
    payload = {
        "id": id_,
        "event_type": type_,
        "create_time": window.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resource": resource,
    }
    return Fetched(id_, type_, payload, is_object=True, needs_refetch=needs_refetch)


PARTS: dict[str, Lister] = {
    "events": _events,
    "orders": _orders,
    "subscriptions": _subscriptions,
    "disputes": _disputes,
}


def completed(app: App, fetched: Fetched) -> Fetched:
    """The event to store: unchanged."""
    return fetched


def named_app(fetched: Fetched) -> str | None:
    """The app that a custom_id of the resource names; None if none does."""
    resource: Any = fetched.payload.get("resource")
    if not isinstance(resource, dict):
        return None
    units, disputed = (fields.objects(resource.get(name)) for name in ("purchase_units", "disputed_transactions"))
    custom_ids = [place.get("custom_id") for place in (resource, *units)] + [resource.get("custom")]
    custom_ids += [transaction.get("custom") for transaction in disputed]
    return next((name for name in map(fields.app_named, custom_ids) if name), None)


def why_unpaid(app: App, ids: tuple[str, ...]) -> str | None:
    """Why the payment with these ids does not count as paid at PayPal; None if it is paid.

    Raises:
        ProviderAway, ProviderRefused.
    """
    capture = ids[0]
    try:
        status = client.client(app).get_capture(capture).get("status")
    except ProviderRefused as refusal:
        if refusal.status != 404:
            raise
        return _why_unpaid_sale(app, capture)
    return None if status in PAID else f"{capture} is {status} at PayPal"


def _why_unpaid_sale(app: App, sale: str) -> str | None:
    try:
        state = client.client(app).get_sale(sale).get("state")
    except ProviderRefused as refusal:
        if refusal.status != 404:
            raise
        return f"{sale} was not found at PayPal"
    return None if state in PAID_SALE else f"{sale} is {state} at PayPal"
