"""Whole purchases in currencies of no, of three and of oddly counted decimals: page, webhook, refunds, reports, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.providers.shop import PAGES
from tests.support.waiting import wait_until
from tests.system.stories.inside import Insides
from tests.system.stories.story_shop import Shop, a_shop


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside("money") as scrip, a_shop(scrip, "money") as shop:
        yield shop


def moneys(payment: dict[str, Any]) -> tuple[str, str, str, str]:
    """(paid, refunded, state, currency)"""
    paid, refunded = payment["money"], payment["refunded"]
    assert paid["currency"] == refunded["currency"]
    return paid["amount"], refunded["amount"], payment["state"], paid["currency"]


# Paid, what Stripe is told, a part of it, the units of that part, the refunds as the API shows them.
AT_STRIPE = {
    "yen": ("1000", 1000, "333", 33, "jpy"),
    "dinar": ("12.340", 12340, "6.170", 50, "kwd"),
    "krona": ("500.00", 50000, "250.00", 50, "isk"),
    "forint": ("990.00", 99000, "333.30", 33, "huf"),
}


@pytest.mark.parametrize("pack", AT_STRIPE)
def test_a_purchase_and_its_refunds_at_stripe(shop: Shop, pack: str) -> None:
    price, minor, part, units, currency = AT_STRIPE[pack]
    session = shop.buy(pack, pack=pack)
    assert (session.amount_total, session.currency) == (minor, currency)
    assert shop.balance(pack) == 100
    payment = shop.payment(pack)
    assert moneys(payment)[::2] == (price, "settled")
    refunded = shop.refund(payment["id"], f"{pack}-part", part)
    assert refunded["money"] == {"amount": part, "currency": currency}
    assert shop.balance(pack) == 100 - units
    assert moneys(shop.payment(pack)) == (price, part, "partly_refunded", currency)
    shop.refund(payment["id"], f"{pack}-rest")
    assert moneys(shop.payment(pack)) == (price, price, "refunded", currency)
    assert shop.entries(pack) == [("purchase", 100), ("clawback", -units), ("clawback", units - 100)]


@pytest.mark.parametrize("pack", AT_STRIPE)
def test_a_refund_at_stripes_portal_claws_the_same(shop: Shop, pack: str) -> None:
    part, units = AT_STRIPE[pack][2:4]
    customer = f"{pack}-portal"
    charge = shop.charge_of(shop.buy(customer, pack=pack))
    shop.do("refund", charge, part)
    assert shop.balance(customer) == 100 - units
    shop.do("refund", charge)
    assert shop.balance(customer) == 0


@pytest.mark.parametrize(
    ("pack", "amount"), [("yen", "333.5"), ("yen", "0.01"), ("dinar", "6.171"), ("dinar", "6.1701"), ("krona", "250.5")]
)
def test_an_amount_that_the_currency_cannot_have_is_refused(shop: Shop, pack: str, amount: str) -> None:
    customer = f"{pack}-{amount}"
    shop.buy(customer, pack=pack)
    refusal = shop.refund(shop.payment(customer)["id"], customer, amount, status=422)
    assert [error["field"] for error in refusal["errors"]] == ["amount"]
    assert shop.balance(customer) == 100


AT_PAYPAL = {"yen": ("1000", "JPY", "1000", "333", 33), "forint": ("990", "HUF", "990.00", "330.00", 33)}


@pytest.mark.parametrize("pack", AT_PAYPAL)
def test_a_purchase_and_its_refunds_at_paypal(shop: Shop, pack: str) -> None:
    value, code, price, part, units = AT_PAYPAL[pack]
    customer = f"{pack}-paypal"
    page = shop.open(customer, pack=pack, provider="paypal")["url"]
    assert requests.post(page, {"how": "COMPLETED"}, allow_redirects=False, timeout=9).status_code == 303
    shop.quiet()
    wait_until(lambda: shop.balance(customer) == 100)
    assert on_the_wire(shop, page) == {"value": value, "currency_code": code}
    payment = shop.payment(customer)
    assert (payment["provider"], payment["money"]["amount"], payment["state"]) == ("paypal", price, "settled")
    shop.refund(payment["id"], f"{customer}-part", part)
    assert shop.balance(customer) == 100 - units
    shop.refund(payment["id"], f"{customer}-rest")
    assert moneys(shop.payment(customer)) == (price, price, "refunded", code.lower())
    assert shop.balance(customer) == 0


def on_the_wire(shop: Shop, page: str) -> dict[str, str]:
    """What PayPal captured of the order."""
    url = f"{shop.provider.url}/paypal/v2/checkout/orders/{page.rpartition('/')[2]}"
    order = requests.get(url, headers={"Authorization": "Bearer A21-sandbox_money"}, timeout=9).json()
    (capture,) = order["purchase_units"][0]["payments"]["captures"]
    found: dict[str, str] = capture["amount"]
    return found


@pytest.mark.parametrize("pack", ["dinar", "krona"])
def test_what_paypal_does_not_take_is_refused_before_anybody_pays(shop: Shop, pack: str) -> None:
    asked = {"customer": "nobody", "pack": pack, "provider": "paypal", **PAGES}
    answer = shop.system.call("POST", "/v1/checkout", asked, app="money")
    assert answer.status_code in (409, 422), answer.text


def test_reports_and_their_csv_have_each_currencys_own_decimals(shop: Shop) -> None:
    for pack in AT_STRIPE:
        shop.buy(f"{pack}-report", pack=pack)
    report = shop.get("/v1/reports/revenue?group=pack")
    assert set(report["currencies"]) == {"jpy", "kwd", "isk", "huf"}
    for code, decimals in (("jpy", 0), ("kwd", 3), ("isk", 2), ("huf", 2)):
        shown = report["currencies"][code]
        for name in ("gross", "refunded", "disputed", "net"):
            assert len(shown[name].partition(".")[2]) == decimals, (code, name, shown[name])
    answer = shop.system.call("GET", "/v1/reports/revenue?group=pack", app="money", headers={"Accept": "text/csv"})
    lines = {line["key"]: line for line in csv.DictReader(io.StringIO(answer.text))}
    for row in report["groups"]:
        assert lines[row["key"]] == {name: str(value) for name, value in row.items()}
    dinar = report["currencies"]["kwd"]
    assert float(dinar["gross"]) == pytest.approx(12.34 * dinar["payments"])
