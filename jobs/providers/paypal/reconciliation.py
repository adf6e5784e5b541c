"""What PayPal has, for reconciliation: its events, the orders of our own checkouts, and its disputes.

An order that was approved and never captured is captured now. PayPal has no list of captures or refunds that is up to
date within the hour, so those are found by their events, which it keeps for 30 days.
"""

from __future__ import annotations

from collections.abc import Callable
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
from settings import settings

NAME = "paypal"
ORDERS_AT_ONCE = 20
COMPLETED = "CHECKOUT.ORDER.COMPLETED"
PAID = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")

is_reachable = checkout.is_reachable
Lister = Callable[[App, Window, str | None], tuple[list[Fetched], str | None]]


def account(app: App) -> str:
    """What apps with one account have in common: its client id."""
    return client.account_of(app).client_id


def now_there(app: App, now: datetime) -> datetime:
    """The provider's time: PayPal itself does not follow the sandbox's clock."""
    return now - clock.offset() if settings.sandbox and client.has_real_account(app) else now


def _events(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    listed = client.client(app).list_events(window.since, window.until)
    used = [event for event in listed if event.get("id") and event.get("event_type") in events.HANDLERS]
    return [_as_listed(event) for event in used], None


def _as_listed(event: Object) -> Fetched:
    return Fetched(event["id"], event["event_type"], event, needs_refetch=event["event_type"] == APPROVED)


def _orders(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    """The orders of checkouts that are open or pending as far as we know."""
    since = window.since + (clock.now() - now_there(app, clock.now()))
    rows = checkouts.open_at(app.slug, NAME, since=since, after=int(cursor or 0), limit=ORDERS_AT_ONCE)
    told = [_order(app, row.provider_id, window) for row in rows if row.provider_id]
    return [each for each in told if each], str(rows[-1].id) if len(rows) == ORDERS_AT_ONCE else None


def _order(app: App, order_id: str, window: Window) -> Fetched | None:
    try:
        order = client.client(app).get_order(order_id)
    except ProviderRefused as refusal:
        if refusal.status != 404:
            raise
        checkouts.expire(app.slug, NAME, order_id, now=window.until)
        return None
    if order.get("status") == "APPROVED":
        return _told(f"reconcile:{order_id}:approved", APPROVED, order, window, needs_refetch=True)
    if order.get("status") == "COMPLETED":
        return _told(f"reconcile:{order_id}{_on_its_way(order)}", COMPLETED, order, window)
    return None


def _on_its_way(order: Object) -> str:
    """The same order tells something else once its money has come."""
    return ":pending" if any(it.get("status") == "PENDING" for it in client.captures_of(order)) else ""


def _disputes(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
    found = client.client(app).list_disputes(window.since)
    return [
        _told(
            f"reconcile:{it.get('dispute_id')}:{it.get('status')}:{it.get('dispute_life_cycle_stage')}",
            "CUSTOMER.DISPUTE.UPDATED",
            it,
            window,
        )
        for it in found
    ], None


def _told(id_: str, type_: str, resource: Object, window: Window, *, needs_refetch: bool = False) -> Fetched:
    payload = {
        "id": id_,
        "event_type": type_,
        "create_time": window.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resource": resource,
    }
    return Fetched(id_, type_, payload, is_object=True, needs_refetch=needs_refetch)


PARTS: dict[str, Lister] = {"events": _events, "orders": _orders, "disputes": _disputes}


def completed(app: App, told: Fetched) -> Fetched:
    """What is to be stored: as it was told."""
    return told


def named_app(told: Fetched) -> str | None:
    """The app that a custom_id names."""
    resource: Any = told.payload.get("resource")
    if not isinstance(resource, dict):
        return None
    units, disputed = (fields.objects(resource.get(name)) for name in ("purchase_units", "disputed_transactions"))
    written = [place.get("custom_id") for place in (resource, *units)] + [one.get("custom") for one in disputed]
    named = map(fields.app_named, written)
    return next((name for name in named if name), None)


def why_unpaid(app: App, ids: tuple[str, ...]) -> str | None:
    """Why the payment that goes by these ids is none, as PayPal has it; None where it is paid."""
    capture = ids[0]
    try:
        status = client.client(app).get_capture(capture).get("status")
    except ProviderRefused as refusal:
        if refusal.status != 404:
            raise
        return f"{capture} was not found at PayPal"
    return None if status in PAID else f"{capture} is {status} at PayPal"
