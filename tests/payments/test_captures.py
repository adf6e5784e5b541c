"""Authorise, then capture: a payment buys what was captured, once, in any order."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest

from models import database
from models.ledger import explain
from tests.payments.test_reversals import clean
from tests.support import emptied
from tests.support.cast import ADA, app, balance, deliver, entries, event_states
from tests.support.providers.shop import begin, open_shop, repack
from tests.support.providers.stripe_events import charge, event, paid_session

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


@pytest.fixture(autouse=True)
def priced(db: str) -> None:
    """A hundred credits for ten dollars, of which eight are accepted."""
    repack(APP, "starter", min_price_minor=800, stripe_price="price_starter")
    repack(APP, "pro", stripe_price="price_pro")


def authorized(amount: int = 3000, **more: Any) -> tuple[str, dict[str, Any]]:
    """A session whose payment waits for its capture."""
    money = {"amount_total": amount, "amount_subtotal": amount, "payment_status": "unpaid"}
    return "checkout.session.completed", paid_session(APP, ADA, "starter") | money | more


def intent(captured: int, amount: int = 3000, **more: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "capture_method": "manual",
        "amount": amount,
        "amount_received": captured,
        "currency": "usd",
        "latest_charge": "ch_1",
        "status": "succeeded" if captured else "canceled",
        "livemode": False,
        "metadata": {},
        **more,
    }


def succeeded(captured: int, amount: int = 3000, **more: Any) -> tuple[str, dict[str, Any]]:
    return "payment_intent.succeeded", intent(captured, amount, **more)


def captured(part: int, amount: int = 3000) -> tuple[str, dict[str, Any]]:
    """The charge, whose rest Stripe counts as refunded."""
    return "charge.captured", charge(refunded=amount - part, amount=amount, amount_captured=part, captured=True)


def tell(now: datetime, type_: str, thing: dict[str, Any]) -> None:
    deliver(APP, event(type_, thing, created=now), now=now)


def payment() -> tuple[Any, ...]:
    return database.read("SELECT state, amount_minor, units_granted, refunded_minor FROM payment")[0]


STORIES: dict[str, tuple[tuple[Any, ...], list[tuple[str, dict[str, Any]]]]] = {
    "whole": (("settled", 3000, 300, 0), [authorized(), succeeded(3000), captured(3000)]),
    "a part": (
        ("settled", 2000, 200, 0),
        [authorized(), succeeded(2000), captured(2000), ("charge.refunded", captured(2000)[1])],
    ),
    "a part that is no multiple of the price": (("settled", 2500, 100, 0), [authorized(), succeeded(2500)]),
    "by the charge alone": (("settled", 1000, 100, 0), [authorized(), captured(1000)]),
    "canceled": (
        ("failed", 3000, 0, 0),
        [authorized(), ("payment_intent.canceled", intent(0))],
    ),
    "a part, then refunded": (
        ("refunded", 2000, 200, 2000),
        [authorized(), succeeded(2000), ("charge.refunded", charge(refunded=3000, amount=3000, amount_captured=2000))],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_capture_buys_what_it_pays_for_in_every_order(now: datetime, story: str) -> None:
    ends, told = STORIES[story]
    for order in itertools.permutations(told):
        emptied.empty()
        for type_, thing in (*order, *order):
            tell(now, type_, thing)
        assert payment() == ends, [type_ for type_, _ in order]
        assert balance(ADA) == (0 if ends[3] else ends[2])
        assert len([it for it in entries(ADA) if it[0] == "purchase"]) == (1 if ends[2] else 0)
        assert {state for state, _ in event_states(APP)} == {"done"}
        assert clean(now)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_part_that_is_too_little_is_dead_and_says_what_was_paid_for_what(
    now: datetime, order: tuple[int, ...]
) -> None:
    told = [authorized(), succeeded(799)]
    for place in order:
        tell(now, *told[place])
    assert balance(ADA) == 0
    dead = [str(error) for state, error in event_states(APP) if state == "dead"]
    assert len(dead) == 1
    assert "7.99 usd were paid for 1 × starter" in dead[0]


def test_an_authorisation_of_too_little_is_dead_at_once(now: datetime) -> None:
    tell(now, *authorized(500))
    tell(now, *succeeded(500, 500))
    assert balance(ADA) == 0
    assert event_states(APP)[0][0] == "dead"


def test_a_session_that_claims_to_be_paid_before_its_capture_is_not(now: datetime) -> None:
    waits = {"id": "pi_1", "status": "requires_capture", "capture_method": "manual"}
    tell(now, *authorized(payment_status="paid", payment_intent=waits))
    assert balance(ADA) == 0
    tell(now, *succeeded(3000))
    assert balance(ADA) == 300


def test_a_session_that_is_fetched_as_paid_after_a_part_was_captured_buys_the_part(now: datetime) -> None:
    tell(now, *succeeded(2000))
    tell(now, *authorized(payment_status="paid"))
    assert payment() == ("settled", 2000, 200, 0)


def test_a_note_goes_with_a_capture_of_any_other_amount(now: datetime) -> None:
    tell(now, *authorized(2500))
    tell(now, *succeeded(2500, 2500))
    (lot,) = explain.for_customer(app(APP), ADA, now=now)["lots"]
    assert lot["note"] == "25.00 usd were paid for starter, which costs 10.00 usd: one pack was credited"


LINES = {
    "data": [
        {"id": "li_1", "quantity": 2, "amount_total": 2000, "price": {"id": "price_starter"}},
        {"id": "li_2", "quantity": 1, "amount_total": 5000, "price": {"id": "price_pro"}},
    ]
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_several_packs_are_bought_by_a_whole_capture_and_not_by_a_part(now: datetime, order: tuple[int, ...]) -> None:
    for part, bought in ((7000, [("purchase", 200), ("purchase", 500)]), (3000, [])):
        emptied.empty()
        told = [authorized(7000, line_items=LINES), succeeded(part, 7000)]
        for place in (*order, *order):
            tell(now, *told[place])
        assert entries(ADA) == bought
        assert ("dead" in {state for state, _ in event_states(APP)}) == (not bought)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_checkout_of_ours_that_was_captured_in_part_buys_the_part(
    now: datetime, order: tuple[int, ...], tmp_path: Any
) -> None:
    with open_shop(tmp_path):
        session = begin(now=now, id="c-1", quantity=3)["url"].rpartition("/")[2]
    named = {"app": APP, "customer": ADA, "pack": "starter", "checkout": "c-1"}
    told = [
        authorized(id=session, metadata=named),
        succeeded(2000, metadata=named),
        captured(2000),
    ]
    for place in (*order, *order):
        tell(now, *told[place])
    assert payment() == ("settled", 2000, 200, 0)
    assert database.read("SELECT state FROM checkout") == [("paid",)]


def test_a_payment_intent_that_is_not_captured_by_the_seller_is_ignored_as_before(now: datetime) -> None:
    tell(now, *succeeded(3000, capture_method="automatic"))
    assert [state for state, _ in event_states(APP)] == ["ignored"]
