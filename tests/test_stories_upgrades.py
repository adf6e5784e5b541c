"""A plan that grew within its month, paid by an invoice of nothing but prorations: what its refunds take."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from models import cycles
from running import Running
from story_shop import Shop, a_shop
from stripe_events import charge, event, invoice, refund, subscription


@pytest.fixture(scope="module")
def shop(stories: Running) -> Iterator[Shop]:
    with a_shop(stories, "upgrades") as shop:
        yield shop


class Upgrade:
    """A plan that grew after ten days, as the provider tells of it: $7.50 for the rest of the month."""

    def __init__(self, shop: Shop, customer: str) -> None:
        self.shop, self.customer = shop, customer
        self.now = shop.now().replace(microsecond=0)
        self.start = self.now - timedelta(days=10)
        self.period = {"start": self.start, "end": cycles.cycle_start(self.start, 1)}
        first = self._invoice("first", 1000, "subscription_create", [self._line("basic", 1000)])
        rest = [self._line("basic", -500, since=self.now), self._line("large", 1250, since=self.now)]
        second = self._invoice("second", 750, "subscription_update", rest)
        self.invoices = {"first": first, "second": second}

    def _line(self, plan: str, minor: int, since: datetime | None = None) -> dict[str, Any]:
        """What a plan costs for the period; since a moment within it: for the rest of it, in proportion."""
        start, end = since or self.period["start"], self.period["end"]
        return {
            "id": f"il_{self.customer}_{plan}_{minor}",
            "amount": minor,
            "period": {"start": int(start.timestamp()), "end": int(end.timestamp())},
            "parent": {"subscription_item_details": {"proration": since is not None}},
            "pricing": {"price_details": {"price": f"upgrades_{plan}"}},
            "metadata": {"app": "upgrades", "customer": self.customer, "plan": "basic"},
        }

    def _invoice(self, name: str, minor: int, reason: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        number = f"{self.customer}-{name}"
        sold = {"reason": reason, "number": number, "subscription_number": self.customer, **self.period}
        it = invoice("upgrades", self.customer, "basic", **sold, amount_paid=minor, payment_intent=f"pi_{number}")
        return {**it, "lines": {"object": "list", "data": lines}}

    def is_of(self, plan: str, since: datetime) -> dict[str, Any]:
        it = subscription("upgrades", self.customer, "basic", anchor=self.start, **self.period, number=self.customer)
        it["items"]["data"][0]["price"] = {"id": f"upgrades_{plan}"}
        return event("customer.subscription.updated", it, created=since)

    def paid(self, name: str) -> dict[str, Any]:
        return event("invoice.paid", self.invoices[name], created=self.now)

    def refunded(self, name: str, part: int, amount: int) -> None:
        number = f"{self.customer}-{name}"
        told = charge(refunded=part, amount=amount, number=number)
        self.shop.tell(event("refund.created", refund(f"re_{number}", part, number=number), created=self.now))
        self.shop.tell(event("charge.refunded", told, created=self.now))


def upgraded(shop: Shop, customer: str, order: str) -> Upgrade:
    it = Upgrade(shop, customer)
    told = [it.is_of("large", it.now), it.paid("second")]
    shop.tell(it.is_of("basic", it.start), it.paid("first"), *(told if order == "plan first" else reversed(told)))
    assert shop.entries(customer) == [("subscription_grant", 100), ("subscription_grant", 150)]
    return it


@pytest.mark.parametrize("order", ["plan first", "invoice first"])
def test_a_refund_of_an_upgrades_invoice_claws_what_the_upgrade_granted(shop: Shop, order: str) -> None:
    customer = f"up-{order[:4]}"
    it = upgraded(shop, customer, order)
    assert [payment["units"] for payment in shop.payments(customer)] == [100, 150]
    it.refunded("second", 750, 750)
    assert shop.entries(customer)[2:] == [("clawback", -150)]


@pytest.mark.parametrize("order", ["plan first", "invoice first"])
def test_a_refund_of_the_month_before_an_upgrade_claws_that_alone(shop: Shop, order: str) -> None:
    customer = f"before-{order[:4]}"
    it = upgraded(shop, customer, order)
    it.refunded("first", 500, 1000)
    assert shop.balance(customer) == 200
    it.refunded("second", 250, 750)
    assert shop.balance(customer) == 150


ORDERS = {
    "told as it was": "basic first large second back",
    "backwards but for the invoice": "back large second first basic",
    "the plan alone at first": "large second back basic first",
    "the first invoice last": "basic large second back first",
    "refunded before all": "back first second large basic",
}


@pytest.mark.parametrize("order", ORDERS)
def test_in_whatever_order_an_upgrade_is_told_it_comes_to_the_same(shop: Shop, order: str) -> None:
    customer = order.replace(" ", "-")
    it = Upgrade(shop, customer)
    told = {
        "basic": it.is_of("basic", it.start),
        "first": it.paid("first"),
        "large": it.is_of("large", it.now),
        "second": it.paid("second"),
        "back": event("charge.refunded", charge(refunded=250, amount=750, number=f"{customer}-second"), created=it.now),
    }
    shop.tell(*(told[name] for name in ORDERS[order].split()))
    payments = sorted((payment["units"], payment["state"]) for payment in shop.payments(customer))
    assert payments == [(100, "settled"), (150, "partly_refunded")]
    assert shop.balance(customer) == 200
    assert shop.get(f"/v1/customers/{customer}")["subscription"]["plan"] == "large"
