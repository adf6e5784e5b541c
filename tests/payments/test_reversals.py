"""Money that goes back: in whatever order and however often it is told, the same units go for the same money."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from models import database
from models.ledger import balances
from models.planning.movements import Take
from tests.support.cast import ADA, BO, app, balance, deliver, entries, event_states, post
from tests.support.providers.stripe_events import charge, dispute, event, invoice, paid_session, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"
Fetched = tuple[str, dict[str, Any]]


def tell(now: datetime, type_: str, thing: dict[str, Any], slug: str = APP) -> None:
    deliver(slug, event(type_, thing, created=now), now=now)


def buy(now: datetime, customer: str = ADA, number: str = "1", **more: Any) -> None:
    """A hundred credits for ten dollars."""
    tell(now, "checkout.session.completed", paid_session(APP, customer, "starter", number=number, **more))


def spend(units: int, now: datetime) -> None:
    post(Take(app=APP, customer=ADA, key=f"charge:{units}", units=units), now=now)


def payment(number: str = "1") -> tuple[int, int, str]:
    """(refunded, disputed, state)"""
    sql = "SELECT refunded_minor, disputed_minor, state FROM payment WHERE reference = %s"
    return database.read(sql, [f"pi_{number}"])[0]  # type: ignore[return-value]


def clawed() -> int:
    sql = "SELECT coalesce(-sum(amount), 0)::bigint FROM entry WHERE type IN ('clawback', 'reinstatement')"
    return int(database.read(sql)[0][0])


def clean(now: datetime) -> bool:
    checks = maintenance.check_books(now=now)
    assert [check.failures for check in checks if not check.ok] == []
    return True


def in_euros(disputed: dict[str, Any]) -> dict[str, Any]:
    """The same dispute of an account that settles in euros."""
    for moved in disputed["balance_transactions"]:
        moved["currency"] = "eur"
    return disputed


# --- refunds


def test_a_whole_refund_takes_all_units_back(now: datetime) -> None:
    buy(now)
    tell(now, "charge.refunded", charge(refunded=1000))
    assert (balance(ADA), payment()) == (0, (1000, 0, "refunded"))
    assert entries(ADA) == [("purchase", 100), ("clawback", -100)]
    assert event_states(APP) == [("done", None)] * 2
    assert clean(now)


def test_a_partial_refund_takes_its_share_rounded_down(now: datetime) -> None:
    buy(now)
    tell(now, "charge.refunded", charge(refunded=333))
    assert (balance(ADA), payment()) == (67, (333, 0, "partly_refunded"))
    assert clean(now)


def test_the_sum_and_the_single_refunds_tell_of_the_same_money(now: datetime) -> None:
    buy(now)
    tell(now, "refund.created", refund("re_1", 400))
    tell(now, "charge.refunded", charge(refunded=400))
    tell(now, "refund.created", refund("re_2", 100))
    tell(now, "charge.refunded", charge(refunded=500))
    tell(now, "refund.updated", refund("re_2", 100))
    assert (clawed(), payment()) == (50, (500, 0, "partly_refunded"))


@pytest.mark.parametrize("with_sum", [False, True])
def test_a_refund_that_fails_gives_the_units_back(now: datetime, with_sum: bool) -> None:
    buy(now)
    tell(now, "refund.created", refund("re_1", 400, status="pending"))
    if with_sum:
        tell(now, "charge.refunded", charge(refunded=400))
    assert balance(ADA) == 60
    tell(now, "refund.failed", refund("re_1", 400, status="failed"))
    assert (balance(ADA), payment()) == (100, (0, 0, "settled"))
    tell(now, "refund.created", refund("re_1", 400, status="pending"))
    assert balance(ADA) == 100, "an older event that comes late changes nothing"
    assert clean(now)


def test_units_that_are_spent_already_become_debt(now: datetime) -> None:
    buy(now)
    spend(80, now)
    tell(now, "charge.refunded", charge(refunded=1000))
    assert database.read("SELECT balance, debt FROM account") == [(-80, 80)]
    buy(now, number="2")
    assert balance(ADA) == 20
    assert clean(now)


def test_a_refund_that_comes_before_its_payment_waits_for_it(now: datetime) -> None:
    tell(now, "charge.refunded", charge(refunded=500))
    assert (balance(ADA), event_states(APP)) == (0, [("done", None)])
    buy(now)
    assert (balance(ADA), payment()) == (50, (500, 0, "partly_refunded"))
    assert clean(now)


def test_a_free_purchase_has_nothing_to_give_back(now: datetime) -> None:
    buy(now, amount_total=0, payment_intent=None, payment_status="no_payment_required")
    tell(now, "charge.refunded", charge(refunded=0))
    assert balance(ADA) == 100


def test_what_lapsed_unused_counts_as_given_back(now: datetime) -> None:
    sold = paid_session("voice-therapy", ADA, "voice_15", amount_total=999)
    tell(now, "checkout.session.completed", sold, "voice-therapy")
    later = now + timedelta(days=31)
    tell(later, "charge.refunded", charge(refunded=999, amount=999), "voice-therapy")
    assert entries(ADA, "voice-therapy") == [("purchase", 15), ("expiry", -15)]
    assert clean(later)


# --- disputes


def test_an_inquiry_freezes_and_takes_nothing(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.created", dispute(status="warning_needs_response"))
    seen = balances.current(app(), ADA, now=now)
    assert (seen["balance"], seen["available"], seen["held"]) == (100, 0, 0)
    assert payment() == (0, 0, "disputed")
    tell(now, "charge.dispute.closed", dispute(status="warning_closed"))
    tell(now, "charge.dispute.updated", dispute(status="warning_under_review"))
    assert balances.current(app(), ADA, now=now)["available"] == 100
    assert payment() == (0, 0, "settled")


def test_an_inquiry_before_its_payment_freezes_it_from_the_start(now: datetime) -> None:
    tell(now, "charge.dispute.created", dispute(status="warning_needs_response"))
    buy(now)
    assert balances.current(app(), ADA, now=now)["available"] == 0


def test_a_dispute_takes_when_money_is_withdrawn_and_gives_back_when_it_is_won(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.created", dispute())
    assert balance(ADA) == 100
    tell(now, "charge.dispute.funds_withdrawn", dispute(-1000))
    assert (balance(ADA), payment()) == (0, (0, 1000, "disputed"))
    tell(now, "charge.dispute.closed", dispute(-1000, 1000, status="won"))
    assert (balance(ADA), payment()) == (100, (0, 0, "settled"))
    tell(now, "charge.dispute.funds_reinstated", dispute(-1000, 1000, status="won"))
    tell(now, "charge.dispute.funds_withdrawn", dispute(-1000))
    assert balance(ADA) == 100, "told again, and an older one late"
    assert clean(now)


def test_a_lost_dispute_stays_taken(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.funds_withdrawn", dispute(-1000))
    tell(now, "charge.dispute.closed", dispute(-1000, status="lost"))
    assert (balance(ADA), payment()) == (0, (0, 1000, "disputed"))


def test_a_dispute_that_names_no_transactions_goes_by_its_events(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.funds_withdrawn", dispute())
    assert balance(ADA) == 0
    tell(now, "charge.dispute.funds_reinstated", dispute(status="won"))
    assert balance(ADA) == 100


def test_an_account_that_settles_in_another_currency_takes_the_disputes_amount(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.funds_withdrawn", in_euros(dispute(-931, amount=500)))
    assert (balance(ADA), payment()) == (50, (0, 500, "disputed"))
    tell(now, "charge.dispute.updated", in_euros(dispute(-931, 466, amount=500)))
    assert (balance(ADA), payment()) == (75, (0, 250, "disputed")), "466 of 931 euro cents are half of the dispute"


def test_money_that_is_withdrawn_again_after_it_was_reinstated_counts_once(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.updated", in_euros(dispute(-931, 931, -931)))
    assert (balance(ADA), payment()) == (0, (0, 1000, "disputed"))


def test_a_lost_dispute_is_taken_whole_whatever_small_movements_follow(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.closed", dispute(status="lost"))
    assert (balance(ADA), payment()) == (0, (0, 1000, "disputed")), "before its withdrawal was reported"
    tell(now, "charge.dispute.updated", dispute(-1000, 15, status="lost"))
    assert (balance(ADA), payment()) == (0, (0, 1000, "disputed"))
    assert clean(now)


def test_a_won_dispute_is_returned_whole_whatever_is_missing_from_its_movements(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.funds_withdrawn", dispute(-1000))
    tell(now, "charge.dispute.closed", in_euros(dispute(-931, 903, status="won")))
    assert (balance(ADA), payment()) == (100, (0, 0, "settled"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_decisions_the_later_one_counts(now: datetime, order: tuple[int, int]) -> None:
    buy(now)
    decisions = [(now, dispute(-1000, status="lost")), (now + timedelta(days=40), dispute(-1000, status="won"))]
    for place in order:
        at, thing = decisions[place]
        tell(at, "charge.dispute.updated", thing)
    assert (balance(ADA), payment()) == (100, (0, 0, "settled"))


def test_a_prevented_dispute_takes_what_its_movements_say(now: datetime) -> None:
    buy(now)
    tell(now, "charge.dispute.created", dispute(status="prevented"))
    assert payment() == (0, 0, "settled")
    assert balances.current(app(), ADA, now=now)["available"] == 100
    tell(now, "charge.dispute.updated", dispute(-1000, status="prevented"))
    assert payment() == (0, 1000, "disputed")


def test_a_dispute_and_a_refund_never_take_twice(now: datetime) -> None:
    buy(now)
    tell(now, "charge.refunded", charge(refunded=1000))
    tell(now, "charge.dispute.funds_withdrawn", dispute(-1000))
    assert (balance(ADA), payment()) == (0, (1000, 0, "refunded"))
    assert clean(now)


# --- any order

PAID: Fetched = ("checkout.session.completed", paid_session(APP, ADA, "starter"))
STORIES: dict[str, list[list[Fetched]]] = {
    "refunds and a dispute won": [
        [PAID],
        [("refund.created", refund("re_1", 300)), ("charge.refunded", charge(refunded=300))],
        [("refund.created", refund("re_2", 700)), ("charge.refunded", charge(refunded=1000))],
        [("charge.dispute.funds_withdrawn", dispute(-1000))],
        [("charge.dispute.funds_reinstated", dispute(-1000, 1000, status="won"))],
    ],
    "a part refunded, the rest disputed and won": [
        [PAID],
        [("refund.created", refund("re_1", 300)), ("charge.refunded", charge(refunded=300))],
        [("charge.dispute.created", dispute(amount=700))],
        [("charge.dispute.funds_withdrawn", dispute(-700, amount=700))],
        [("charge.dispute.funds_reinstated", dispute(-700, 700, amount=700, status="won"))],
    ],
    "a refund that failed and one that did not": [
        [PAID],
        [("refund.created", refund("re_1", 300, status="pending"))],
        [("refund.failed", refund("re_1", 300, status="failed"))],
        [("refund.created", refund("re_2", 450))],
        [("charge.refunded", charge(refunded=450))],
    ],
    "a dispute lost": [
        [PAID],
        [("charge.dispute.created", dispute(status="warning_needs_response", amount=600))],
        [("charge.dispute.updated", dispute(status="needs_response", amount=600))],
        [("charge.dispute.funds_withdrawn", dispute(-600, amount=600))],
        [("charge.dispute.closed", dispute(-600, status="lost", amount=600))],
    ],
    "a dispute lost, with a small movement after it": [
        [PAID],
        [("charge.dispute.created", dispute())],
        [("charge.dispute.funds_withdrawn", in_euros(dispute(-931)))],
        [("charge.dispute.closed", in_euros(dispute(-931, status="lost")))],
        [("charge.dispute.updated", in_euros(dispute(-931, 12, status="lost")))],
    ],
    "a dispute won, of which less came back in euros": [
        [PAID],
        [("charge.dispute.funds_withdrawn", in_euros(dispute(-931)))],
        [("charge.dispute.updated", in_euros(dispute(-931, status="under_review")))],
        [("charge.dispute.funds_reinstated", in_euros(dispute(-931, 903, status="under_review")))],
        [("charge.dispute.closed", in_euros(dispute(-931, 903, status="won")))],
    ],
    "an inquiry that was closed": [
        [PAID],
        [("charge.dispute.created", dispute(status="warning_needs_response"))],
        [("charge.dispute.updated", dispute(status="warning_under_review"))],
        [("charge.dispute.closed", dispute(status="warning_closed"))],
    ],
    "a dispute half of which was returned in euros, and not decided": [
        [PAID],
        [("charge.dispute.created", dispute(amount=500))],
        [("charge.dispute.funds_withdrawn", in_euros(dispute(-931, amount=500)))],
        [("charge.dispute.funds_reinstated", in_euros(dispute(-931, 466, amount=500)))],
        [("charge.dispute.updated", in_euros(dispute(-931, 466, amount=500, status="under_review")))],
    ],
}
ENDS = {
    "a dispute lost, with a small movement after it": (0, (0, 1000, "disputed")),
    "a dispute won, of which less came back in euros": (100, (0, 0, "settled")),
    "an inquiry that was closed": (100, (0, 0, "settled")),
    "a dispute half of which was returned in euros, and not decided": (75, (0, 250, "disputed")),
    "refunds and a dispute won": (0, (1000, 0, "refunded")),
    "a part refunded, the rest disputed and won": (70, (300, 0, "partly_refunded")),
    "a refund that failed and one that did not": (55, (450, 0, "partly_refunded")),
    "a dispute lost": (40, (0, 600, "disputed")),
}


@pytest.mark.parametrize("story", STORIES)
def test_every_order_with_every_event_twice_ends_the_same(now: datetime, story: str) -> None:
    """All 120 orders, each in a payment of its own, with repetitions thrown in."""
    dice = random.Random(7)
    for number, order in enumerate(itertools.permutations(STORIES[story])):
        told = [it for group in order for it in group]
        told += dice.sample(told, len(told))
        customer = f"c{number}"
        for type_, thing in told:
            tell(now, type_, _of(thing, customer, f"{story[:3]}{number}"))
        assert (balance(customer), payment(f"{story[:3]}{number}")) == ENDS[story], [type_ for type_, _ in told]
        if ENDS[story][1][2] == "settled":
            assert balances.current(app(), customer, now=now)["available"] == ENDS[story][0]
    assert clean(now)


def _of(thing: dict[str, Any], customer: str, number: str) -> dict[str, Any]:
    """The same object of another payment and customer."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(it) for name, it in value.items()}
        if isinstance(value, list):
            return [changed(it) for it in value]
        if isinstance(value, str) and value.startswith(("pi_", "ch_", "dp_", "re_", "txn_", "cs_test_")):
            return f"{value[:-1]}{number}" if value.startswith(("pi_", "ch_", "dp_", "cs_")) else f"{value}{number}"
        return customer if value == ADA else value

    return changed(thing)  # type: ignore[no-any-return]


def test_a_payment_and_its_refund_at_once_end_the_same(now: datetime) -> None:
    for number in range(20):
        told = [
            ("checkout.session.completed", paid_session(APP, BO, "starter", number=f"at{number}")),
            ("charge.refunded", charge(refunded=500, number=f"at{number}")),
        ]

        def one(it: Fetched) -> None:
            tell(now, *it)
            database.release()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, told))
    assert balance(BO) == 20 * 50
    assert clean(now)


# --- plans

PAYMENT_OF_INVOICE = {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}


def month(now: datetime, **more: Any) -> dict[str, Any]:
    return invoice("songs", ADA, "pro", start=now, end=now + timedelta(days=31), number="1", **more)


def subscribe(now: datetime, days: int = 31) -> None:
    it = subscription("songs", ADA, "pro", anchor=now, start=now, end=now + timedelta(days=days))
    tell(now, "customer.subscription.created", it, "songs")


def test_a_refunded_month_takes_its_grant_back(now: datetime) -> None:
    subscribe(now)
    tell(now, "invoice.paid", month(now), "songs")
    tell(
        now,
        "invoice_payment.paid",
        {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}},
        "songs",
    )
    tell(now, "charge.refunded", charge(refunded=1450, amount=2900), "songs")
    assert balance(ADA, "songs") == 500
    tell(now, "charge.refunded", charge(refunded=2900, amount=2900), "songs")
    assert balance(ADA, "songs") == 0
    assert clean(now)


def test_a_month_whose_refund_is_known_first_ends_the_same(now: datetime) -> None:
    tell(now, "charge.refunded", charge(refunded=2900, amount=2900), "songs")
    subscribe(now)
    assert balance(ADA, "songs") == 1000, "nobody knows yet that the refund is of this"
    tell(
        now,
        "invoice_payment.paid",
        {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}},
        "songs",
    )
    tell(now, "invoice.paid", month(now), "songs")
    assert balance(ADA, "songs") == 0
    assert clean(now)


def test_a_year_that_was_refunded_whole_grants_no_more_months(now: datetime) -> None:
    subscribe(now, days=365)
    year = invoice(
        "songs", ADA, "pro", start=now, end=now + timedelta(days=365), amount_paid=29000, payment_intent="pi_1"
    )
    tell(now, "invoice.paid", year, "songs")
    later = now + timedelta(days=70)
    runs.run("songs", "grant-monthly", now=later)
    assert balance(ADA, "songs") == 3000
    tell(later, "charge.refunded", charge(refunded=29000, amount=29000), "songs")
    assert balance(ADA, "songs") == 0
    tell(later, "invoice.paid", year, "songs")
    runs.run("songs", "grant-monthly", now=now + timedelta(days=200))
    assert balance(ADA, "songs") == 0
    tell(later, "refund.failed", refund("re_1", 29000, status="failed"), "songs")
    runs.run("songs", "grant-monthly", now=now + timedelta(days=200))
    assert balance(ADA, "songs") == 7000, "the refund failed: all that was owed meanwhile is there"
    assert clean(now)
