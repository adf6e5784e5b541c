"""What becomes of a checkout: the same end, whatever order its events come in and however often."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from jobs.inbox import events
from jobs.payments import checkouts
from jobs.providers.paypal import client as paypal_client
from jobs.reconciliation import run
from models import clock, database
from models.errors import ProviderAway
from tests.support.cast import ADA, app, entries
from tests.support.providers import paypal_events
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, begin, open_shop, order
from tests.support.providers.stripe_events import event
from tests.support.web_calls import KEY, send

pytestmark = pytest.mark.usefixtures("db")
COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"
SESSION = {COMPLETED: "unpaid", SUCCEEDED: "paid", FAILED: "unpaid", EXPIRED: "unpaid"}


@pytest.fixture
def now() -> datetime:
    """The sandbox's own time: its provider goes by it."""
    return clock.now().replace(microsecond=0)


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def orders(*told: str) -> list[tuple[str, ...]]:
    """Every order of what is told, and each with all of it told twice."""
    return [once * times for once in permutations(told) for times in (1, 2)]


def stripe_tells(slug: str, type_: str, mode: str, now: datetime) -> None:
    """A signed event about the session of the checkout c-1; nothing is asked for."""
    ((session_id,),) = database.read("SELECT provider_id FROM checkout")
    sold = {"pack": "starter"} if mode == "payment" else {"plan": "pro"}
    session = {
        "id": session_id,
        "object": "checkout.session",
        "mode": mode,
        "payment_status": SESSION[type_],
        "payment_intent": "pi_1" if mode == "payment" and type_ != EXPIRED else None,
        "amount_total": 1000,
        "currency": "usd",
        "metadata": {"app": slug, "customer": ADA, "checkout": "c-1", **sold},
    }
    apply(slug, "stripe", event(type_, session, created=now), "type", now)


def paypal_tells(type_: str, status: str, now: datetime) -> None:
    ((order_id,),) = database.read("SELECT provider_id FROM checkout")
    related = {"related_ids": {"order_id": order_id}}
    capture = paypal_events.capture("checkout=c-1&app=echomind", status=status, supplementary_data=related)
    apply("echomind", "paypal", paypal_events.event(type_, capture), "event_type", now)


def apply(slug: str, provider: str, told: dict[str, Any], type_: str, now: datetime) -> None:
    events.receive(slug, provider, told["id"], told[type_], orjson.dumps(told).decode(), now=now)
    while events.apply_pending(now=now):
        pass
    assert database.read("SELECT error FROM inbox_event WHERE state = 'dead'") == []


def shown(slug: str = "ai-services") -> tuple[str, Any]:
    """(state, url) of the checkout c-1."""
    it = checkouts.get(app(slug), "c-1")
    return it["state"], it["url"]


def payment_states() -> list[str]:
    return [state for (state,) in database.read("SELECT state FROM payment")]


def test_a_checkout_is_new_until_its_provider_has_answered(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ProviderAway("no answer")

    with monkeypatch.context() as patched:
        patched.setitem(checkouts.OPENERS, "stripe", away)
        with pytest.raises(ProviderAway):
            checkouts.start(app(), order(id="c-1"), now=now)
    assert shown() == ("new", None)
    answer, _ = checkouts.start(app(), order(id="c-1"), now=now)
    assert shown() == ("open", answer["url"])


@pytest.mark.parametrize("told", orders(COMPLETED, SUCCEEDED), ids="-".join)
def test_money_that_arrives_later_ends_paid(told: tuple[str, ...], provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    for type_ in told:
        stripe_tells("ai-services", type_, "payment", now)
    assert shown() == ("paid", None)
    assert entries(ADA) == [("purchase", 100)]


@pytest.mark.parametrize("told", orders(COMPLETED, FAILED), ids="-".join)
def test_money_that_never_arrives_ends_failed(told: tuple[str, ...], provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    for type_ in told:
        stripe_tells("ai-services", type_, "payment", now)
    assert shown() == ("failed", None)
    assert payment_states() == ["failed"]
    assert entries(ADA) == []


@pytest.mark.parametrize("told", orders(COMPLETED, SUCCEEDED, FAILED, EXPIRED), ids="-".join)
def test_what_is_paid_stays_paid_whatever_else_is_told(
    told: tuple[str, ...], provider: Provider, now: datetime
) -> None:
    begin(now=now, id="c-1")
    for type_ in told:
        stripe_tells("ai-services", type_, "payment", now)
    assert shown() == ("paid", None)
    assert entries(ADA) == [("purchase", 100)]


def test_while_the_money_is_on_its_way_there_is_no_page_to_pay_on(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    stripe_tells("ai-services", COMPLETED, "payment", now)
    assert shown() == ("pending", None)
    stripe_tells("ai-services", EXPIRED, "payment", now)
    assert shown() == ("pending", None)


@pytest.mark.parametrize(("last", "state"), [(SUCCEEDED, "paid"), (FAILED, "failed")])
def test_a_plans_checkout_waits_for_its_money_too(last: str, state: str, provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1", slug="songs", plan="pro")
    stripe_tells("songs", COMPLETED, "subscription", now)
    assert shown("songs") == ("pending", None)
    stripe_tells("songs", last, "subscription", now)
    stripe_tells("songs", COMPLETED, "subscription", now)
    assert shown("songs") == (state, None)
    assert payment_states() == [], "the invoices tell of a plan's money"


CAPTURES = {
    "PAYMENT.CAPTURE.PENDING": "PENDING",
    "PAYMENT.CAPTURE.COMPLETED": "COMPLETED",
    "PAYMENT.CAPTURE.DENIED": "DECLINED",
}


@pytest.mark.parametrize("told", orders("PAYMENT.CAPTURE.PENDING", "PAYMENT.CAPTURE.COMPLETED"), ids="-".join)
def test_a_capture_that_was_pending_ends_paid(told: tuple[str, ...], provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1", slug="echomind", pack="session")
    for type_ in told:
        paypal_tells(type_, CAPTURES[type_], now)
    assert shown("echomind") == ("paid", None)
    assert entries(ADA, "echomind") == [("purchase", 1)]


@pytest.mark.parametrize("told", orders("PAYMENT.CAPTURE.PENDING", "PAYMENT.CAPTURE.DENIED"), ids="-".join)
def test_a_capture_that_was_denied_ends_failed(told: tuple[str, ...], provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1", slug="echomind", pack="session")
    for type_ in told:
        paypal_tells(type_, CAPTURES[type_], now)
    assert shown("echomind") == ("failed", None)
    assert payment_states() == ["failed"]


def test_after_a_failure_a_new_checkout_is_another_page(client: Any, provider: Provider, now: datetime) -> None:
    wanted = {"id": "c-1", "customer": ADA, "pack": "starter", **PAGES}
    first = send(client, "/v1/checkout", wanted).json
    for type_ in (COMPLETED, FAILED):
        stripe_tells("ai-services", type_, "payment", now)
    assert send(client, "/v1/checkout", wanted).json == first, "the same request has the same answer"
    answer = client.get("/v1/checkouts/c-1", headers=KEY).json
    assert (answer["state"], answer["url"], answer["payment"]) == ("failed", None, None)
    assert send(client, "/v1/checkout", {**wanted, "id": "c-2"}).json["url"] != first["url"]


# --- what reconciliation makes of it


def look(now: datetime, slug: str) -> None:
    for _ in run.chunks(now=now, lookback=timedelta(days=2), app=slug):
        pass


def test_a_pending_capture_whose_end_nobody_told_is_found_by_its_order(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(now=now, id="c-1", slug="echomind", pack="session")
    monkeypatch.setattr(paypal_client.PayPal, "list_events", lambda *_: iter(()))
    for status in ("PENDING", "COMPLETED"):
        capture = paypal_events.capture(None, status=status)
        told = paypal_events.order("checkout=c-1&app=echomind", capture)
        monkeypatch.setattr(paypal_client.PayPal, "get_order", lambda _, order_id, told=told: {**told, "id": order_id})
        look(now, "echomind")
        assert shown("echomind")[0] == {"PENDING": "pending", "COMPLETED": "paid"}[status]
    assert entries(ADA, "echomind") == [("purchase", 1)]
