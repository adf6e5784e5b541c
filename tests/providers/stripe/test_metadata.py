"""Stripe's metadata with the character U+0000, which PostgreSQL has not: judged at once, as any other text."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.inbox import events
from models import database
from tests.support.cast import ADA, BO, app, balance
from tests.support.providers.stripe_events import event, invoice, paid_session, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"
NUL = "a\x00b"


def eligibility(type_: str, thing: dict[str, Any], now: datetime) -> tuple[str, str | None]:
    """(state, error) of the event once it was tried a single time."""
    told = event(type_, thing, created=now)
    events.receive(APP, "stripe", told["id"], type_, json.dumps(told), now=now)
    events.apply_pending(now=now)
    ((state, error),) = database.read("SELECT state, error FROM inbox_event ORDER BY id DESC LIMIT 1")
    return state, error


def session(**named: str) -> dict[str, Any]:
    return paid_session(APP, ADA, "starter", metadata={"app": APP, "customer": ADA, "pack": "starter", **named})


def intent(**named: str) -> dict[str, Any]:
    metadata = {"app": APP, "customer": ADA, "pack": "starter", "checkout": "c-1", **named}
    money = {"amount_received": 1000, "currency": "usd"}
    return {"id": "pi_1", "object": "payment_intent", "livemode": False, "metadata": metadata, **money}


def test_a_checkout_that_cannot_be_is_none_of_ours(now: datetime) -> None:
    assert eligibility("payment_intent.succeeded", intent(checkout=NUL), now)[0] == "ignored"
    assert eligibility("checkout.session.expired", session(checkout=NUL), now)[0] in ("done", "ignored")
    assert balance(ADA, APP) == 0
    assert eligibility("checkout.session.completed", session(checkout=NUL), now) == ("done", None)
    assert balance(ADA, APP) == app(APP).packs["starter"].units


def test_a_customer_that_cannot_be_is_nobody_else(now: datetime) -> None:
    told = {**session(customer=NUL), "client_reference_id": BO}
    state, error = eligibility("checkout.session.completed", told, now)
    assert (state, "metadata.customer" in str(error)) == ("dead", True)
    assert (balance(ADA, APP), balance(BO, APP)) == (0, 0)


@pytest.mark.parametrize("name", ["app", "customer", "pack", "plan", "price", "checkout"])
@pytest.mark.parametrize(
    "type_",
    [
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_failed",
        "payment_intent.succeeded",
        "customer.subscription.created",
        "invoice.paid",
    ],
)
def test_no_text_of_the_metadata_is_more_than_refused(now: datetime, type_: str, name: str) -> None:
    thing = thing_of(type_, now)
    place = thing["parent"]["subscription_details"] if type_ == "invoice.paid" else thing
    place["metadata"][name] = NUL
    state, error = eligibility(type_, thing, now)
    assert state in ("done", "ignored", "dead"), error
    assert "Scrip itself" not in str(error)


def thing_of(type_: str, now: datetime) -> dict[str, Any]:
    month = {"start": now, "end": now + timedelta(days=30)}
    if type_ == "invoice.paid":
        return invoice(APP, ADA, "gone", **month)
    if type_.startswith("customer.subscription"):
        return subscription(APP, ADA, "gone", anchor=now, **month)
    return intent() if type_.startswith("payment_intent") else session()
