"""Credit notes on paid invoices are returns, less the refunds that they name; in any order."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest

from models import database
from tests.payments.test_pack_lines import alone, bill, line, linked, plan_of, tell
from tests.payments.test_reversals import clean
from tests.support import emptied
from tests.support.cast import ADA, balance, event_states
from tests.support.providers.shop import repack
from tests.support.providers.stripe_events import charge, refund

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
LINK = ("invoice_payment.paid", {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}})


@pytest.fixture(autouse=True)
def priced(db: str) -> None:
    """A hundred credits for 4.99."""
    repack(APP, "starter", stripe_price="price_starter")


def note(amount: int, *, number: str = "1", **more: Any) -> dict[str, Any]:
    return {
        "id": f"cn_{number}",
        "object": "credit_note",
        "amount": amount,
        "currency": "usd",
        "invoice": "in_1",
        "status": "issued",
        "type": "post_payment",
        "livemode": False,
        "metadata": {},
        **more,
    }


def naming(*refunds: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"refund": id_, "amount_refunded": amount} for id_, amount in refunds]


def refunded() -> int:
    return int(database.read("SELECT refunded_minor FROM payment")[0][0])


PAID = ("invoice.paid", alone(line("price_starter", 499)))
STORIES: dict[str, tuple[int, list[tuple[str, dict[str, Any]]]]] = {
    "to the customer's balance": (250, [PAID, ("credit_note.created", note(250)), ("credit_note.updated", note(250))]),
    "voided": (0, [PAID, ("credit_note.created", note(250)), ("credit_note.voided", note(250, status="void"))]),
    "as a refund": (
        250,
        [
            PAID,
            LINK,
            ("credit_note.created", note(250, refunds=naming(("re_1", 250)))),
            ("refund.created", refund("re_1", 250)),
        ],
    ),
    "partly as a refund, as older versions name it": (
        250,
        [
            PAID,
            LINK,
            ("credit_note.created", note(250, refund="re_1")),
            ("refund.created", refund("re_1", 100)),
        ],
    ),
    "two notes, a refund of its own and the charge's total": (
        150 + 100 + 49,
        [
            PAID,
            LINK,
            ("credit_note.created", note(200, refunds=naming(("re_1", 50)))),
            ("credit_note.created", note(100, number="2")),
            ("charge.refunded", charge(refunded=49, amount=499)),
        ],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_credit_notes_end_the_same_in_every_order(now: datetime, story: str) -> None:
    taken, told = STORIES[story]
    for order in itertools.permutations(told):
        emptied.empty()
        for type_, thing in (*order, *order):
            tell(now, thing, type_)
        assert (refunded(), balance(ADA, APP)) == (taken, 100 - 100 * taken // 499), [type_ for type_, _ in order]
        assert {state for state, _ in event_states(APP)} == {"done"}
        assert clean(now)


def test_a_note_before_the_payment_returns_nothing(now: datetime) -> None:
    tell(now, note(250, type="pre_payment"), "credit_note.created")
    tell(now, PAID[1])
    assert (refunded(), balance(ADA, APP)) == (0, 100)


def test_of_a_mixed_note_the_part_after_the_payment_counts(now: datetime) -> None:
    tell(now, PAID[1])
    mixed = note(300, type="mixed", pre_payment_amount=200, post_payment_amount=100)
    tell(now, mixed, "credit_note.created")
    assert refunded() == 100


def test_a_note_on_a_plans_invoice_takes_its_share_of_plan_and_packs(now: datetime) -> None:
    tell(now, plan_of(now), "customer.subscription.created")
    tell(now, bill(now, line("price_starter", 499)))
    linked(now)
    tell(now, note(1700), "credit_note.created")
    assert balance(ADA, APP) == 1000 - 1000 * 1700 // 3399 + 100 - 100 * 1700 // 3399
    assert clean(now)


def test_a_note_of_an_unknown_type_is_dead_with_the_reason(now: datetime) -> None:
    tell(now, note(250, type="sideways"), "credit_note.created")
    ((state, error),) = event_states(APP)
    assert (state, "data.object.type" in str(error)) == ("dead", True)
