"""What a dead event says of itself: which field is wrong, what stands there, and what the operator is to do."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import dead_letters
from jobs.inbox import events
from models import database
from tests.support.cast import ADA, balance, deliver
from tests.support.providers import paypal_events
from tests.support.providers.stripe_events import event, invoice, paid_session, refund, subscription
from tests.support.running import ROOT

pytestmark = pytest.mark.usefixtures("db")
LOOK = "Check the object at"
REPLAY = "POST /v1/events/{id}/replay"
BY_HAND = "POST /v1/adjustments"
TABLE = (ROOT / "docs" / "payments.md").read_text().partition("## When an event is dead")[2]
STARTS = [
    start for line in TABLE.splitlines() if line.startswith("| `") for start in line.split("|")[1].split("`")[1::2]
]
CLASS_NAME = re.compile(r"\b[A-Z]\w+(Error|Exception)\b")


def reason(provider: str, type_: str, payload: dict[str, Any], now: datetime, app: str = "ai-services") -> str:
    """Why the event is dead."""
    events.receive(app, provider, payload["id"], type_, json.dumps(payload), now=now)
    while events.apply_pending(now=now):
        pass
    ((state, error),) = database.read("SELECT state, error FROM inbox_event")
    assert state == "dead"
    assert not CLASS_NAME.search(error), error
    assert is_documented(error), error
    return str(error)


def is_documented(error: str) -> bool:
    """Whether the table of docs/payments.md has a line for it."""
    return any(re.match(".*".join(map(re.escape, start.split("…"))), error) for start in STARTS)


SESSION = "checkout.session.completed"


@pytest.mark.parametrize(
    ("change", "said", "todo"),
    [
        ({"amount_total": "10.00"}, 'data.object.amount_total: "10.00" is not an amount in minor units', LOOK),
        ({"amount_total": 10**30}, "data.object.amount_total: 1e+30 is not an amount in minor units", LOOK),
        ({"currency": "dollars"}, 'data.object.currency: "dollars" is not a currency of three letters', LOOK),
        ({"payment_intent": ["pi_1"]}, 'data.object.payment_intent: ["pi_1"] is not a text', LOOK),
        ({"line_items": {"data": [{"quantity": 0.5}]}}, "data.object.line_items.data[0].quantity: 0.5 is not", LOOK),
        ({"line_items": {"data": [{}, {}]}}, "the checkout session has 2 line items", BY_HAND),
        ({"line_items": {"data": "x"}}, 'data.object.line_items.data: "x" is not a list', LOOK),
        ({"client_reference_id": None, "metadata": {}}, "metadata.customer or client_reference_id is empty", BY_HAND),
        ({"metadata": {"customer": "a/b", "pack": "starter"}}, "'a/b' in metadata.customer", BY_HAND),
        ({"metadata": {"customer": ADA, "pack": "gone"}}, "no pack 'gone'", REPLAY),
        ({"metadata": {"customer": ADA}}, "no pack named", BY_HAND),
        ({"line_items": {"data": [{"quantity": 10**12}]}}, "is more than", "refund the payment"),
    ],
    ids=str,
)
def test_a_session_says_what_is_wrong_with_it_and_what_to_do(
    change: dict[str, Any], said: str, todo: str, now: datetime
) -> None:
    session = {**paid_session("ai-services", ADA, "starter"), **change}
    told = reason("stripe", SESSION, event(SESSION, session, created=now), now)
    assert said in told
    assert todo in told


def test_an_event_without_its_object_says_so(now: datetime) -> None:
    payload = {**event(SESSION, {}, created=now), "data": {"object": None}}
    assert "null is not an object, which data.object should be" in reason("stripe", SESSION, payload, now)


@pytest.mark.parametrize(
    ("type_", "thing", "said", "todo"),
    [
        ("refund.created", {**refund("re_1", 5), "amount": -5}, "data.object.amount: -5 is not an amount", LOOK),
        ("refund.created", {"id": "re_1", "amount": 5}, "the object names neither a charge nor a payment intent", LOOK),
        ("charge.refunded", {"id": "ch_1"}, "amount_refunded is missing", LOOK),
        ("charge.dispute.created", {"id": "dp_1", "amount": 1, "charge": "ch_1"}, "status is missing", LOOK),
        (
            "customer.subscription.created",
            {"id": "sub_1", "status": "active", "billing_cycle_anchor": 10**12, "metadata": {"customer": ADA}},
            "data.object.billing_cycle_anchor: 1000000000000 is not a time in seconds",
            LOOK,
        ),
    ],
    ids=str,
)
def test_what_else_stripe_tells_says_what_is_wrong_with_it(
    type_: str, thing: dict[str, Any], said: str, todo: str, now: datetime
) -> None:
    told = reason("stripe", type_, event(type_, thing, created=now), now)
    assert said in told
    assert f"{todo} Stripe" in told


def test_a_plan_that_the_catalog_has_not_is_to_be_mended_there(now: datetime) -> None:
    month = {"start": now, "end": now + timedelta(days=30)}
    for type_, thing in (
        ("customer.subscription.created", subscription("songs", ADA, "gone", anchor=now, **month)),
        ("invoice.paid", invoice("songs", ADA, "gone", **month)),
    ):
        database.write("DELETE FROM inbox_event")
        told = reason("stripe", type_, event(type_, thing, created=now), now, "songs")
        assert "plan 'gone' is in the catalog of songs" in told
        assert REPLAY in told


CAPTURED = "PAYMENT.CAPTURE.COMPLETED"


@pytest.mark.parametrize(
    ("change", "said", "todo"),
    [
        ({"amount": None}, "null is not an amount with a value and a currency_code", LOOK),
        ({"amount": {"value": "4.99"}}, "currency_code is missing", LOOK),
        ({"amount": {"value": "4.99", "currency_code": "XXY"}}, 'resource.amount.currency_code: "XXY" is not', LOOK),
        ({"amount": {"value": 4.99, "currency_code": "USD"}}, "resource.amount.value: 4.99 is not a text", LOOK),
        ({"id": 7}, "resource.id: 7 is not a text", LOOK),
        ({"custom_id": "order 7"}, "resource.custom_id is not of the form", BY_HAND),
        ({"custom_id": "customer=a&customer=b&pack=session"}, "custom_id repeats a name", LOOK),
        ({"custom_id": "customer=ada&pack=gone"}, "no pack 'gone'", REPLAY),
        ({"amount": paypal_events.amount("0.01")}, "were paid for 1 × session", "refund it"),
    ],
    ids=str,
)
def test_a_capture_says_what_is_wrong_with_it_and_what_to_do(
    change: dict[str, Any], said: str, todo: str, now: datetime
) -> None:
    capture = {**paypal_events.capture("customer=ada&pack=session"), **change}
    told = reason("paypal", CAPTURED, paypal_events.event(CAPTURED, capture), now, "echomind")
    assert said in told
    assert todo in told


@pytest.mark.parametrize(
    ("type_", "resource", "said"),
    [
        ("PAYMENT.CAPTURE.REFUNDED", paypal_events.refund("1.00", links=[]), "resource.links has no link up"),
        ("CUSTOMER.DISPUTE.CREATED", {"dispute_id": "D1"}, "disputed_transactions is missing"),
        (
            "CUSTOMER.DISPUTE.CREATED",
            {"dispute_id": "D1", "disputed_transactions": []},
            "resource.disputed_transactions is empty",
        ),
        ("PAYMENT.CAPTURE.PENDING", None, "null is not an object, which resource should be"),
    ],
    ids=str,
)
def test_what_else_paypal_tells_says_what_is_wrong_with_it(type_: str, resource: Any, said: str, now: datetime) -> None:
    told = reason("paypal", type_, paypal_events.event(type_, resource), now, "echomind")
    assert said in told
    assert f"{LOOK} PayPal" in told


def test_a_defect_of_scrips_is_told_as_one(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the wheel came off")

    monkeypatch.setattr(events, "APPLY", dict.fromkeys(events.APPLY, broken))
    deliver("ai-services", event(SESSION, paid_session("ai-services", ADA, "starter"), created=now), now=now)
    for hour in range(1, 12):
        events.apply_pending(now=now + timedelta(hours=2 * hour))
    ((state, attempts, error),) = database.read("SELECT state, attempts, error FROM inbox_event")
    assert (state, attempts) == ("dead", dead_letters.ATTEMPTS)
    assert is_documented(error)
    assert is_documented(dead_letters.DIED)
    assert error.startswith("Internal error: the wheel came off. See the worker log for the traceback. Replay it")


@pytest.mark.parametrize("status", [None, "", "PAID", "processing", True, 7, {}])
@pytest.mark.parametrize("type_", [SESSION, "checkout.session.async_payment_succeeded"])
def test_a_session_that_does_not_say_that_it_is_paid_is_dead(type_: str, status: Any, now: datetime) -> None:
    session = {**paid_session("ai-services", ADA, "starter"), "payment_status": status}
    told = reason("stripe", type_, event(type_, session, created=now), now)
    assert "data.object.payment_status: " in told or "is not paid" in told
    assert balance(ADA, "ai-services") == 0


@pytest.mark.parametrize(
    ("type_", "thing", "said"),
    [
        ("charge.dispute.created", {"id": None}, "data.object.id: null is not an id"),
        ("charge.refunded", {"id": None, "x": None}, "data.object.id: null is not an id"),
        ("invoice.paid", {"id": "in_1", "subscription": "sub_1", "lines": {"data": "zzz"}}, "data.object.lines.data: "),
        ("invoice.voided", {"id": "in_1", "subscription": "sub_1", "lines": {"data": [1]}}, "data.object.lines.data: "),
        ("charge.dispute.created", {"id": "d", "amount": 1, "balance_transactions": 7}, "balance_transactions: 7"),
    ],
    ids=str,
)
def test_what_is_missing_or_of_another_kind_is_named(type_: str, thing: Any, said: str, now: datetime) -> None:
    assert said in reason("stripe", type_, event(type_, thing, created=now), now)


def ignored(payload: dict[str, Any], now: datetime, app: str = "ai-services") -> str:
    """Why the event is ignored. Nothing was booked for it."""
    deliver(app, payload, now=now)
    ((state, error),) = database.read("SELECT state, error FROM inbox_event")
    assert state == "ignored"
    assert database.read("SELECT 1 FROM payment") == []
    return str(error)


@pytest.mark.parametrize("status", ["open", "expired"])
def test_a_session_that_nobody_completed_is_not_paid_whatever_else_it_says(status: str, now: datetime) -> None:
    session = {**paid_session("ai-services", ADA, "starter"), "status": status}
    assert f"the checkout session is {status}" in ignored(event(SESSION, session, created=now), now)


def test_an_event_of_a_connected_account_is_not_ours(now: datetime) -> None:
    payload = {**event(SESSION, paid_session("ai-services", ADA, "starter"), created=now), "account": "acct_other"}
    assert "connected account 'acct_other'" in ignored(payload, now)


def test_an_object_of_the_other_mode_is_not_ours_whatever_its_event_says(now: datetime) -> None:
    session = {**paid_session("ai-services", ADA, "starter"), "livemode": True}
    assert "the app is in test mode" in ignored(event(SESSION, session, created=now), now)


@pytest.mark.parametrize("named", [{}, {"customer": ADA, "pack": "starter"}, {"pack": "starter", "checkout": "gone"}])
def test_a_payment_intent_alone_says_why_it_sells_nothing(named: dict[str, str], now: datetime) -> None:
    intent = {"id": "pi_1", "object": "payment_intent", "amount_received": 1000, "currency": "usd", "metadata": named}
    told = ignored(event("payment_intent.succeeded", intent, created=now), now)
    assert "checkout" in told
    assert BY_HAND in told
