"""Three seats of a plan, in a browser: bought, upgraded and cancelled at the provider's pages."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.support.peers.receivers import Receiver, receiving
from tests.support.running import Running
from tests.support.waiting import wait_until

APP, CUSTOMER = "orders", "browser-seats"


def order(system: Running, status: int = 201, **what: Any) -> Any:
    """Ask for a checkout of three seats."""
    pages = {"success_url": f"{system.sandbox_url()}/customer/{APP}?customer={CUSTOMER}"}
    pages["cancel_url"] = f"{system.sandbox_url()}/shop/{APP}"
    body = {"customer": CUSTOMER, "plan": "basic", "quantity": 3, "metadata": {"team": "red"}, **pages, **what}
    return system.post("/v1/checkout", body, app=APP, status=status)


def told(receiver: Receiver, *types: str) -> list[dict[str, Any]]:
    """What the app was told of these types, in the order in which it happened: webhooks may overtake each other."""
    return sorted((event for event in receiver.told if event["type"] in types), key=lambda event: event["timestamp"])


def last(receiver: Receiver, type_: str) -> dict[str, Any]:
    """The data of the latest webhook of the type, once there is one."""
    wait_until(lambda: bool(told(receiver, type_)))
    data: dict[str, Any] = told(receiver, type_)[-1]["data"]
    return data


def test_seats_are_bought_upgraded_and_cancelled_at_the_providers_pages(stories: Running, page: Page) -> None:
    with receiving() as receiver:
        endpoint = stories.post("/v1/endpoints", {"url": receiver.url}, app=APP)
        try:
            _buy(stories, page, receiver)
            _upgrade(stories, page, receiver)
            _cancel(stories, page, receiver)
        finally:
            stories.call("DELETE", f"/v1/endpoints/{endpoint['id']}", app=APP)
    assert stories.is_clean()


def _buy(system: Running, page: Page, receiver: Receiver) -> None:
    page.goto(order(system)["url"])
    expect(page.get_by_text("30.00 USD").first).to_be_visible()
    page.get_by_role("button", name="Pay", exact=True).click()
    _shows(system, page, 300)
    paid = last(receiver, "checkout.paid")
    assert (paid["plan"], paid["quantity"], paid["metadata"]) == ("basic", 3, {"team": "red"})
    started = last(receiver, "subscription.started")
    assert started["items"] == [{"plan": "basic", "quantity": 3, "units": 300}]
    assert last(receiver, "grant.monthly")["units"] == 300
    assert len(told(receiver, "grant.monthly")) == 1
    refused = order(system, 409)
    assert refused["type"].endswith("already-subscribed")
    assert refused["subscription"] == started["subscription"]


def _upgrade(system: Running, page: Page, receiver: Receiver) -> None:
    _open_portal(system, page)
    page.get_by_text("Change plan or seats").click()
    page.get_by_label("Plan").select_option(label=next(it for it in _options(page) if "large" in it))
    page.get_by_role("button", name="Change now").click()
    expect(page.get_by_text("3 seats")).to_contain_text("25.00 USD")
    wait_until(lambda: system.balance(CUSTOMER, app=APP) in (749, 750))  # the first seconds of the month are basic's
    wait_until(lambda: last(receiver, "subscription.changed")["plan"] == "large")
    wait_until(lambda: len(told(receiver, "grant.monthly")) == 2)
    _shows(system, page, system.balance(CUSTOMER, app=APP))
    assert order(system, 409, plan="large")["type"].endswith("already-subscribed")


def _cancel(system: Running, page: Page, receiver: Receiver) -> None:
    balance = system.balance(CUSTOMER, app=APP)
    _open_portal(system, page)
    page.get_by_role("button", name="Cancel at the period's end").click()
    expect(page.get_by_role("button", name="Undo the cancellation")).to_be_visible()
    wait_until(lambda: last(receiver, "subscription.changed")["cancel_at"] is not None)
    page.get_by_role("button", name="Cancel now").click()
    assert last(receiver, "subscription.ended")["status"] == "canceled"
    (shown,) = system.get(f"/v1/customers/{CUSTOMER}/subscriptions", app=APP)["subscriptions"]
    assert (shown["status"], shown["ended_at"] is not None) == ("canceled", True)
    assert system.balance(CUSTOMER, app=APP) == balance, "what was paid for stays"
    assert order(system)["url"], "it may be bought again"


def _shows(system: Running, page: Page, units: int) -> None:
    wait_until(lambda: system.balance(CUSTOMER, app=APP) == units)
    page.goto(f"{system.sandbox_url()}/customer/{APP}?customer={CUSTOMER}")
    expect(page.locator("#balance")).to_have_text(f"{units}")


def _open_portal(system: Running, page: Page) -> None:
    body = {"return_url": f"{system.sandbox_url()}/shop/{APP}"}
    page.goto(system.post(f"/v1/customers/{CUSTOMER}/portal", body, app=APP)["url"])


def _options(page: Page) -> list[str]:
    return page.get_by_label("Plan").locator("option").all_inner_texts()
