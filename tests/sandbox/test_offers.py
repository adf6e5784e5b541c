"""What the sandbox's shop offers of a catalog: each pack by its name, and only the ways to pay that work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from models.catalog import catalog
from sandbox import scrip
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider

APP = "songs"


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        yield running


@pytest.fixture
def sells(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The packs that Scrip's catalog tells of, by their keys."""
    packs: dict[str, Any] = {}
    told = {"app": APP, "name": "Songs", "unit": "credit", "packs": packs, "rates": {}, "plans": {}}

    def call(url: str, app: str, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        return (200, told) if path == "/v1/catalog" else (404, "")

    monkeypatch.setattr(scrip, "call", call)
    return packs


def pack(amount: str, currency: str = "usd") -> dict[str, Any]:
    money = {"amount": amount, "currency": currency}
    return {"units": 100, "price": money, "expires_after": None, "requires_tier": None, "refundable": True}


def shop(provider: Provider, query: str = "") -> str:
    answer = requests.get(f"{provider.url}/shop/{APP}{query}", timeout=9)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("1.500", "kwd", "PayPal does not accept KWD."),
        ("0.00", "usd", "PayPal does not accept free orders."),
        ("5.50", "huf", "paypal charges huf in whole amounts only."),
    ],
)
def test_what_paypal_does_not_take_is_not_offered_and_the_card_says_why(provider, sells, amount, currency, reason):
    sells["small"] = pack(amount, currency)
    page = shop(provider)
    assert 'value="stripe:pack:small"' in page
    assert 'class="main" name="item" value="stripe:pack:small"' in page
    assert "paypal:pack:small" not in page
    assert reason in page


def test_what_neither_takes_is_not_offered_at_all(provider, sells):
    sells["odd"] = pack("5.50", "isk")
    page = shop(provider)
    assert "stripe:pack:odd" not in page
    assert "paypal:pack:odd" not in page
    assert "stripe charges isk in whole amounts only." in page
    assert "PayPal does not accept ISK." in page
    assert 'id="quantity-odd"' not in page


def test_packs_of_as_many_units_are_told_apart_by_their_keys(provider, sells):
    sells.update(small=pack("5.00"), large=pack("7.00"))
    page = shop(provider)
    assert '<h3>100 credits <span class="key">small</span></h3>' in page
    assert '<h3>100 credits <span class="key">large</span></h3>' in page
    assert 'aria-label="Buy with Stripe: large, 100 credits for 7.00 USD"' in page


def test_a_quantity_stays_when_the_customer_is_another(provider, sells):
    sells["small"] = pack("5.00")
    assert 'id="quantity-small"' in shop(provider)
    assert 'max="10000" value="1"' in shop(provider)
    assert 'max="10000" value="7"' in shop(provider, "?customer=bo&quantity-small=7")


# --- plans


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the shop asks of Scrip's POST /v1/checkout, for a catalog whose plan has a plan at PayPal."""
    app = replace(
        catalog.current()[APP], plans={"pro": replace(catalog.current()[APP].plans["pro"], paypal_plan="P-1")}
    )
    monkeypatch.setattr(catalog, "current", lambda: {APP: app})
    plan = {**pack("29.00"), "tier": None, "expires_after": "period"}
    told = {"app": APP, "name": "Songs", "unit": "credit", "packs": {}, "rates": {}, "plans": {"pro": plan}}
    bodies: list[dict[str, Any]] = []

    def call(url: str, app: str, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        if path == "/v1/checkout":
            bodies.append(body)
            return 201, {"url": "/"}
        return (200, told) if path == "/v1/catalog" else (404, "")

    monkeypatch.setattr(scrip, "call", call)
    return bodies


def test_a_plan_with_a_plan_at_paypal_is_sold_through_both(provider, asked):
    page = shop(provider)
    assert 'value="stripe:plan:pro"' in page
    assert 'value="paypal:plan:pro"' in page
    assert "has no plan at PayPal" not in page


@pytest.mark.parametrize(("seats", "sent"), [("1", {}), ("3", {"quantity": 3}), ("", {})])
def test_seats_are_passed_on(provider, asked, seats, sent):
    form = {"item": "paypal:plan:pro", "customer": "ada", "seats-pro": seats, "quantity-pro": "9"}
    assert requests.post(f"{provider.url}/shop/{APP}", data=form, allow_redirects=False, timeout=9).status_code == 303
    (body,) = asked
    assert {name: body[name] for name in body if name in ("plan", "provider", "quantity")} == {
        "plan": "pro",
        "provider": "paypal",
        **sent,
    }


def test_seats_that_are_wrong_are_refused(provider, asked):
    form = {"item": "stripe:plan:pro", "customer": "ada", "seats-pro": "many"}
    assert requests.post(f"{provider.url}/shop/{APP}", data=form, timeout=9).status_code == 400
    assert asked == []
