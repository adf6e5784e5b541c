"""A plan's life at PayPal: sold by a checkout, granted by its sales, revised, refunded and reconciled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests
from flask import Flask

from jobs.inbox import events
from jobs.providers.paypal import client as paypal_client
from models import clock, database
from models.catalog import catalog
from tests.support.folders import data_folder
from tests.support.providers.shop import change
from tests.system.journeys.journey import moment
from tests.system.stories.inside import running_inside
from tests.system.stories.story_shop import Shop

APP = "seats"
CATALOG = """
name = "Seats"
unit = "credit"
provider = "paypal"

[plans.pro]
units = 1000
price = "29.00"
currency = "usd"
paypal_plan = "P-PRO"
tier = "pro"

[plans.max]
units = 4000
price = "99.00"
currency = "usd"
paypal_plan = "P-MAX"
tier = "max"

[plans.plain]
units = 10
price = "1.00"
currency = "usd"
"""
PAGES = {"success_url": "https://app.example/thanks", "cancel_url": "https://app.example/plans"}


class PayPalShop(Shop):
    """A shop whose plans are sold through PayPal."""

    def order(self, customer: str, *, status: int = 201, **what: Any) -> Any:
        """Ask for a checkout; returns the answer."""
        asked = {"customer": customer, **({} if "plan" in what else {"plan": "pro"}), **PAGES, **what}
        return self.system.post("/v1/checkout", asked, app=self.app, status=status)

    def approve(self, checkout: dict[str, Any], how: str = "approve") -> str:
        """Press a button of the approval page, and wait; returns the subscription."""
        assert requests.post(checkout["url"], data={"how": how}, allow_redirects=False, timeout=9).status_code == 303
        self.quiet()
        return str(checkout["url"].rpartition("/")[2])

    def subscribe_to(self, customer: str, **what: Any) -> str:
        return self.approve(self.order(customer, **what))

    def revise(self, subscription: str, **to: str) -> None:
        """Revise, and approve it as the buyer."""
        self.paypal().write(f"/v1/billing/subscriptions/{subscription}/revise", to, key=f"revise:{to}")
        url = f"{self.provider.url}/paypal/subscribe/{subscription}"
        assert requests.post(url, data={"how": "approve"}, allow_redirects=False, timeout=9).status_code == 303
        self.quiet()

    def paypal(self) -> paypal_client.PayPal:
        return paypal_client.client(catalog.current()[self.app])

    def state(self, checkout: dict[str, Any]) -> str:
        return str(self.get(f"/v1/checkouts/{checkout['id']}")["state"])

    def units(self, customer: str) -> list[int]:
        return [units for _, units in self.entries(customer)]

    def move_clock(self, text: str) -> None:
        self.system.post("/v1/sandbox/clock", {"advance": text}, app=self.app, status=200)
        self.quiet()


@pytest.fixture
def shop(application: tuple[Flask, Any]) -> Iterator[PayPalShop]:
    app, auth = application
    vars(auth).update(vars(type(auth)()))
    with data_folder() as folder:
        (folder / f"{APP}.toml").write_text(CATALOG)
        with running_inside(app, folder) as scrip:
            yield PayPalShop(scrip, APP)
            assert scrip.is_clean()


# --- sold


def test_a_plan_is_sold_by_checkout_and_granted_each_month(shop: PayPalShop) -> None:
    checkout = shop.order("ada", id="c-1")
    assert checkout["provider"] == "paypal"
    assert shop.order("ada", id="c-1", status=200) == checkout
    shop.quiet()
    assert (shop.state(checkout), shop.balance("ada")) == ("open", 0)
    subscription = shop.approve(checkout)
    assert (shop.state(checkout), shop.units("ada")) == ("paid", [1000])
    shown = shop.get("/v1/customers/ada")
    assert (shown["tier"], shown["subscription"]["provider_id"]) == ("pro", subscription)
    for month in range(2, 5):
        shop.pass_time("31d")
        assert shop.units("ada") == [1000] * month
    assert [(it["plan"], it["money"]["amount"], it["units"]) for it in shop.payments("ada")] == [
        ("pro", "29.00", 1000)
    ] * 4


def test_the_subscription_names_the_customer_and_the_checkout(shop: PayPalShop) -> None:
    checkout = shop.order("a b", id="c-1", quantity=3, email="ada@example.com")
    made = shop.paypal().get_subscription(checkout["url"].rpartition("/")[2])
    assert made["custom_id"] == "customer=a%20b&plan=pro&checkout=c-1&app=seats"
    assert (made["plan_id"], made["quantity"], made["subscriber"]) == (
        *("P-PRO", "3"),
        {"email_address": "ada@example.com"},
    )


def test_seats_multiply_units(shop: PayPalShop) -> None:
    shop.subscribe_to("ada", quantity=3)
    shop.pass_time("31d")
    assert shop.units("ada") == [3000, 3000]


def test_names_too_long_for_a_custom_id_are_known_by_the_subscription(shop: PayPalShop) -> None:
    customer = "ü" * 60
    shop.subscribe_to(customer, id="ö" * 60)
    assert shop.units(customer) == [1000]


def test_a_declined_approval_leaves_the_checkout_open(shop: PayPalShop) -> None:
    checkout = shop.order("ada")
    shop.approve(checkout, "decline")
    assert (shop.state(checkout), shop.balance("ada")) == ("open", 0)
    shop.approve(checkout)
    assert (shop.state(checkout), shop.balance("ada")) == ("paid", 1000)


def test_what_was_promised_holds_for_the_first_paid_period(shop: PayPalShop) -> None:
    checkout = shop.order("ada")
    plans = catalog.current()[APP].plans
    change(APP, plans={**plans, "pro": type(plans["pro"])("pro", 700, 2900, "usd", paypal_plan="P-PRO")})
    shop.approve(checkout)
    shop.pass_time("31d")
    assert shop.units("ada") == [1000, 700]


@pytest.mark.parametrize(
    ("what", "field", "why"),
    [({"plan": "plain"}, "provider", "has no paypal_plan"), ({"plan": "none"}, "plan", "unknown plan")],
)
def test_a_plan_without_a_plan_at_paypal_is_refused(
    shop: PayPalShop, what: dict[str, Any], field: str, why: str
) -> None:
    (error,) = shop.order("ada", status=422, **what)["errors"]
    assert (error["field"], why in error["reason"]) == (field, True)


# --- failed, revised, suspended, ended


def test_a_failed_month_is_paid_with_the_next_one(shop: PayPalShop) -> None:
    subscription = shop.subscribe_to("ada")
    shop.do("paypal-fail-next", subscription)
    shop.pass_time("31d")
    assert shop.units("ada") == [1000]
    assert shop.get("/v1/customers/ada")["subscription"]["status"] == "past_due"
    shop.pass_time("31d")
    assert shop.units("ada") == [1000, 1000, 1000]
    shown = shop.get("/v1/customers/ada")["subscription"]
    assert shown["status"] == "active"
    assert moment(shown["cycle_start"]) <= shop.now() < moment(shown["cycle_end"])


def test_an_outstanding_month_that_is_taken_is_granted(shop: PayPalShop) -> None:
    subscription = shop.subscribe_to("ada")
    shop.do("paypal-fail-next", subscription)
    shop.pass_time("31d")
    shop.do("paypal-pay-outstanding", subscription)
    assert shop.units("ada") == [1000, 1000]


def test_a_revision_grants_from_the_next_month(shop: PayPalShop) -> None:
    subscription = shop.subscribe_to("ada")
    shop.pass_time("10d")
    shop.revise(subscription, plan_id="P-MAX")
    assert shop.units("ada") == [1000]
    shop.pass_time("25d")
    assert shop.units("ada") == [1000, 4000]
    assert shop.get("/v1/customers/ada")["tier"] == "max"


def test_a_suspension_grants_nothing_and_its_end_the_next_paid_month(shop: PayPalShop) -> None:
    subscription = shop.subscribe_to("ada")
    shop.do("paypal-suspend", subscription)
    assert shop.get("/v1/customers/ada")["subscription"]["status"] == "paused"
    shop.pass_time("40d")
    shop.do("paypal-activate", subscription)
    assert shop.units("ada") == [1000]
    shop.pass_time("31d")
    starts = [it["metadata"]["period_start"] for it in shop.get("/v1/customers/ada/entries")["entries"]]
    assert (len(starts), shop.units("ada")) == (2, [1000, 1000])
    shop.do("paypal-cancel", subscription)
    shop.pass_time("62d")
    assert shop.units("ada") == [1000, 1000]


# --- returned


def test_a_refund_of_a_sale_through_the_api_takes_its_share(shop: PayPalShop) -> None:
    shop.subscribe_to("ada")
    payment = shop.payment("ada")
    answer = shop.refund(payment["id"], "half", "14.50")
    assert (answer["state"], answer["money"]["amount"]) == ("succeeded", "14.50")
    assert (shop.balance("ada"), shop.payment("ada")["state"]) == (500, "partly_refunded")
    shop.refund(payment["id"], "half", "14.50", status=200)
    assert shop.balance("ada") == 500
    shop.refund(payment["id"], "rest")
    assert (shop.balance("ada"), shop.payment("ada")["state"]) == (0, "refunded")
    shop.refund(payment["id"], "more", status=409)


def test_a_reversal_takes_what_the_sale_paid_for(shop: PayPalShop) -> None:
    shop.subscribe_to("ada")
    shop.pass_time("31d")
    shop.do("sale-reverse", shop.payments("ada")[0]["reference"])
    assert shop.balance("ada") == 1000


# --- deliveries, and reconciliation


@pytest.mark.parametrize("mode", ["twice", "shuffled"])
def test_events_that_come_twice_or_in_another_order_grant_the_same(shop: PayPalShop, mode: str) -> None:
    shop.deliver(mode)
    subscription = shop.subscribe_to("ada", plan="pro")
    shop.revise(subscription, quantity="2")
    shop.pass_time("31d")
    assert shop.units("ada") == [1000, 2000]


def test_a_sale_whose_webhook_never_came_is_credited_once(shop: PayPalShop, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = shop.subscribe_to("ada")
    monkeypatch.setattr(paypal_client.PayPal, "list_events", lambda *_: iter(()))
    shop.deliver("swallow")
    shop.pass_time("31d")
    for _ in range(2):
        shop.run("reconcile")
        shop.quiet()
        assert shop.units("ada") == [1000, 1000]
    assert len(shop.payments("ada")) == 2
    shop.do("paypal-suspend", subscription)
    shop.run("reconcile")
    assert shop.get("/v1/customers/ada")["subscription"]["status"] == "paused"


def test_a_checkout_of_which_no_webhook_came_is_credited(shop: PayPalShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paypal_client.PayPal, "list_events", lambda *_: iter(()))
    shop.deliver("swallow")
    checkout = shop.order("ada")
    shop.approve(checkout)
    shop.run("reconcile")
    shop.quiet()
    assert (shop.state(checkout), shop.units("ada")) == ("paid", [1000])


def test_a_sale_that_paypal_does_not_know_is_reported(shop: PayPalShop) -> None:
    shop.subscribe_to("ada")
    sale = shop.payment("ada")["reference"]
    shop.run("reconcile")
    database.write("UPDATE payment SET reference = 'FORGED', aliases = '{}', confirmed_at = NULL")
    found = shop.system.post("/v1/runs/reconcile", {}, app=APP, status=200)
    assert found["counts"]["unbacked"] == 1
    assert sale != "FORGED"


def test_a_forged_event_is_replaced_by_what_paypal_shows(shop: PayPalShop) -> None:
    subscription = shop.approve(shop.order("ada"), "decline")
    forged = {
        "id": "WH-FORGED",
        "event_type": "BILLING.SUBSCRIPTION.ACTIVATED",
        "create_time": clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resource": {
            **shop.paypal().get_subscription(subscription),
            "status": "ACTIVE",
            "quantity": "1000",
            "custom_id": "customer=eve&plan=pro&app=seats",
        },
    }

    events.receive(APP, "paypal", "WH-FORGED", forged["event_type"], orjson.dumps(forged).decode(), now=clock.now())
    shop.quiet()
    shop.pass_time("2h")
    assert (shop.balance("ada"), shop.balance("eve")) == (0, 0)
