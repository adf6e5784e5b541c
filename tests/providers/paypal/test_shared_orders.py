"""Orders at PayPal that hold several captures: each is a payment of its own, whoever paid it."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import orjson
import pytest

from jobs import maintenance
from jobs.inbox import events
from models import database
from models.payments import listing
from tests.support.cast import ADA, BO, app, balance, event_states
from tests.support.providers.paypal_events import amount, capture, dispute, event, refund

pytestmark = pytest.mark.usefixtures("db")
SLUG = "clash-ai"
PACK = "minutes_30"
OF_ONE_ORDER = {"supplementary_data": {"related_ids": {"order_id": "ORD1"}}, "amount": amount("4.99")}


def tell(*told: dict[str, Any], now: datetime) -> None:
    for each in told:
        events.receive(SLUG, "paypal", each["id"], each["event_type"], orjson.dumps(each).decode(), now=now)
        while events.apply_pending(now=now):
            pass
    assert {state for state, _ in event_states(SLUG)} == {"done"}


def of(type_: str, customer: str, number: str, status: str) -> dict[str, Any]:
    custom_id = f"customer={customer}&pack={PACK}"
    return event(f"PAYMENT.CAPTURE.{type_}", capture(custom_id, number=number, status=status, **OF_ONE_ORDER))


def adas(type_: str = "COMPLETED", status: str = "COMPLETED") -> dict[str, Any]:
    return of(type_, ADA, "1", status)


def bos(type_: str = "COMPLETED", status: str = "COMPLETED") -> dict[str, Any]:
    return of(type_, BO, "2", status)


def payments(customer: str, now: datetime) -> list[tuple[str, list[str], str]]:
    found, _ = listing.for_customer(app(SLUG), customer, now=now)
    return [(it["reference"], it["aliases"], it["state"]) for it in found]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_each_capture_is_credited_to_who_paid_it(order: tuple[int, ...], now: datetime) -> None:
    told = [adas("PENDING", "PENDING"), bos("PENDING", "PENDING"), adas(), bos()]
    tell(*(told[number] for number in order), now=now)
    assert (balance(ADA, SLUG), balance(BO, SLUG)) == (30, 30)
    assert payments(ADA, now) == [("CAP1", ["ORD1"], "settled")]
    assert payments(BO, now) == [("CAP2", ["ORD1"], "settled")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_refund_takes_back_the_capture_that_it_is_of(order: tuple[int, ...], now: datetime) -> None:
    related = {"supplementary_data": {"related_ids": {"order_id": "ORD1"}}}
    told = [adas(), bos(), event("PAYMENT.CAPTURE.REFUNDED", refund("4.99", of="2", **related))]
    tell(*(told[number] for number in order), now=now)
    assert (balance(ADA, SLUG), balance(BO, SLUG)) == (30, 0)
    assert [state for _, _, state in payments(ADA, now) + payments(BO, now)] == ["settled", "refunded"]
    assert all(check.ok for check in maintenance.check_books(now=now))


def test_a_dispute_freezes_the_capture_that_it_is_about(now: datetime) -> None:
    tell(adas(), bos(), event("CUSTOMER.DISPUTE.CREATED", dispute(of="2")), now=now)
    assert database.read("SELECT reference FROM payment WHERE frozen") == [("CAP2",)]


def test_a_second_capture_after_one_that_was_denied_is_another_payment(now: datetime) -> None:
    again = of("COMPLETED", ADA, "2", "COMPLETED")
    tell(adas("PENDING", "PENDING"), adas("DENIED", "DECLINED"), again, now=now)
    assert balance(ADA, SLUG) == 30
    assert payments(ADA, now) == [("CAP2", ["ORD1"], "settled"), ("CAP1", ["ORD1"], "failed")]
