"""Events that are not for us, or that we cannot use: what becomes of each, and why; and one that is used after all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.providers.stripe_events import event, invoice, paid_session, subscription
from tests.support.running import Running
from tests.system.stories.inside import Insides
from tests.system.stories.shared_scrip import PACK, catalog_folder
from tests.system.stories.story_shop import Shop, a_shop

APP = "events"


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside(APP, "packs") as scrip, a_shop(scrip, APP) as shop:
        yield shop


@pytest.fixture
def running_shop(stories: Running) -> Iterator[Shop]:
    """One that can be stopped and started."""
    with a_shop(stories, APP) as shop:
        yield shop


def sold(customer: str, pack: str = "starter", app: str = APP, **more: Any) -> dict[str, Any]:
    return paid_session(app, customer, pack, number=customer, **more)


def became(shop: Shop, told: dict[str, Any]) -> tuple[str, str]:
    """(state, error) of an event that was sent."""
    shop.tell(told)
    stored = seen(shop, told["id"])
    return stored["state"], stored["error"] or ""


def seen(shop: Shop, event_id: str) -> dict[str, Any]:
    (found,) = [it for it in shop.get("/v1/events?limit=200")["events"] if it["event_id"] == event_id]
    assert isinstance(found, dict)
    return found


def completed(shop: Shop, session: dict[str, Any], **more: Any) -> dict[str, Any]:
    name = f"evt_{session['id']}"
    return {**event("checkout.session.completed", session, created=shop.now(), event_id=name), **more}


# --- not for us


def test_an_event_of_another_app_is_ignored_and_names_it(shop: Shop) -> None:
    state, why = became(shop, completed(shop, sold("stranger", app="packs")))
    assert (state, "'packs'" in why) == ("ignored", True)
    assert (shop.payments("stranger"), Shop(shop.system, "packs").payments("stranger")) == ([], [])


def test_an_event_of_the_other_mode_is_ignored_and_says_which(shop: Shop) -> None:
    told = completed(shop, sold("live", livemode=True), livemode=True)
    state, why = became(shop, told)
    assert (state, "in live mode" in why, "in test mode" in why) == ("ignored", True, True)
    assert shop.payments("live") == []


@pytest.mark.parametrize("type_", ["customer.created", "payout.paid", "product.updated"])
def test_a_type_that_is_not_used_is_ignored(shop: Shop, type_: str) -> None:
    thing = {"id": f"x_{type_}", "object": "thing", "metadata": {}}
    told = event(type_, thing, created=shop.now(), event_id=f"evt_{type_}")
    assert became(shop, told) == ("ignored", f"{type_} is not used")


def test_a_session_that_sells_nothing_is_ignored(shop: Shop) -> None:
    state, why = became(shop, completed(shop, sold("setup", mode="setup")))
    assert (state, "setup" in why) == ("ignored", True)


# --- cannot be used


def dead_because(shop: Shop, told: dict[str, Any], *words: str) -> None:
    state, why = became(shop, told)
    assert state == "dead"
    assert [word for word in words if word not in why] == [], why


def test_a_pack_that_no_longer_exists_is_named_with_those_that_do(shop: Shop) -> None:
    dead_because(shop, completed(shop, sold("gone", "vanished")), "'vanished'", "starter", APP)
    assert shop.payments("gone") == []


def test_a_price_that_no_longer_exists_is_named(shop: Shop) -> None:
    session = sold("price")
    items = {"data": [{"price": {"id": "price_vanished"}, "quantity": 1}]}
    session |= {"metadata": {"app": APP, "customer": "price"}, "line_items": items}
    dead_because(shop, completed(shop, session), "price_vanished", "starter")


def test_a_plan_that_no_longer_exists_is_named_with_those_that_do(shop: Shop) -> None:
    now = shop.now()
    month = {"start": now, "end": now + timedelta(days=30)}
    it = subscription(APP, "planless", "vanished", anchor=now, number="planless", **month)
    dead_because(shop, event("customer.subscription.created", it, created=now), "'vanished'", "basic", "large")
    bill = invoice(APP, "planless", "vanished", number="planless", subscription_number="planless", **month)
    dead_because(shop, event("invoice.paid", bill, created=now), "'vanished'", "basic", "large")


def test_a_sale_to_nobody_says_where_a_customer_is_looked_for(shop: Shop) -> None:
    session = {**sold("nobody"), "client_reference_id": None, "metadata": {"app": APP, "pack": "starter"}}
    dead_because(shop, completed(shop, session), "metadata.customer", "client_reference_id")


@pytest.mark.parametrize(
    ("name", "value"), [("amount_total", 10**30), ("amount_total", -1), ("currency", "doubloon"), ("id", None)]
)
def test_what_makes_no_sense_is_dead_and_credits_nothing(shop: Shop, name: str, value: Any) -> None:
    customer = f"odd-{name}-{value}"
    told = {**completed(shop, sold(customer, **{name: value})), "id": f"evt_{customer}"}
    dead_because(shop, told, "malformed checkout.session.completed")
    assert shop.payments(customer) == []


def test_the_dead_are_counted_listed_and_told(shop: Shop) -> None:
    told = completed(shop, sold("counted", "vanished"))
    dead_because(shop, told, "'vanished'")
    assert told["id"] in [it["event_id"] for it in shop.get("/v1/events?state=dead&limit=200")["events"]]
    metrics = shop.system.call("GET", "/metrics", app=APP).text
    (dead,) = [line for line in metrics.splitlines() if line.startswith('scrip_queue_dead_rows{queue="inbox"}')]
    assert float(dead.rpartition(" ")[2]) >= 1


# --- used after all


def test_replayed_after_the_catalog_was_mended_it_credits_once(running_shop: Shop) -> None:
    shop = running_shop
    told = completed(shop, sold("patient", "summer"))
    dead_because(shop, told, "'summer'")
    number = seen(shop, told["id"])["id"]
    replay(shop, number)
    assert seen(shop, told["id"])["state"] == "dead", "nothing has changed yet"
    mend(shop, PACK.format(key="summer", units=70, price="10.00", currency="usd", app=APP))
    for _ in range(2):
        replay(shop, number)
        assert seen(shop, told["id"])["state"] == "done"
    shop.tell(told, {**told, "id": "evt_of_the_same_sale"})
    assert shop.entries("patient") == [("purchase", 70)]
    assert shop.payment("patient")["pack"] == "summer"


def replay(shop: Shop, number: int) -> None:
    answer = shop.system.call("POST", f"/v1/events/{number}/replay", app=APP)
    assert answer.status_code == 202, answer.text
    shop.quiet()


def mend(shop: Shop, pack: str) -> None:
    """Add a pack to the catalog, and start anew."""
    assert isinstance(shop.system, Running)
    shop.system.stop()
    with open(catalog_folder(shop.system) / f"{APP}.toml", "a") as catalog:
        catalog.write(f"\n{pack}")
    shop.system.start()
