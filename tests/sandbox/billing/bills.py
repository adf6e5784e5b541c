"""What the tests of subscriptions share: subscribing with seats, invoices in their order, events with their objects."""

from __future__ import annotations

from typing import Any

from sandbox.store.store import Thing
from tests.sandbox.test_stripe import MINE, price
from tests.support.providers.sandboxes import Provider

SEAT = 2000


def line(minor: int = SEAT, quantity: int = 1, interval: str = "month", count: int = 1) -> Thing:
    return {"price_data": price(minor, interval=interval, interval_count=count), "quantity": quantity}


def subscribe(provider: Provider, v1: Any, *lines: Thing, **more: Any) -> Any:
    """A paid subscription of these lines; `more` are parameters of its session."""
    data = {"metadata": {**MINE, "plan": "pro"}, **more.pop("subscription_data", {})}
    asked = {
        "mode": "subscription",
        "line_items": list(lines) or [line()],
        "success_url": "https://a.test/",
        "subscription_data": data,
        **more,
    }
    session = v1.checkout.sessions.create(asked)
    assert provider.pay(session.id).status_code == 303
    return v1.subscriptions.retrieve(v1.checkout.sessions.retrieve(session.id).subscription)


def items(subscription: Any) -> list[Any]:
    return list(subscription["items"].data)


def invoices(v1: Any) -> list[Any]:
    """Oldest first."""
    return list(reversed(v1.invoices.list({"limit": 100}).data))


def events(v1: Any, *types: str) -> list[Thing]:
    """The events of these types, or all, oldest first, as plain data."""
    found = v1.events.list({"limit": 100, **({"types": list(types)} if types else {})}).data
    return [event.to_dict(for_json=True) for event in reversed(found)]


def types_since(v1: Any, before: list[Thing]) -> list[str]:
    return [event["type"] for event in events(v1)[len(before) :]]


def decline_next(provider: Provider, app: str, subscription: Any) -> None:
    provider.control(app, action="fail-next", id=subscription.id)


def seats(v1: Any, subscription: Any, quantity: int, **more: Any) -> Any:
    """Another number of seats of the first item."""
    wanted = [{"id": items(subscription)[0].id, "quantity": quantity}]
    return v1.subscriptions.update(subscription.id, {"items": wanted, **more})
