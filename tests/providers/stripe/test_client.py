"""Stripe's client and its errors, and events whose object is fetched afresh."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from jobs.providers.stripe import client as stripe_client
from jobs.providers.stripe import refetch
from models import database
from models.errors import ProviderAway, ProviderRefused
from models.inbox.events import Event
from settings import ROOT, settings
from tests.support.cast import ADA, app, balance, deliver, entries, event_states
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import begin, bought, open_shop
from tests.support.providers.stripe_events import event, paid_session

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


class Answering:
    """A server that answers every call with the next of `answers`: (status, headers, body); None hangs up."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    import stripe

    monkeypatch.setattr(stripe._http_client.HTTPClient, "_sleep_time_seconds", lambda *_: 0.0)
    answering = Answering()
    client = stripe_client._client("sk_test_1", answering.url, quick=False)
    monkeypatch.setattr(stripe_client, "_client_of", lambda app, quick: client)
    yield answering
    answering.close()


def refusal(status: int, **error: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, orjson.dumps({"error": {"type": "invalid_request_error", "message": "no", **error}})


def fetch() -> dict[str, Any]:
    return stripe_client.call(app(), lambda v1: v1.charges.retrieve("ch_1"))


@pytest.mark.parametrize(
    "answer",
    [refusal(500), refusal(503), refusal(429), refusal(409), (502, {}, b"<html>"), None],
    ids=["500", "503", "429", "409", "html", "hung up"],
)
def test_what_may_go_well_later_is_away(answer: Any, server: Answering) -> None:
    server.answers = [answer]
    with pytest.raises(ProviderAway):
        fetch()


def test_a_wait_that_stripe_asks_for_is_passed_on(server: Answering) -> None:
    server.answers = [(429, {"Retry-After": "17"}, refusal(429)[2])]
    with pytest.raises(ProviderAway) as away:
        fetch()
    assert away.value.extra["retry_after"] == 17


def test_a_trouble_that_passes_is_not_seen(server: Answering) -> None:
    server.answers = [refusal(500), None, (200, {}, b'{"id": "ch_1", "object": "charge"}')]
    assert fetch()["id"] == "ch_1"
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_a_no_is_passed_on_in_stripes_words(status: int, server: Answering) -> None:
    server.answers = [refusal(status, message="No such charge", code="resource_missing", param="id")]
    with pytest.raises(ProviderRefused) as refused:
        fetch()
    assert refused.value.detail == "Stripe: No such charge"
    assert refused.value.status == status
    assert len(server.asked) == 1, "a no is not asked for again"


def test_answers_are_plain_data_through_and_through(server: Answering) -> None:
    told = {"id": "ch_1", "object": "charge", "refunds": {"data": [{"id": "re_1", "object": "refund"}]}, "x": None}
    server.answers = [(200, {}, orjson.dumps(told))]
    assert orjson.loads(orjson.dumps(fetch())) == told


def test_keys_that_no_header_can_carry_are_digested() -> None:
    assert stripe_client.idempotency_key("refund", "songs", 7, "r-1") == "refund:songs:7:r-1"
    odd = stripe_client.idempotency_key("checkout", "songs", "größer № 1")
    assert odd.isascii()
    assert odd != stripe_client.idempotency_key("checkout", "songs", "größer № 2")
    assert len(stripe_client.idempotency_key("checkout", "songs", "a" * 300)) <= 255


def test_without_a_key_and_outside_the_sandbox_there_is_nobody_to_ask() -> None:
    assert not stripe_client.is_reachable(app())
    with pytest.raises(ProviderRefused, match="STRIPE_SECRET_KEY"):
        fetch()


def test_an_app_with_a_key_of_its_own_uses_that(monkeypatch: pytest.MonkeyPatch) -> None:
    own = app()
    own = type(own)(
        **{name: getattr(own, name) for name in own.__slots__} | {"stripe": replace(own.stripe, secret_key="sk_own")}
    )
    assert stripe_client.account(own) == "sk_own"
    assert stripe_client._client_of(own, quick=False)._requestor.api_key == "sk_own"


def test_the_web_process_does_not_carry_stripes_library() -> None:
    code = "import sys, web.app, jobs.inbox.events, jobs.runs; print('stripe' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout.strip() == "False", shown.stderr


# --- refetch


@pytest.fixture
def real(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """As with a real key: events' objects are fetched."""
    client = stripe_client._client(f"sk_sandbox_{APP}", f"{provider.url}/stripe", quick=False)
    monkeypatch.setattr(stripe_client, "_client_of", lambda app, quick: client)
    object.__setattr__(settings, "stripe_secret_key", "sk_test_1")
    yield provider
    object.__setattr__(settings, "stripe_secret_key", None)


def test_an_event_is_applied_with_the_object_as_it_is_now(real: Provider, now: datetime) -> None:
    session = bought(real, now=now, quantity=3)
    database.write("DELETE FROM checkout")
    old = paid_session(APP, ADA, "starter", id=session, payment_status="unpaid")
    deliver(APP, event("checkout.session.completed", old, created=now), now=now)
    assert entries(ADA) == [("purchase", 300)], "paid meanwhile, and three of them, as its line items say"


def test_what_stripe_does_not_know_is_taken_as_it_was_signed(real: Provider, now: datetime) -> None:
    deliver(APP, event("checkout.session.completed", paid_session(APP, ADA, "starter"), created=now), now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_without_a_real_key_nothing_is_fetched(provider: Provider, now: datetime) -> None:
    session = bought(provider, now=now)
    old = paid_session(APP, ADA, "starter", id=session, payment_status="unpaid")
    deliver(APP, event("checkout.session.completed", old, created=now), now=now)
    assert entries(ADA) == []


def test_an_event_waits_while_stripe_is_away(real: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise ProviderAway("no answer")

    session = bought(real, now=now)
    with monkeypatch.context() as patched:
        patched.setattr(refetch, "fetch", away)
        told = event("checkout.session.completed", paid_session(APP, ADA, "starter", id=session), created=now)
        deliver(APP, told, now=now)
        ((state, error),) = event_states(APP)
        assert (state, error) == ("pending", "no answer")
    assert balance(ADA) == 0


def test_a_paid_invoice_names_its_payment(real: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stripe_client._client("sk_sandbox_songs", f"{real.url}/stripe", quick=False)
    monkeypatch.setattr(stripe_client, "_client_of", lambda app, quick: client)
    session = bought(real, now=now, slug="songs", plan="pro")
    invoice = real.stripe("songs").v1.invoices.list().data[0].id
    fetched = refetch.fetch(app("songs"), "invoice", invoice)
    assert fetched["payment_intent"].startswith("pi_")
    assert session.startswith("cs_")


NAMELESS: tuple[dict[str, Any], ...] = (
    {},
    {"data": None},
    {"data": {}},
    {"data": {"object": None}},
    {"data": {"object": {"object": "charge"}}},
    {"data": {"object": {"object": "charge", "id": "../events"}}},
    {"data": {"object": {"object": ["charge"], "id": "x"}}},
)


@pytest.mark.parametrize("payload", NAMELESS, ids=str)
def test_what_names_no_object_is_left_as_it_is(payload: dict[str, Any], real: Provider, now: datetime) -> None:
    told = Event(1, APP, "stripe", "evt_1", "charge.refunded", payload, now)
    assert refetch.prepare(app(), told) == told


def test_a_checkout_begun_with_a_real_key_goes_to_its_account(real: Provider, now: datetime) -> None:
    begin(now=now)
    assert len(real.stripe(APP).v1.checkout.sessions.list().data) == 1
