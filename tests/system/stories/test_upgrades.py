"""A plan that grew within its month, paid by an invoice of nothing but prorations: what its refunds take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.stories.inside import Insides
from tests.system.stories.story_shop import Shop, a_shop, about


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside("upgrades") as scrip, a_shop(scrip, "upgrades") as shop:
        yield shop


@pytest.fixture(params=["new", "old"])
def shape(shop: Shop, request: pytest.FixtureRequest) -> Iterator[str]:
    """The shape of the provider's objects: today's, and the one before basil."""
    shop.deliver("normal", shape=request.param)
    yield request.param
    shop.deliver("normal", shape="new")


def upgraded(shop: Shop, customer: str) -> str:
    """A plan that grew after ten days, which was billed at once."""
    bought = shop.buy(customer, plan="basic").subscription
    shop.pass_time("10d")
    shop.change_plan(bought, "large", "always_invoice")
    shop.quiet()
    assert shop.entries(customer) == [("subscription_grant", 100), ("subscription_grant", shop.share(bought, 150))]
    return str(bought)


def charges(shop: Shop, subscription: str) -> list[str]:
    """Of the first month, and of the change."""
    return [shop.charge_of_invoice(it.id) for it in shop.invoices(subscription)]


def half(shop: Shop, charge: str) -> str:
    return part(shop, charge, 2)


def part(shop: Shop, charge: str, of: int) -> str:
    """One part of so many of what was charged, rounded up, as the portal takes it."""
    return f"{-(-shop.v1.charges.retrieve(charge).amount // of) / 100:.2f}"


def test_a_refund_of_an_upgrades_invoice_claws_what_the_upgrade_granted(shop: Shop, shape: str) -> None:
    customer = f"up-{shape}"
    bought = upgraded(shop, customer)
    (_, change), more = charges(shop, bought), shop.share(bought, 150)
    assert [payment["units"] for payment in shop.payments(customer)] == [100, more]
    shop.do("refund", change)
    assert shop.entries(customer)[2:] == [("clawback", -more)]


def test_half_of_an_upgrades_money_is_half_of_what_it_granted(shop: Shop, shape: str) -> None:
    customer = f"half-{shape}"
    bought = upgraded(shop, customer)
    (_, change), more = charges(shop, bought), shop.share(bought, 150)
    shop.do("refund", change, half(shop, change))
    assert shop.entries(customer)[2:] in ([("clawback", -(more // 2))], [("clawback", -(more // 2) - 1)])
    assert [payment["state"] for payment in shop.payments(customer)] == ["settled", "partly_refunded"]
    shop.do("refund", change)
    assert shop.balance(customer) == 100


def test_a_refund_of_the_month_before_an_upgrade_claws_that_alone(shop: Shop, shape: str) -> None:
    customer = f"before-{shape}"
    bought = upgraded(shop, customer)
    month, change = charges(shop, bought)
    shop.do("refund", month, half(shop, month))
    assert shop.balance(customer) == 50 + shop.share(bought, 150)
    shop.do("refund", change)
    assert shop.balance(customer) == 50


def test_a_refund_of_a_renewal_with_prorations_claws_what_it_paid_for(shop: Shop) -> None:
    bought = shop.buy("with-the-next", plan="basic").subscription
    shop.pass_time("10d")
    shop.change_plan(bought, "large", "create_prorations")
    shop.pass_time("22d")
    more = shop.share(bought, 150)
    assert sorted(units for _, units in shop.entries("with-the-next")) == sorted([100, more, 250])
    _, renewal = charges(shop, bought)
    shop.do("refund", renewal)
    assert shop.balance("with-the-next") == 100, "the month, and the share of the one before"


SWITCH = ("customer.subscription.updated", "invoice.paid", "invoice_payment.paid")


@pytest.fixture(scope="module")
def switch(shop: Shop) -> list[dict[str, Any]]:
    """What the provider told of a plan by the month, and ten days later by the year."""
    bought = shop.buy("switcher", plan="basic").subscription
    shop.pass_time("10d")
    shop.change_to_a_year(bought, 100_00)
    shop.quiet()
    return shop.told_of(bought)


@pytest.mark.parametrize("first", SWITCH[:2])
def test_the_year_has_paid_for_the_month_that_it_begins_with(
    shop: Shop, switch: list[dict[str, Any]], first: str
) -> None:
    customer = f"switch-{first.split('.')[0]}"
    *before, _, _, _ = told = [it for it in switch if it["type"] in (*SWITCH, "customer.subscription.created")]
    change = sorted(told[-3:], key=lambda it: it["type"] != first)
    shop.tell(*about([*before, *change], customer, was="switcher"))
    granted = [units for _, units in shop.entries(customer)]  # the year has gone on since it was told first
    assert set(granted) == {100}
    assert [it["units"] for it in shop.payments(customer)] == [100, sum(granted[1:])]


def test_half_of_a_years_money_is_half_of_the_months_since_the_switch(shop: Shop) -> None:
    bought = shop.buy("to-a-year", plan="basic").subscription
    shop.pass_time("10d")
    shop.change_to_a_year(bought, 100_00)
    shop.quiet()
    assert shop.balance("to-a-year") == 200
    _, year = charges(shop, bought)
    shop.do("refund", year, half(shop, year))
    assert shop.balance("to-a-year") == 150, "the month before it was paid for by itself"


def test_money_that_was_credited_is_not_taken_again(shop: Shop) -> None:
    bought = shop.buy("down", plan="large").subscription
    shop.pass_time("10d")
    shop.change_plan(bought, "basic", "always_invoice")
    shop.quiet()
    assert shop.entries("down") == [("subscription_grant", 250)]
    first, credit = shop.payments("down")
    assert (first["units"], credit["money"]["amount"], credit["units"]) == (250, "0.00", 0)


# --- in whatever order it is told


@pytest.fixture(scope="module")
def told(shop: Shop) -> dict[str, dict[str, Any]]:
    """What the provider told of an upgrade of which a third was refunded, by names of our own."""
    bought = upgraded(shop, "original")
    _, change = charges(shop, bought)
    shop.do("refund", change, part(shop, change, 3))
    events = shop.told_of(bought)

    def the(type_: str, **values: Any) -> dict[str, Any]:
        """The last one of a type with these values."""
        found = [it for it in events if it["type"] == type_ and values.items() <= it["data"]["object"].items()]
        return found[-1]

    second = the("invoice.paid", billing_reason="subscription_update")
    return {
        "basic": the("customer.subscription.created"),
        "first": the("invoice.paid", billing_reason="subscription_create"),
        "large": the("customer.subscription.updated"),
        "second": second,
        "money": next(
            it
            for it in events
            if it["type"] == "invoice_payment.paid"
            and it["data"]["object"]["invoice"] == second["data"]["object"]["id"]
        ),
        "back": the("charge.refunded"),
    }


ORDERS = {
    "told as it was": "basic first large second money back",
    "the invoice before its plan": "basic first second money large back",
    "backwards but for the invoice": "back money large second first basic",
    "the plan alone at first": "large second back money basic first",
    "the first invoice last": "basic large second money back first",
    "refunded before all": "back first second large basic money",
}


@pytest.mark.parametrize("order", ORDERS)
def test_in_whatever_order_an_upgrade_is_told_it_comes_to_the_same(
    shop: Shop, told: dict[str, dict[str, Any]], order: str
) -> None:
    customer = order.replace(" ", "-")
    shop.tell(*about([told[name] for name in ORDERS[order].split()], customer))
    more = shop.entries("original")[1][1]
    payments = sorted((payment["units"], payment["state"]) for payment in shop.payments(customer))
    assert payments == sorted([(100, "settled"), (more, "partly_refunded")])
    assert shop.balance(customer) == sum(units for _, units in shop.entries("original")[:3])
    assert shop.get(f"/v1/customers/{customer}")["subscription"]["plan"] == "large"
