"""One month and a bit of a plan, told late, twice and in any order: the same ledger each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.running import Running
from tests.system.stories.story_shop import Shop, a_shop, about

Event = dict[str, Any]


@pytest.fixture(scope="module")
def shop(stories: Running) -> Iterator[Shop]:
    with a_shop(stories, "modes") as shop:
        yield shop


def ledger(shop: Shop, customer: str) -> dict[str, Any]:
    """What it all came to. Clawbacks and what was given back again may have come in any order."""
    held = shop.get(f"/v1/customers/{customer}/balance")
    runs = shop.get(f"/v1/customers/{customer}")["subscription"]
    payments = [
        (it["money"]["amount"], it["refunded"]["amount"], it["disputed"]["amount"], it["state"], it["units"])
        for it in shop.payments(customer)
    ]
    return {
        **{name: held[name] for name in ("balance", "available", "debt")},
        **{name: runs[name] for name in ("plan", "status")},
        "payments": sorted(payments),
    }


def first_month(shop: Shop, customer: str) -> str:
    """A plan, a part of its money refunded, a part disputed and won; returns the subscription."""
    bought = shop.subscribe(customer, "basic")
    paid = shop.charge_of_invoice(shop.invoices(bought)[0].id)
    shop.press("refund", paid, "2.50")
    shop.press("refund-that-fails", paid, "1.00")
    dispute = shop.press("dispute", paid, "5.00")
    shop.press("win", dispute["id"])
    return bought


def second_month(shop: Shop, bought: str) -> None:
    """The next month, which the bank asks about, and then the end."""
    paid = shop.charge_of_invoice(shop.invoices(bought)[1].id)
    inquiry = shop.press("inquiry", paid)
    shop.press("close-inquiry", inquiry["id"])
    shop.press("cancel", bought)


CAME_TO = {
    "balance": 175,
    "available": 175,
    "debt": 0,
    "plan": "basic",
    "status": "canceled",
    "payments": [
        ("10.00", "0.00", "0.00", "settled", 100),
        ("10.00", "2.50", "0.00", "partly_refunded", 100),
    ],
}


@pytest.mark.parametrize(
    ("mode", "shape"), [("normal", "new"), ("normal", "old"), ("late", "new"), ("twice", "new"), ("shuffled", "old")]
)
def test_however_events_come_the_ledger_is_the_same(shop: Shop, mode: str, shape: str) -> None:
    customer = f"{mode}-{shape}"
    shop.deliver(mode, late_seconds=0.5, shape=shape)
    try:
        bought = first_month(shop, customer)
        shop.quiet()
        shop.move_clock("31d")
        second_month(shop, bought)
        shop.quiet()
    finally:
        shop.deliver("normal", shape="new")
    assert ledger(shop, customer) == CAME_TO


def test_an_upgrade_that_no_bill_carries_waits_in_whatever_order_it_is_told(shop: Shop) -> None:
    shop.deliver("swallow")
    try:
        bought = shop.subscribe("hasty", "basic")
        shop.move_clock("2s")
        shop.change_plan(bought, "large")
        swallowed = shop.v1.events.list({"limit": 30, "delivery_success": False}).data
    finally:
        shop.deliver("normal")
    for it in (it for it in swallowed if bought in str(it)):  # the newest is the first of the list
        shop.provider.control("modes", send=it.id)
        shop.quiet()
    assert (shop.balance("hasty"), ledger(shop, "hasty")["plan"]) == (100, "basic")


# --- the same events again, about somebody else


@pytest.fixture(scope="module")
def told(stories: Running) -> Iterator[tuple[Shop, list[Event]]]:
    """What the provider told of two months of `original`, oldest first."""
    with a_shop(stories, "orders") as shop:
        bought = first_month(shop, "original")
        shop.quiet()
        shop.move_clock("31d")
        second_month(shop, bought)
        shop.quiet()
        assert ledger(shop, "original") == CAME_TO
        listed = shop.v1.events.list({"limit": 100}).auto_paging_iter()
        yield shop, [it.to_dict(for_json=True) for it in listed][::-1]


def test_all_at_once_when_all_is_over_is_the_same(told: tuple[Shop, list[Event]]) -> None:
    shop, events = told
    shop.tell(*about(events, "after"))
    assert ledger(shop, "after") == CAME_TO


def test_backwards_and_then_all_again_is_the_same(told: tuple[Shop, list[Event]]) -> None:
    shop, events = told
    copies = about(events, "backwards")
    shop.tell(*copies[::-1])
    assert ledger(shop, "backwards") == CAME_TO
    shop.tell(*copies)
    assert ledger(shop, "backwards") == CAME_TO


@pytest.mark.parametrize("first", ["invoice.paid", "charge.refunded", "customer.subscription.deleted"])
def test_one_kind_of_event_first_and_backwards_is_the_same(told: tuple[Shop, list[Event]], first: str) -> None:
    shop, events = told
    copies = about(events, first.replace(".", "-"))
    early = [it for it in copies if it["type"] == first]
    shop.tell(*early[::-1], *(it for it in copies if it["type"] != first))
    assert ledger(shop, first.replace(".", "-")) == CAME_TO


@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_some_told_twice_is_the_same(told: tuple[Shop, list[Event]], seed: int) -> None:
    shop, events = told
    chance = random.Random(seed)
    copies = about(events, f"seed{seed}")
    mixed = copies + chance.sample(copies, 8)
    chance.shuffle(mixed)
    shop.tell(*mixed)
    assert ledger(shop, f"seed{seed}") == CAME_TO
