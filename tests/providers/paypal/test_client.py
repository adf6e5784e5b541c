"""The client of PayPal's API against a server that answers as it is told: tokens, retries, errors, pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
import requests

from jobs.providers.paypal import client as paypal_client
from jobs.providers.paypal import http, receiver
from jobs.providers.paypal.client import PayPal
from jobs.providers.paypal.http import Account
from jobs.providers.paypal.signature import NoCertificate
from models.catalog.provider_accounts import PayPalAccount
from models.errors import ProviderAway, ProviderRefused
from tests.support.cast import app

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
TOKEN = (200, {"access_token": "t-1", "expires_in": 32400})


class Stub:
    """Answers calls from `answers`, by "METHOD path" without the query; the last answer of a list stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {"POST /v1/oauth2/token": [TOKEN]}
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def calls(self, start: str = "") -> list[str]:
        return [line for line, _, _ in self.came if line.startswith(start)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            line = f"{self.command} {self.path}"
            stub.came.append((line, {name.lower(): value for name, value in self.headers.items()}, body))
            left = stub.answers.get(line.partition("?")[0]) or [(404, {"name": "RESOURCE_NOT_FOUND"})]
            status, told = left.pop(0) if len(left) > 1 else left[0]
            raw = told if isinstance(told, bytes) else orjson.dumps(told)
            self.send_response(status)
            for name, value in {**stub.headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    it = Stub()
    yield it
    it.close()


@pytest.fixture
def client(stub: Stub) -> PayPal:
    return PayPal(Account("id", "secret", "sandbox", stub.url))


def test_the_token_is_fetched_once_while_it_lasts(stub, client, monkeypatch):
    stub.answers["GET /v2/checkout/orders/O1"] = [(200, {"id": "O1"})]
    for _ in range(3):
        assert client.get_order("O1") == {"id": "O1"}
    assert len(stub.calls("POST /v1/oauth2/token")) == 1
    assert stub.came[0][1]["authorization"] == "Basic aWQ6c2VjcmV0"
    assert stub.came[0][2] == b"grant_type=client_credentials"
    assert stub.came[1][1]["authorization"] == "Bearer t-1"
    later = http.time.monotonic() + 32400
    monkeypatch.setattr(http.time, "monotonic", lambda: later)
    client.get_order("O1")
    assert len(stub.calls("POST /v1/oauth2/token")) == 2


def test_a_token_that_was_taken_back_is_replaced_once(stub, client):
    stub.answers["POST /v1/oauth2/token"] = [TOKEN, (200, {"access_token": "t-2", "expires_in": 100})]
    stub.answers["GET /v2/checkout/orders/O1"] = [(401, {"name": "AUTHENTICATION_FAILURE"}), (200, {"id": "O1"})]
    assert client.get_order("O1") == {"id": "O1"}
    assert stub.came[-1][1]["authorization"] == "Bearer t-2"
    stub.answers["GET /v2/checkout/orders/O1"] = [(401, {"name": "AUTHENTICATION_FAILURE", "message": "No."})]
    with pytest.raises(ProviderRefused, match="No"):
        client.get_order("O1")


def test_wrong_credentials_are_refused_with_paypals_words(stub, client):
    told = {"error": "invalid_client", "error_description": "Client Authentication failed"}
    stub.answers["POST /v1/oauth2/token"] = [(401, told)]
    with pytest.raises(ProviderRefused, match="Client Authentication failed") as refused:
        client.get_order("O1")
    assert (refused.value.status, refused.value.code) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, {"name": "INTERNAL_SERVER_ERROR"}),
        (503, b"<html>"),
        (429, {"name": "RATE_LIMIT_REACHED"}),
        (409, {"name": "RESOURCE_CONFLICT"}),
        (422, {"details": [{"issue": "PREVIOUS_REQUEST_IN_PROGRESS"}]}),
        (200, b"<html>"),
        (200, []),
    ],
)
def test_what_may_go_well_later_is_away(stub, client, status, told):
    stub.headers = {"Retry-After": "17"}
    stub.answers["GET /v2/checkout/orders/O1"] = [(status, told)]
    with pytest.raises(ProviderAway) as away:
        client.get_order("O1")
    assert away.value.extra["retry_after"] == (17 if status != 200 else 5)


def test_a_success_without_content_is_a_success(stub, client):
    stub.answers["POST /v1/billing/subscriptions/I-1/cancel"] = [(204, b"")]
    assert client.write("/v1/billing/subscriptions/I-1/cancel", {}, key="cancel") == {}


def test_nobody_there_is_away():
    with pytest.raises(ProviderAway, match="cannot be reached"):
        PayPal(Account("id", "secret", "sandbox", "http://127.0.0.1:9")).get_order("O1")


def test_a_redirect_is_not_followed_with_the_token(stub, client):
    stub.headers = {"Location": f"{stub.url}/elsewhere"}
    stub.answers["GET /v2/checkout/orders/O1"] = [(302, {})]
    with pytest.raises(ProviderRefused):
        client.get_order("O1")
    assert stub.calls("GET /elsewhere") == []


@pytest.mark.parametrize("told", [{}, [], b"", {"details": "x"}, {"details": [{"issue": ["x"]}]}, {"name": 7}], ids=str)
def test_a_refusal_without_reason_is_one_all_the_same(stub, client, told):
    stub.answers["GET /v2/checkout/orders/O1"] = [(422, told)]
    with pytest.raises(ProviderRefused) as refused:
        client.get_order("O1")
    assert refused.value.status == 422


def create(client: PayPal, **more: Any) -> tuple[str, str]:
    wanted = {
        "custom_id": "customer=ada&pack=p",
        "description": "x" * 200,
        "amount_minor": 999,
        "currency": "usd",
        "success_url": "https://shop.test/ok",
        "cancel_url": "https://shop.test/no",
    }
    return client.create_order("songs:c-1", **{**wanted, **more})


def test_an_order_says_what_is_sold_and_where_it_is_approved(stub, client):
    links = [{"rel": "self", "href": "https://x"}, {"rel": "payer-action", "href": "https://pay"}]
    stub.answers["POST /v2/checkout/orders"] = [(201, {"id": "O1", "links": links})]
    assert create(client) == ("O1", "https://pay")
    _, headers, raw = stub.came[-1]
    assert headers["paypal-request-id"] == "order:songs:c-1"
    sent = orjson.loads(raw)
    assert sent["intent"] == "CAPTURE"
    (unit,) = sent["purchase_units"]
    assert unit["amount"] == {"currency_code": "USD", "value": "9.99"}
    assert (unit["custom_id"], len(unit["description"])) == ("customer=ada&pack=p", 127)
    context = sent["payment_source"]["paypal"]["experience_context"]
    assert (context["return_url"], context["cancel_url"]) == ("https://shop.test/ok", "https://shop.test/no")


def test_a_long_or_odd_key_becomes_its_digest(stub, client):
    links = [{"rel": "approve", "href": "https://pay"}]
    stub.answers["POST /v2/checkout/orders"] = [(201, {"id": "O1", "links": links})]
    ids = []
    for key in ("ü", "x" * 200, "ü"):
        client.create_order(
            key, custom_id="", description="", amount_minor=1, currency="eur", success_url="", cancel_url=""
        )
        ids.append(stub.came[-1][1]["paypal-request-id"])
    assert ids[0] == ids[2] != ids[1]
    assert {len(one) for one in ids} == {64}


def test_an_amount_that_paypal_cannot_charge_is_refused_before_it_is_asked(stub, client):
    with pytest.raises(ProviderRefused, match="whole amounts"):
        create(client, amount_minor=999, currency="huf")
    assert stub.came == []


def test_an_order_is_captured_with_a_fixed_id_and_one_that_was_is_fetched(stub, client):
    path = "/v2/checkout/orders/O1"
    stub.answers[f"POST {path}/capture"] = [(201, {"id": "O1", "status": "COMPLETED"})]
    assert client.capture_order("O1")["status"] == "COMPLETED"
    assert stub.came[-1][1]["paypal-request-id"] == "capture:O1"
    already = {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "ORDER_ALREADY_CAPTURED"}]}
    stub.answers[f"POST {path}/capture"] = [(422, already)]
    stub.answers[f"GET {path}"] = [(200, {"id": "O1", "fetched": True})]
    assert client.capture_order("O1")["fetched"]
    stub.answers[f"POST {path}/capture"] = [(422, {"details": [{"issue": "ORDER_NOT_APPROVED", "description": "d"}]})]
    with pytest.raises(ProviderRefused, match="d") as refused:
        client.capture_order("O1")
    assert refused.value.code == "ORDER_NOT_APPROVED"


def test_an_id_stays_in_its_place_of_the_path(stub, client):
    with pytest.raises(ProviderRefused):
        client.get_capture("../../v1/oauth2/token?x=1")
    assert stub.calls("GET") == ["GET /v2/payments/captures/..%2F..%2Fv1%2Foauth2%2Ftoken%3Fx%3D1"]


def test_a_refund_is_of_all_or_of_an_amount(stub, client):
    stub.answers["POST /v2/payments/captures/C1/refund"] = [(201, {"id": "R1"})]
    assert client.refund_capture("C1", key="k")["id"] == "R1"
    assert stub.came[-1][2] == b"{}"
    client.refund_capture("C1", key="k", amount_minor=500, currency="jpy", note="sorry")
    _, headers, raw = stub.came[-1]
    assert headers["paypal-request-id"] == "refund:k"
    assert orjson.loads(raw) == {"note_to_payer": "sorry", "amount": {"currency_code": "JPY", "value": "500"}}


def test_lists_are_read_page_by_page_and_the_token_stays_with_paypal(stub, client):
    path = "/v1/notifications/webhooks-events"
    elsewhere = [{"rel": "next", "href": f"https://evil.example{path}?start_time=x&page=2"}]
    stub.answers[f"GET {path}"] = [
        (200, {"events": [{"id": "1"}, "nonsense"], "links": elsewhere}),
        (200, {"events": [{"id": "2"}], "links": [{"rel": "self", "href": "x"}]}),
    ]
    found = list(client.list_events(NOW - timedelta(days=90), NOW))
    assert [one["id"] for one in found] == ["1", "2"]
    first, second = stub.calls(f"GET {path}")
    assert "start_time=2026-02-08T12%3A00%3A00Z" in first  # what is older PayPal has no more
    assert second.endswith("?start_time=x&page=2")


def test_a_list_that_leads_back_to_itself_ends(stub, client):
    path = "/v1/notifications/webhooks-events"
    same = [{"rel": "next", "href": f"{path}?page=1"}, {"rel": ["next"], "href": 7}]
    stub.answers[f"GET {path}"] = [(200, {"events": [{"id": "1"}], "links": same})]
    assert len(list(client.list_events(NOW, NOW))) == 2


def test_disputes_are_listed_whole(stub, client):
    stub.answers["GET /v1/customer/disputes"] = [(200, {"items": [{"dispute_id": "PP-1"}]})]
    stub.answers["GET /v1/customer/disputes/PP-1"] = [(200, {"dispute_id": "PP-1", "disputed_transactions": []})]
    assert list(client.list_disputes(NOW)) == [{"dispute_id": "PP-1", "disputed_transactions": []}]


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", None])
def test_a_message_is_judged_as_the_very_bytes_that_came(stub, client, status):
    stub.answers["POST /v1/notifications/verify-webhook-signature"] = [(200, {"verification_status": status})]
    raw = b' { "id":"1",  "n": 1.10, "event_type":"\xc3\xa9" }\n'
    names = ("transmission-id", "transmission-time", "transmission-sig", "cert-url", "auth-algo")
    headers = {f"paypal-{name}": f'"{name}' for name in names}
    assert client.verify_webhook(raw, headers, webhook_id="WH-1") is (status == "SUCCESS")
    sent = stub.came[-1][2]
    assert raw in sent
    told = orjson.loads(sent)
    assert (told["webhook_id"], told["auth_algo"], told["webhook_event"]["n"]) == ("WH-1", '"auth-algo', 1.1)


# --- PayPal's certificates


def test_a_certificate_is_what_lies_at_its_url(stub):
    stub.answers["GET /good"] = [(200, b"x" * 9000)]
    assert receiver._fetched(f"{stub.url}/good") == b"x" * 9000
    stub.answers["GET /much"] = [(200, b"x" * 2**20)]
    with pytest.raises(requests.HTTPError, match="more than"):
        receiver._fetched(f"{stub.url}/much")
    with pytest.raises(NoCertificate):
        receiver._fetched(f"{stub.url}/none")


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_certificate_that_is_not_answered_could_not_be_had(stub, status):
    stub.headers = {"Location": f"{stub.url}/good"}
    stub.answers["GET /bad"] = [(status, b"x")]
    stub.answers["GET /good"] = [(200, b"x")]
    with pytest.raises(requests.HTTPError):
        receiver._fetched(f"{stub.url}/bad")
    assert stub.calls("GET /good") == []


# --- whose account


def use(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    none = {"paypal_client_id": None, "paypal_client_secret": None, "paypal_env": "sandbox"}
    mine = replace(paypal_client.settings, **{**none, **changes})
    monkeypatch.setattr(paypal_client, "settings", mine)


def test_an_apps_own_account_comes_before_that_of_the_settings(monkeypatch):
    use(monkeypatch, paypal_client_id="common", paypal_client_secret="s", paypal_env="live")
    account = paypal_client.account_of(app())
    assert (account.client_id, account.base_url) == ("common", "https://api-m.paypal.com")
    own = replace(app(), paypal=PayPalAccount(client_id="own", environment="sandbox"))
    account = paypal_client.account_of(own)
    assert (account.client_id, account.secret) == ("own", "s")
    assert account.base_url == "https://api-m.sandbox.paypal.com"
    assert "'s'" not in repr(account)


def test_without_an_account_the_sandbox_provider_is_asked_in_the_sandbox_only(monkeypatch):
    use(monkeypatch, sandbox=True, sandbox_url="http://127.0.0.1:1")
    account = paypal_client.account_of(app())
    assert (account.client_id, account.secret) == ("sandbox_ai-services", "sandbox")
    assert account.base_url == "http://127.0.0.1:1/paypal"
    assert not paypal_client.has_real_account(app())
    assert paypal_client.client(app()) is paypal_client.client(app())
    use(monkeypatch, sandbox=False, sandbox_url="http://127.0.0.1:1")
    with pytest.raises(ProviderRefused, match="PAYPAL_CLIENT_ID"):
        paypal_client.client(app())
