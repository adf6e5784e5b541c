"""Money of a plan that goes back, or is asked about: which months it takes, and those that are granted later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.waiting import wait_until
from tests.system.stories.inside import Insides
from tests.system.stories.story_shop import Shop, a_shop

MONTH = "31d"


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside("returns") as scrip, a_shop(scrip, "returns") as shop:
        yield shop


@pytest.fixture(autouse=True)
def ended(shop: Shop) -> Iterator[None]:
    yield
    shop.end_plans()


def two_months(shop: Shop, customer: str) -> tuple[str, str]:
    """A plan in its second month; the charges of both."""
    bought = shop.buy(customer, plan="basic").subscription
    shop.pass_time(MONTH)
    assert shop.balance(customer) == 200
    first, second = (shop.charge_of_invoice(it.id) for it in shop.invoices(bought))
    return first, second


def usable(shop: Shop, customer: str) -> tuple[int, int]:
    """(balance, available)"""
    shown = shop.get(f"/v1/customers/{customer}/balance")
    return shown["balance"], shown["available"]


def states(shop: Shop, customer: str) -> list[str]:
    return [payment["state"] for payment in shop.payments(customer)]


# --- month by month


@pytest.mark.parametrize("month", [0, 1])
def test_a_refund_of_one_months_invoice_claws_that_month(shop: Shop, month: int) -> None:
    customer = f"month-{month}"
    shop.do("refund", two_months(shop, customer)[month])
    assert shop.entries(customer)[2:] == [("clawback", -100)]
    expected = ["settled", "settled"]
    expected[month] = "refunded"
    assert states(shop, customer) == expected
    assert shop.payments(customer)[month]["credit"] == "refunded"
    shop.pass_time(MONTH)
    assert shop.balance(customer) == 200, "the month after it was paid for, and no other is granted again"


def test_a_part_of_a_months_money_is_a_part_of_its_units(shop: Shop) -> None:
    _, second = two_months(shop, "part")
    shop.do("refund", second, "2.55")
    assert (shop.balance("part"), states(shop, "part")) == (175, ["settled", "partly_refunded"])
    shop.do("refund", second)
    assert shop.balance("part") == 100


def test_our_own_refund_of_a_month_is_the_same(shop: Shop) -> None:
    two_months(shop, "ours")
    answer = shop.refund(shop.payments("ours")[1]["id"], "ours-back")
    assert answer["money"] == {"amount": "10.00", "currency": "usd"}
    assert (shop.balance("ours"), states(shop, "ours")) == (100, ["settled", "refunded"])


def test_a_months_refund_that_fails_gives_its_units_back(shop: Shop) -> None:
    _, second = two_months(shop, "fails")
    back = shop.do("refund", second)
    assert shop.balance("fails") == 100
    shop.do("refund-fails", back["id"])
    assert (shop.balance("fails"), states(shop, "fails")) == (200, ["settled", "settled"])


def test_a_dispute_of_a_month_takes_it_and_gives_it_back_when_it_is_won(shop: Shop) -> None:
    _, second = two_months(shop, "dispute")
    dispute = shop.do("dispute", second)
    assert (shop.balance("dispute"), states(shop, "dispute")) == (100, ["settled", "disputed"])
    shop.do("win", dispute["id"])
    assert (shop.balance("dispute"), states(shop, "dispute")) == (200, ["settled", "settled"])


def test_a_question_about_a_month_freezes_that_month_alone(shop: Shop) -> None:
    _, second = two_months(shop, "asked")
    inquiry = shop.do("inquiry", second)
    assert usable(shop, "asked") == (200, 100)
    shop.pass_time(MONTH)
    assert usable(shop, "asked") == (300, 200), "what another invoice paid for is free"
    shop.do("close-inquiry", inquiry["id"])
    assert usable(shop, "asked") == (300, 300)


def test_a_question_that_becomes_a_dispute_takes_the_month(shop: Shop) -> None:
    first, _ = two_months(shop, "escalated")
    inquiry = shop.do("inquiry", first)
    assert usable(shop, "escalated") == (200, 100)
    shop.do("escalate", inquiry["id"])
    assert usable(shop, "escalated") == (100, 100)
    shop.do("lose", inquiry["id"])
    assert usable(shop, "escalated") == (100, 100)


# --- a year paid at once


def year(shop: Shop, customer: str) -> str:
    """A year for $100.00, in its second month; its charge."""
    bought = shop.subscribe(customer, "basic", year_minor=100_00)
    shop.pass_time(MONTH)
    wait_until(lambda: shop.balance(customer) == 200)
    return shop.charge_of_invoice(shop.invoices(bought)[0].id)


def later(shop: Shop, customer: str) -> int:
    """The balance a month later, with all that is owed."""
    shop.pass_time(MONTH)
    # Unlike the schedule's job, which leaves out what another worker is at, this waits for it.
    shop.system.post(f"/v1/customers/{customer}/grants", {}, app="returns", status=200)
    return shop.balance(customer)


def test_a_part_of_a_years_money_takes_its_share_of_later_months_too(shop: Shop) -> None:
    paid = year(shop, "year-part")
    shop.do("refund", paid, "25.00")
    assert shop.balance("year-part") == 150
    assert later(shop, "year-part") == 225
    shop.do("refund", paid, "25.00")
    assert shop.balance("year-part") == 150, "half of three months"
    assert later(shop, "year-part") == 200


def test_a_part_of_a_years_money_that_comes_back_gives_all_months_back(shop: Shop) -> None:
    back = shop.do("refund", year(shop, "year-fails"), "25.00")
    assert later(shop, "year-fails") == 225
    shop.do("refund-fails", back["id"])
    assert shop.balance("year-fails") == 300


def test_all_of_a_years_money_takes_all_months_and_ends_them(shop: Shop) -> None:
    shop.do("refund", year(shop, "year-all"))
    assert shop.balance("year-all") == 0
    assert later(shop, "year-all") == 0


def test_a_question_about_a_year_freezes_later_months_too(shop: Shop) -> None:
    inquiry = shop.do("inquiry", year(shop, "year-asked"))
    assert usable(shop, "year-asked") == (200, 0)
    later(shop, "year-asked")
    assert usable(shop, "year-asked") == (300, 0)
    shop.do("close-inquiry", inquiry["id"])
    assert usable(shop, "year-asked") == (300, 300)
