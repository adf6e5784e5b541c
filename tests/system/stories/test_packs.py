"""A pack's whole life at Stripe: by price, by the dozen, with a promotion code, by transfer, and when nobody pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.system.stories.inside import Insides
from tests.system.stories.story_shop import Shop, a_shop


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside("packs") as scrip, a_shop(scrip, "packs") as shop:
        yield shop


def state(shop: Shop, checkout: dict[str, Any]) -> str:
    return str(shop.get(f"/v1/checkouts/{checkout['id']}")["state"])


# --- by the provider's price


def test_a_pack_is_bought_by_its_price_at_stripe(shop: Shop) -> None:
    session = shop.buy("price-pack", stripe_price="packs_starter")
    assert (session.mode, session.metadata.to_dict()["pack"]) == ("payment", "starter")
    assert shop.entries("price-pack") == [("purchase", 100)]


def test_a_plan_is_bought_by_its_price_at_stripe(shop: Shop) -> None:
    session = shop.buy("price-plan", stripe_price="packs_large")
    assert session.mode == "subscription"
    assert shop.entries("price-plan") == [("subscription_grant", 250)]
    assert shop.get("/v1/customers/price-plan")["subscription"]["plan"] == "large"


def test_a_price_that_is_in_no_catalog_is_refused_by_name(shop: Shop) -> None:
    refusal = shop.open("price-none", stripe_price="price_of_nobody", status=422)
    assert [error["field"] for error in refusal["errors"]] == ["stripe_price"]


# --- several at once


def test_a_part_of_three_packs_claws_its_share_of_all_units(shop: Shop) -> None:
    session = shop.buy("three", pack="starter", quantity=3)
    payment = shop.payment("three")
    assert (session.amount_total, payment["quantity"], payment["units"]) == (3000, 3, 300)
    charge = shop.charge_of(session)
    shop.do("refund", charge, "4.99")
    assert shop.balance("three") == 300 - 300 * 499 // 3000
    shop.do("refund", charge, "5.01")
    assert shop.balance("three") == 200, "the shares are of the sum, so no unit is lost by rounding twice"
    shop.do("refund", charge)
    assert (shop.balance("three"), shop.payment("three")["state"]) == (0, "refunded")


def test_units_that_were_spent_are_owed_after_a_refund(shop: Shop) -> None:
    charge = shop.charge_of(shop.buy("spent", pack="starter", quantity=2))
    shop.system.post("/v1/charges", {"id": "spent-1", "customer": "spent", "units": 150}, app="packs")
    shop.do("refund", charge)
    shown = shop.get("/v1/customers/spent/balance")
    assert (shown["balance"], shown["available"], shown["debt"]) == (-150, 0, 150)


# --- promotion codes


def test_with_a_code_for_everything_the_units_come_and_no_money_is_known(shop: Shop) -> None:
    session = shop.pay(shop.open("free", pack="starter"), code="FREE")
    shop.quiet()
    assert (session.payment_status, session.payment_intent) == ("no_payment_required", None)
    payment = shop.payment("free")
    assert (payment["reference"], payment["money"]["amount"], payment["state"]) == (session.id, "0.00", "settled")
    assert shop.entries("free") == [("purchase", 100)]
    shop.refund(payment["id"], "free-back", status=409)
    assert shop.balance("free") == 100


def test_with_a_code_for_half_the_units_are_whole_and_go_back_by_the_share_of_what_was_paid(shop: Shop) -> None:
    session = shop.pay(shop.open("half", pack="starter", quantity=2), code="HALF")
    shop.quiet()
    assert (session.amount_subtotal, session.amount_total) == (2000, 1000)
    assert (shop.balance("half"), shop.payment("half")["money"]["amount"]) == (200, "10.00")
    charge = shop.charge_of(session)
    shop.do("refund", charge, "2.50")
    assert shop.balance("half") == 150, "a quarter of the money, a quarter of the units"
    shop.do("refund", charge)
    assert shop.balance("half") == 0


def test_a_plan_with_a_code_for_everything_grants_its_month(shop: Shop) -> None:
    session = shop.pay(shop.open("free-plan", plan="basic"), code="FREE")
    shop.quiet()
    assert session.payment_status == "no_payment_required"
    assert shop.entries("free-plan") == [("subscription_grant", 100)]


# --- transfers, and nobody paying


def test_a_transfer_is_pending_until_it_arrives(shop: Shop) -> None:
    checkout = shop.open("transfer", pack="starter")
    session = shop.pay(checkout, "later")
    shop.quiet()
    assert (shop.payment("transfer")["state"], state(shop, checkout)) == ("pending", "pending")
    assert (shop.payment("transfer")["units"], shop.balance("transfer")) == (0, 0)
    shop.do("transfer-arrives", session.id)
    assert (shop.payment("transfer")["state"], state(shop, checkout)) == ("settled", "paid")
    assert shop.entries("transfer") == [("purchase", 100)]


def test_a_transfer_that_never_comes_fails_and_grants_nothing(shop: Shop) -> None:
    checkout = shop.open("never", pack="starter")
    session = shop.pay(checkout, "later")
    shop.do("transfer-fails", session.id)
    assert (shop.payment("never")["state"], state(shop, checkout)) == ("failed", "failed")
    assert shop.entries("never") == []
    shop.refund(shop.payment("never")["id"], "never-back", status=409)


def test_a_transfer_arrives_by_the_clock(shop: Shop) -> None:
    shop.pay(shop.open("slow", pack="starter"), "later")
    shop.pass_time("4d")
    wait_until(lambda: shop.balance("slow") == 100)
    assert shop.entries("slow") == [("purchase", 100)]


def test_a_card_that_was_declined_first_pays_once(shop: Shop) -> None:
    checkout = shop.open("declined", pack="starter")
    shop.pay(checkout, "decline")
    shop.quiet()
    assert (shop.entries("declined"), state(shop, checkout)) == ([], "open")
    shop.pay(checkout)
    shop.quiet()
    assert (shop.entries("declined"), state(shop, checkout)) == ([("purchase", 100)], "paid")


def test_a_page_that_nobody_paid_on_expires(shop: Shop) -> None:
    checkout = shop.open("expired", pack="starter")
    shop.pass_time("25h")
    assert state(shop, checkout) == "expired"
    assert shop.provider.pay(checkout["url"].rpartition("/")[2]).status_code == 400
    assert shop.payments("expired") == []
