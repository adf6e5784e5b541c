"""The sandbox's PayPal, spoken to by Scrip's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests

import settings as module
from jobs.providers.paypal import client
from models import clock, money
from models.catalog import catalog
from models.errors import ProviderRefused
from sandbox.paypal import ca
from sandbox.ticking import tick
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider

APP = "echomind"


@pytest.fixture
def provider(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        monkeypatch.setattr(client, "settings", replace(module.settings, sandbox_url=running.url))
        yield running


@pytest.fixture
def paypal(provider: Provider) -> client.PayPal:
    return client.client(catalog.current()[APP])


def order(paypal: client.PayPal, key: str = "c-1") -> str:
    id_, url = paypal.create_order(
        key,
        custom_id="customer=ada&pack=session",
        description="1 session",
        amount_minor=599,
        currency="usd",
        success_url="https://shop.test/thanks?c=1",
        cancel_url="https://shop.test/",
    )
    assert url.endswith(f"/paypal/approve/{id_}")
    return id_


def approve(provider: Provider, id_: str, how: str = "COMPLETED") -> requests.Response:
    url = f"{provider.url}/paypal/approve/{id_}"
    assert "5.99 USD" in requests.get(url, timeout=9).text
    return requests.post(url, data={"how": how}, allow_redirects=False, timeout=9)


def captured(provider: Provider, paypal: client.PayPal, how: str = "COMPLETED") -> dict[str, Any]:
    id_ = order(paypal)
    approve(provider, id_, how)
    (capture,) = client.captures_of(paypal.capture_order(id_))
    return capture


def told(provider: Provider) -> list[str]:
    return [type_ for (type_,) in provider.sandbox.store.rows("SELECT type FROM event ORDER BY number")]


def last_resource(provider: Provider) -> dict[str, Any]:
    ((body,),) = provider.sandbox.store.rows("SELECT body FROM event ORDER BY number DESC LIMIT 1")
    resource: dict[str, Any] = json.loads(body)["resource"]
    return resource


def test_an_order_is_approved_and_captured(provider, paypal):
    id_ = order(paypal)
    back = approve(provider, id_)
    assert back.headers["Location"].startswith(f"https://shop.test/thanks?c=1&token={id_}&PayerID=")
    (capture,) = client.captures_of(paypal.capture_order(id_))
    assert (capture["status"], capture["amount"]) == ("COMPLETED", {"value": "5.99", "currency_code": "USD"})
    assert capture["custom_id"] == "customer=ada&pack=session"
    assert capture["supplementary_data"]["related_ids"]["order_id"] == id_
    assert told(provider) == ["CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED"]
    assert last_resource(provider)["id"] == capture["id"]


def test_the_same_request_id_gives_the_same_order(provider, paypal):
    assert order(paypal) == order(paypal) != order(paypal, "c-2")


def test_an_order_is_captured_once_whatever_the_request_id(provider, paypal):
    id_ = order(paypal)
    approve(provider, id_)
    paypal.capture_order(id_)
    path = f"{provider.url}/paypal/v2/checkout/orders/{id_}/capture"
    token = {"Authorization": f"Bearer A21-sandbox_{APP}", "PayPal-Request-Id": "another"}
    answer = requests.post(path, json={}, headers=token, timeout=9)
    assert (answer.status_code, answer.json()["details"][0]["issue"]) == (422, "ORDER_ALREADY_CAPTURED")
    assert len(provider.sandbox.store.each(APP, "paypal.capture")) == 1


def ask_for(provider: Provider, currency: str, value: Any) -> requests.Response:
    """Ask for an order of so much."""
    return requests.post(
        f"{provider.url}/paypal/v2/checkout/orders",
        json={"intent": "CAPTURE", "purchase_units": [{"amount": {"currency_code": currency, "value": value}}]},
        headers={"Authorization": f"Bearer A21-sandbox_{APP}"},
        timeout=9,
    )


@pytest.mark.parametrize(
    ("currency", "value", "issue"),
    [
        ("ISK", "1500", "CURRENCY_NOT_SUPPORTED"),
        ("KWD", "1.50", "CURRENCY_NOT_SUPPORTED"),
        ("JPY", "1500.50", "DECIMALS_NOT_SUPPORTED"),
        ("USD", "-1", "INVALID_PARAMETER_VALUE"),
        ("USD", "0", "INVALID_PARAMETER_VALUE"),
        ("USD", "Infinity", "INVALID_PARAMETER_VALUE"),
        ("USD", "NaN", "INVALID_PARAMETER_VALUE"),
        ("USD", "1e3", "INVALID_PARAMETER_VALUE"),
        ("USD", "1_0", "INVALID_PARAMETER_VALUE"),
        ("USD", " 1", "INVALID_PARAMETER_VALUE"),
        ("USD", "１", "INVALID_PARAMETER_VALUE"),
        ("USD", "1." + "0" * 31, "INVALID_PARAMETER_VALUE"),
        ("USD", 1.5, "INVALID_PARAMETER_VALUE"),
        ("USD", "1.234", "DECIMAL_PRECISION"),
        ("USD", "1.000", "DECIMAL_PRECISION"),
    ],
)
def test_what_paypal_does_not_take_is_refused(provider, currency, value, issue):
    answer = ask_for(provider, currency, value)
    assert (answer.status_code, answer.json()["details"][0]["issue"]) == (422, issue)


@pytest.mark.parametrize(
    ("value", "issue"), [("Infinity", "INVALID_PARAMETER_VALUE"), ("1.234", "DECIMAL_PRECISION"), ("0.01", None)]
)
def test_a_refund_has_an_amount_that_paypal_takes(provider, paypal, value, issue):
    capture = captured(provider, paypal)["id"]
    answer = call(
        provider, f"v2/payments/captures/{capture}/refund", json={"amount": {"value": value, "currency_code": "USD"}}
    )
    assert answer.status_code == (422 if issue else 201)
    assert [it["issue"] for it in answer.json().get("details", [])] == ([issue] if issue else [])


def call(provider: Provider, path: str, **body: Any) -> requests.Response:
    """Post to the sandbox's PayPal."""
    url, headers = f"{provider.url}/paypal/{path}", {"Authorization": f"Bearer A21-sandbox_{APP}"}
    return requests.post(url, headers=headers, timeout=9, **body)


POSTS = (
    "v2/checkout/orders",
    "v2/payments/captures/{capture}/refund",
    "v1/notifications/verify-webhook-signature",
)
BROKEN = [b"[" * 100_000, b'{"a":' * 50_000, b'{"purchase_units":' + b"[" * 100_000, b"\xff", b"{", b"[]", b"null"]


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_cannot_be_read_is_no_defect_of_the_sandboxs(provider, paypal, path):
    capture = captured(provider, paypal)["id"]
    for broken in BROKEN:
        answer = call(provider, path.format(capture=capture), data=broken)
        assert (answer.status_code, answer.json()["name"]) == (400, "INVALID_REQUEST"), broken[:20]
        assert answer.json()["details"][0]["issue"] == "MALFORMED"
    assert paypal.get_capture(capture)["status"] == "COMPLETED"


def test_nor_is_an_order_that_can_be_read_but_not_written(provider):
    for depth in range(700, 1000, 12):
        deep = "[" * depth + "]" * depth
        unit = f'{{"amount": {{"value": "1.00", "currency_code": "USD"}}, "x": {deep}}}'
        told = f'{{"intent": "CAPTURE", "purchase_units": [{unit}]}}'
        assert call(provider, "v2/checkout/orders", data=told).status_code in (201, 400), depth


def test_the_portal_for_programs_reads_no_deeper_than_it_can(provider):
    for broken in (b"[" * 100_000, b'{"a":' * 50_000):
        answer = requests.post(f"{provider.url}/control", data=broken, timeout=9)
        assert (answer.status_code, answer.json()["param"]) == (400, None)
        assert answer.json()["error"].startswith("The body is not JSON")
    for asked, param in (
        ({"app": APP, "send": [[[]]]}, "send"),
        ({"app": APP, "late_seconds": 10**400}, "late_seconds"),
    ):
        answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
        assert (answer.status_code, answer.json()["param"]) == (400, param)


def test_the_check_of_a_signature_is_answered_with_200_and_what_is_made_with_201(provider):
    path = "v1/notifications/verify-webhook-signature"
    answer = call(provider, path, json={"webhook_id": "WH-SANDBOX", "webhook_event": {}})
    assert (answer.status_code, answer.json()) == (200, {"verification_status": "FAILURE"})
    assert ask_for(provider, "USD", "1.00").status_code == 201


def test_the_sandbox_takes_the_currencies_that_the_books_say(provider, monkeypatch):
    def is_taken(currency: str) -> bool:
        return ask_for(provider, currency, "5").status_code == 201

    assert (is_taken("USD"), is_taken("INR"), is_taken("usd")) == (True, False, False)
    monkeypatch.setattr(money, "AT_PAYPAL", money.AT_PAYPAL | {"inr"})
    assert is_taken("INR")


def test_what_nobody_approved_cannot_be_captured(paypal):
    with pytest.raises(ProviderRefused) as refusal:
        paypal.capture_order(order(paypal))
    assert refusal.value.code == "ORDER_NOT_APPROVED"


def test_who_cancels_goes_back_and_nothing_is_told(provider, paypal):
    back = approve(provider, order(paypal), "cancel")
    assert back.headers["Location"].startswith("https://shop.test/?token=")
    assert told(provider) == []


def test_refunds_are_partial_and_never_too_much(provider, paypal):
    capture = captured(provider, paypal)
    part = paypal.refund_capture(capture["id"], key="r-1", amount_minor=100, currency="usd")
    assert paypal.refund_capture(capture["id"], key="r-1", amount_minor=100, currency="usd")["id"] == part["id"]
    assert paypal.get_capture(capture["id"])["status"] == "PARTIALLY_REFUNDED"
    with pytest.raises(ProviderRefused) as refusal:
        paypal.refund_capture(capture["id"], key="r-2", amount_minor=500, currency="usd")
    assert refusal.value.code == "REFUND_AMOUNT_EXCEEDED"
    rest = paypal.refund_capture(capture["id"], key="r-3")
    assert paypal.get_refund(rest["id"])["amount"]["value"] == "4.99"
    assert paypal.get_capture(capture["id"])["status"] == "REFUNDED"
    resource = last_resource(provider)
    assert "custom_id" not in resource
    (up,) = [link["href"] for link in resource["links"] if link["rel"] == "up"]
    assert up.endswith(f"/v2/payments/captures/{capture['id']}")


def test_an_echeck_arrives_later(provider, paypal):
    capture = captured(provider, paypal, "PENDING")
    assert told(provider)[-1] == "PAYMENT.CAPTURE.PENDING"
    clock.advance(timedelta(days=4))
    tick(provider.sandbox)
    assert paypal.get_capture(capture["id"])["status"] == "COMPLETED"
    assert told(provider)[-1] == "PAYMENT.CAPTURE.COMPLETED"


def test_a_dispute_that_the_buyer_wins_reverses_the_capture(provider, paypal):
    capture = captured(provider, paypal)
    opened = provider.control(APP, action="paypal-dispute", id=capture["id"])["done"]
    provider.control(APP, action="paypal-lose", id=opened["dispute_id"])
    assert told(provider)[2:] == ["CUSTOMER.DISPUTE.CREATED", "PAYMENT.CAPTURE.REVERSED", "CUSTOMER.DISPUTE.RESOLVED"]
    (dispute,) = paypal.list_disputes(clock.now() - timedelta(days=1))
    assert dispute["disputed_transactions"][0]["seller_transaction_id"] == capture["id"]
    assert dispute["dispute_outcome"]["outcome_code"] == "RESOLVED_BUYER_FAVOUR"


def test_what_is_disputed_is_refunded_whole_or_not_at_all(provider, paypal):
    capture = captured(provider, paypal)
    opened = provider.control(APP, action="paypal-dispute", id=capture["id"])["done"]
    with pytest.raises(ProviderRefused) as refusal:
        paypal.refund_capture(capture["id"], key="r-1", amount_minor=100, currency="usd")
    assert (refusal.value.status, refusal.value.code) == (422, "TRANSACTION_DISPUTED")
    provider.control(APP, action="paypal-win", id=opened["dispute_id"])
    paypal.refund_capture(capture["id"], key="r-2", amount_minor=100, currency="usd")
    provider.control(APP, action="paypal-dispute", id=capture["id"])
    assert paypal.refund_capture(capture["id"], key="r-3")["amount"]["value"] == "4.99"


def test_what_the_sandbox_does_not_have_is_said_as_paypal_says_it(provider):
    answer = requests.get(f"{provider.url}/paypal/v2/invoicing/invoices", timeout=9)
    assert (answer.status_code, answer.json()["name"]) == (404, "RESOURCE_NOT_FOUND")


def test_events_are_listed_page_by_page(provider, paypal, monkeypatch):
    captured(provider, paypal)
    monkeypatch.setattr(client, "PAGE", 1)
    since, until = clock.now() - timedelta(days=1), clock.now() + timedelta(days=1)
    listed = [event["event_type"] for event in paypal.list_events(since, until)]
    assert listed == ["PAYMENT.CAPTURE.COMPLETED", "CHECKOUT.ORDER.APPROVED"]


def test_the_sandbox_knows_its_own_signature(provider, paypal):
    body = b'{"id": "WH-1", "event_type": "X"}'
    headers = ca.paypal_headers(body, data_dir=provider.sandbox.settings.data_dir, base_url=f"{provider.url}/paypal")
    lower = {name.lower(): value for name, value in headers.items()}
    assert paypal.verify_webhook(body, lower, webhook_id="WH-SANDBOX")
    assert not paypal.verify_webhook(body.replace(b"X", b"Y"), lower, webhook_id="WH-SANDBOX")
    assert b"BEGIN CERTIFICATE" in requests.get(headers["PAYPAL-CERT-URL"], timeout=9).content


def test_a_wrong_secret_gets_no_token(provider):
    answer = requests.post(f"{provider.url}/paypal/v1/oauth2/token", auth=(f"sandbox_{APP}", "no"), timeout=9)
    assert answer.status_code == 401


def test_an_app_that_there_is_not_gets_no_token_and_no_answer(provider):
    granted = requests.post(f"{provider.url}/paypal/v1/oauth2/token", auth=("sandbox_nope", "sandbox"), timeout=9)
    assert (granted.status_code, granted.json()["error"]) == (401, "invalid_client")
    headers = {"Authorization": "Bearer A21-sandbox_nope"}
    answer = requests.get(f"{provider.url}/paypal/v2/checkout/orders/X", headers=headers, timeout=9)
    assert answer.status_code == 401


def test_a_dispute_is_about_what_is_left_of_a_payment(provider, paypal):
    capture = captured(provider, paypal)["id"]
    provider.control(APP, action="paypal-refund", id=capture, amount="1.99")
    dispute = provider.control(APP, action="paypal-dispute", id=capture)["done"]
    assert dispute["dispute_amount"] == {"currency_code": "USD", "value": "4.00"}
    provider.control(APP, action="paypal-lose", id=dispute["dispute_id"])
    asked = {"app": APP, "action": "paypal-dispute", "id": capture}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert (answer.status_code, answer.json()["error"]) == (400, "This payment cannot be disputed: it is refunded.")


@pytest.mark.parametrize("amount", ["-1", "0"])
def test_a_refund_of_nothing_is_refused_by_the_portal(provider, paypal, amount):
    asked = {"app": APP, "action": "paypal-refund", "id": captured(provider, paypal)["id"], "amount": amount}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert answer.json() == {"error": f"The amount must be greater than zero, not {amount}.", "param": "amount"}
