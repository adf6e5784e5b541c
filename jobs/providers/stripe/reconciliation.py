"""Lists Stripe's events and objects for reconciliation. An object is wrapped in the event that reports it.

Stripe keeps events for 30 days, and webhooks may be lost; the objects are authoritative. The event that Scrip makes for
an object has the id `reconcile:<object>`, followed by the state if that may change. The handlers of webhooks read both.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from jobs.providers.fetched import Fetched, Window
from jobs.providers.stripe import client, events, purchases, refetch
from jobs.providers.stripe.client import Object
from jobs.providers.stripe.objects import metadata, subscription_metadata
from models import clock
from models.catalog.apps import App
from models.errors import ProviderRefused
from settings import settings

NAME = "stripe"
PAGE = 100
MOST_TYPES = 20
# A session may be paid up to a day after its creation, and a bank transfer arrives days later.
SESSION_LIFE = timedelta(days=7)
EVENTS = sorted(events.HANDLERS)
EVENT_TYPES = [EVENTS[start : start + MOST_TYPES] for start in range(0, len(EVENTS), MOST_TYPES)]

is_reachable = client.is_reachable
account = client.account
Lister = Callable[[App, Window, str | None], tuple[list[Fetched], str | None]]


def provider_time(app: App, now: datetime) -> datetime:
    """The provider's time at `now`: Stripe itself does not follow the sandbox's clock."""
    return now - clock.offset() if settings.sandbox and client.real_key(app) else now


def _events_of(types: list[str]) -> Lister:
    def page(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
        found, following = _page(app, lambda v1: v1.events, cursor, window.since, types=types)
        return [Fetched(event["id"], event["type"], event) for event in found], following

    return page


def _objects(
    service: Callable[[Any], Any],
    type_: str,
    state_of: Callable[[Object], str],
    *,
    earlier: timedelta = timedelta(0),
    all_where_whole: bool = False,
    **filters: Any,
) -> Lister:
    """Lists objects as events of a type. With `all_where_whole`, a whole window includes objects of any age."""

    def page(app: App, window: Window, cursor: str | None) -> tuple[list[Fetched], str | None]:
        since = None if all_where_whole and window.is_whole else window.since - earlier
        found, following = _page(app, service, cursor, since, **filters)
        return [_as_event(thing, type_, state_of(thing), window) for thing in found], following

    return page


def _as_event(thing: Object, type_: str, state: str, window: Window) -> Fetched:
    id_ = f"reconcile:{thing['id']}:{state}" if state else f"reconcile:{thing['id']}"
    payload = {
        "id": id_,
        "object": "event",
        "type": type_,
        "created": int(window.until.timestamp()),
        "livemode": thing.get("livemode"),
        "data": {"object": thing},
    }
    is_old = (thing.get("created") or 0) < window.home_since.timestamp()
    return Fetched(id_, type_, payload, is_object=True, is_old=is_old)


def _page(
    app: App,
    service: Callable[[Any], Any],
    cursor: str | None,
    since: datetime | None,
    **filters: Any,
) -> tuple[list[Object], str | None]:
    params: dict[str, Any] = {"limit": PAGE, **filters}
    if since is not None:
        params["created"] = {"gte": int(since.timestamp())}
    if cursor:
        params["starting_after"] = cursor
    found, has_more = client.page(app, lambda v1: service(v1).list(params))
    return found, found[-1]["id"] if found and has_more else None


def _session_state(session: Object) -> str:
    status = session.get("payment_status")
    return "" if status in purchases.SETTLED else str(status)


def _subscription_state(subscription: Object) -> str:
    item = ((subscription.get("items") or {}).get("data") or [{}])[0]
    end = subscription.get("current_period_end") or item.get("current_period_end")
    price = (item.get("price") or {}).get("id")
    paused = "paused" if subscription.get("pause_collection") else subscription.get("status")
    return f"{paused}:{end}:{price}"


def _dispute_state(dispute: Object) -> str:
    return f"{dispute.get('status')}:{len(dispute.get('balance_transactions') or [])}"


def _no_state(thing: Object) -> str:
    return ""


def _status(thing: Object) -> str:
    return str(thing.get("status"))


PARTS: dict[str, Lister] = {
    **{f"events {number}": _events_of(types) for number, types in enumerate(EVENT_TYPES, 1)},
    "checkout sessions": _objects(
        lambda v1: v1.checkout.sessions,
        "checkout.session.completed",
        _session_state,
        earlier=SESSION_LIFE,
        status="complete",
        expand=["data.line_items"],
    ),
    "subscriptions": _objects(
        lambda v1: v1.subscriptions,
        "customer.subscription.updated",
        _subscription_state,
        all_where_whole=True,
        status="all",
    ),
    "invoices": _objects(lambda v1: v1.invoices, "invoice.paid", _no_state, status="paid"),
    "refunds": _objects(lambda v1: v1.refunds, "refund.updated", _status),
    "disputes": _objects(lambda v1: v1.disputes, "charge.dispute.updated", _dispute_state),
}


def completed(app: App, fetched: Fetched) -> Fetched:
    """The event to store. An invoice gets the payment intent that paid it, which lists omit.

    Raises:
        ProviderAway, ProviderRefused.
    """
    thing = fetched.payload["data"]["object"]
    if not fetched.is_object or thing.get("object") != "invoice":
        return fetched
    return fetched.with_object(refetch.with_payment(app, thing))


def named_app(fetched: Fetched) -> str | None:
    """The app that the object's metadata names; None if it names none."""
    thing = fetched.payload["data"]["object"]
    named = metadata(thing).get("app") or subscription_metadata(thing).get("app")
    return str(named) if named else None


PAID: dict[str, tuple[str, tuple[str, ...]]] = {
    "pi_": ("payment_intent", ("succeeded",)),
    "in_": ("invoice", ("paid",)),
    "ch_": ("charge", ("succeeded",)),
    "cs_": ("checkout.session", purchases.SETTLED),
}


def why_unpaid(app: App, ids: tuple[str, ...]) -> str | None:
    """Why the payment with these ids does not count as paid at Stripe; None if it is paid.

    Raises:
        ProviderAway, ProviderRefused.
    """
    reasons = []
    for start, (kind, paid) in PAID.items():
        for id_ in ids:
            if not id_.startswith(start):
                continue
            try:
                thing = refetch.fetch(app, kind, id_)
            except ProviderRefused as refusal:
                if refusal.status != 404:
                    raise
                continue
            state = thing.get("payment_status" if kind == "checkout.session" else "status")
            if state in paid:
                return None
            reasons.append(f"{id_} is {state} at Stripe")
    return reasons[0] if reasons else f"{ids[0]} was not found at Stripe"
