"""PayPal's events: what they are worth, in whatever order they come, and what is refused of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.inbox import events
from jobs.providers.facts import PaymentReversed, PaymentSettled
from jobs.providers.paypal import client as paypal_client
from jobs.providers.paypal import events as paypal
from jobs.providers.paypal import fields
from models import clock, database
from models.errors import NotOurs, ProviderAway, ProviderRefused, Unprocessable
from models.inbox.events import Event
from models.ledger import balances
from models.payments import checkouts, reversals
from tests.support.cast import ADA, BO, app, balance, entries, event_states
from tests.support.deep import times
from tests.support.folders import data_folder
from tests.support.providers.paypal_events import amount, capture, dispute, event, order, refund
from tests.support.providers.sandboxes import running_provider

SLUG = "clash-ai"
PACK = "minutes_30"
ADAS = f"customer={ADA}&pack={PACK}"


def deliver(told: dict[str, Any], *, now: datetime, slug: str = SLUG) -> None:
    """Store an event as the receiver does, and apply what is pending."""
    events.receive(slug, "paypal", told["id"], told["event_type"], orjson.dumps(told).decode(), now=now)
    while events.apply_pending(now=now):
        pass


def facts(type_: str, resource: Any, **more: Any) -> list[Any]:
    """What an event tells."""
    told = {**event(type_, resource), **more}
    return list(paypal.facts_of(app(SLUG), Event(1, SLUG, "paypal", told["id"], type_, told, datetime.now())))  # noqa: DTZ005


def available(customer: str, now: datetime) -> int:
    return balances.available(app(SLUG), customer, now=now)


def paid(value: str = "4.99", **more: Any) -> dict[str, Any]:
    return event("PAYMENT.CAPTURE.COMPLETED", capture(ADAS, amount=amount(value), **more))


# --- what was bought


def test_a_completed_capture_is_a_payment_keyed_by_the_capture_with_the_order_as_alias():
    (fact,) = facts("PAYMENT.CAPTURE.COMPLETED", capture(ADAS, amount=amount("4.99")))
    assert fact == PaymentSettled(
        app=SLUG,
        provider="paypal",
        event_id=fact.event_id,
        customer=ADA,
        reference="CAP1",
        order="ORD1",
        pack=PACK,
        is_priced_by_payer=True,
        customer_field="customer of resource.custom_id (customer=…&pack=…)",
        pack_field="resource.custom_id (customer=…&pack=…)",
        amount_minor=499,
        currency="usd",
    )


@pytest.mark.parametrize(
    ("custom_id", "expected"),
    [
        ("customer=u%2F1%20%C3%BC&pack=p", ("u/1 ü", "p", 1, None)),
        ("pack=p&customer=u&quantity=12", ("u", "p", 1, None)),
        ("customer=a+b&pack=p", ("a b", "p", 1, None)),
        ("checkout=c-1", (None, None, 1, "c-1")),
        ("customer=u&pack=p&checkout=c%261&app=clash-ai&more=x", ("u", "p", 1, "c&1")),
    ],
)
def test_the_custom_id_says_who_bought_what(custom_id: str, expected: tuple[Any, ...]):
    (fact,) = facts("PAYMENT.CAPTURE.COMPLETED", capture(custom_id))
    assert (fact.customer, fact.pack, fact.quantity, fact.checkout) == expected


@pytest.mark.parametrize("custom_id", [None, "", "order 7", "pack=p", "customer=&pack=p", 7, ["customer=u"], "\0"])
def test_a_capture_that_names_nobody_is_dead_with_the_reason(custom_id: Any):
    with pytest.raises(Unprocessable, match="no customer"):
        facts("PAYMENT.CAPTURE.COMPLETED", capture(custom_id))


@pytest.mark.parametrize("quantity", ["0", "12", "x", "1&quantity=2"])
def test_a_quantity_of_an_older_custom_id_is_read_over(quantity: str):
    (fact,) = facts("PAYMENT.CAPTURE.COMPLETED", capture(f"{ADAS}&quantity={quantity}&checkout=c-1"))
    assert (fact.customer, fact.pack, fact.quantity, fact.checkout) == (ADA, PACK, 1, "c-1")


def test_a_custom_id_that_says_two_things_is_refused():
    with pytest.raises(Unprocessable, match="repeats a name"):
        facts("PAYMENT.CAPTURE.COMPLETED", capture(f"{ADAS}&customer=bo"))


@pytest.mark.parametrize(
    ("custom_id", "field"),
    [
        (f"customer=XXXX%FF&pack={PACK}", "customer"),
        (f"customer=XXXX%C3&pack={PACK}", "customer"),
        (f"customer=XXXX%ED%A0%80&pack={PACK}", "customer"),
        (f"customer={ADA}&pack=%FF", "pack"),
        ("checkout=%C0%80", "checkout"),
    ],
)
def test_escapes_that_are_no_utf_8_do_not_make_two_customers_one(db, now, custom_id, field):
    deliver(event("PAYMENT.CAPTURE.COMPLETED", capture(custom_id, amount=amount("4.99"))), now=now)
    ((state, error),) = event_states(SLUG)
    assert state == "dead"
    assert f"resource.custom_id: {json.dumps(custom_id)}" in str(error)
    assert f"the percent-encoded {field} must be UTF-8" in str(error)
    assert database.read("SELECT customer FROM account") == []


def test_escapes_of_somebody_elses_are_read_over():
    (fact,) = facts("PAYMENT.CAPTURE.COMPLETED", capture(f"{ADAS}&note=%FF&customer%FF=bo"))
    assert fact.customer == ADA


@pytest.mark.parametrize(
    ("custom_id", "reason"),
    [
        (f"checkout=gone&pack={PACK}", "no customer: customer of resource.custom_id (customer=…&pack=…) is empty"),
        (
            "customer=a%2Fb&pack=x",
            "'a/b' in customer of resource.custom_id (customer=…&pack=…) is not a valid customer name",
        ),
        (f"customer={ADA}", "no pack named: the event has none in resource.custom_id (customer=…&pack=…)"),
        ("order 7", "no customer: resource.custom_id is not of the form customer=…&pack=…"),
    ],
)
def test_what_is_missing_is_named_by_paypals_own_field(db, now, custom_id, reason):
    deliver(event("PAYMENT.CAPTURE.COMPLETED", capture(custom_id, amount=amount("4.99"))), now=now)
    ((state, error),) = event_states(SLUG)
    assert (state, str(error).startswith(reason)) == ("dead", True), error
    assert "metadata" not in str(error)


def test_of_an_order_it_is_the_field_of_its_unit():
    (fact,) = facts("CHECKOUT.ORDER.COMPLETED", order(ADAS, capture(None)))
    assert fact.pack_field == "resource.purchase_units[0].custom_id (customer=…&pack=…)"


def test_another_apps_payment_is_not_ours():
    for type_ in ("PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.PENDING"):
        with pytest.raises(NotOurs, match="songs"):
            facts(type_, capture(f"{ADAS}&app=songs"))
    assert facts("PAYMENT.CAPTURE.COMPLETED", capture(f"{ADAS}&app={SLUG}"))


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [("4.99", "USD", 499), ("499", "JPY", 499), ("500", "HUF", 50000), ("7", "TWD", 700), ("0.00", "EUR", 0)],
)
def test_amounts_have_paypals_decimals(value: str, currency: str, minor: int):
    (fact,) = facts("PAYMENT.CAPTURE.COMPLETED", capture(ADAS, amount=amount(value, currency)))
    assert (fact.amount_minor, fact.currency) == (minor, currency.lower())


@pytest.mark.parametrize(
    "bad",
    [
        amount("4.999"),
        amount("4.99", "JPY"),
        amount("500.50", "HUF"),
        amount("-4.99"),
        amount("1e3"),
        amount("4,99"),
        amount(""),
        amount("9" * 30),
        amount("4.99", "XXY"),
        {"value": "4.99"},
        {"currency_code": "USD"},
        {"value": 4.99, "currency_code": "USD"},
        {"value": "4.99", "currency_code": None},
        None,
        "4.99",
        [],
    ],
    ids=str,
)
def test_an_amount_that_is_none_is_refused(bad: Any):
    with pytest.raises(Unprocessable, match="malformed"):
        facts("PAYMENT.CAPTURE.COMPLETED", capture(ADAS, amount=bad))


STATES = [
    ("COMPLETED", "COMPLETED", "settled"),
    ("COMPLETED", None, "settled"),
    ("COMPLETED", "REFUNDED", "settled"),
    ("COMPLETED", "PARTIALLY_REFUNDED", "settled"),
    ("PENDING", "PENDING", "pending"),
    ("PENDING", None, "pending"),
    ("PENDING", "DECLINED", "failed"),
    ("DENIED", "DECLINED", "failed"),
    ("DENIED", None, "failed"),
    ("DECLINED", "DECLINED", "failed"),
    ("DECLINED", "FAILED", "failed"),
]


@pytest.mark.parametrize(("type_", "status", "state"), STATES)
def test_the_state_is_that_of_the_object(type_: str, status: str | None, state: str):
    (fact,) = facts(f"PAYMENT.CAPTURE.{type_}", capture(ADAS, status=status))
    assert fact.state == state


@pytest.mark.parametrize(("type_", "state"), [("PENDING", "pending"), ("DENIED", "failed"), ("DECLINED", "failed")])
@pytest.mark.parametrize("status", ["COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"])
def test_an_event_of_no_money_grants_nothing_whatever_status_is_in_it(db, now, type_, state, status):
    told = capture(ADAS, status=status, amount=amount("4.99"))
    deliver(event(f"PAYMENT.CAPTURE.{type_}", told), now=now)
    assert (balance(ADA, SLUG), database.read("SELECT state FROM payment")) == (0, [(state,)])
    deliver(paid(), now=now)
    assert balance(ADA, SLUG) == 30


@pytest.mark.parametrize("type_", ["PENDING", "DENIED", "DECLINED"])
def test_a_capture_that_paypal_was_asked_for_is_as_it_is_now(db, now, api, type_):
    api(get_capture=capture(ADAS, status="COMPLETED", amount=amount("4.99")))
    deliver(event(f"PAYMENT.CAPTURE.{type_}", capture(ADAS, status="PENDING")), now=now)
    assert balance(ADA, SLUG) == 30


@pytest.mark.parametrize("status", [403, 404])
def test_one_that_paypal_does_not_show_is_not_as_its_signed_status_says(db, now, api, status):
    api(get_capture=ProviderRefused("PayPal: unknown", status=status))
    deliver(event("PAYMENT.CAPTURE.DENIED", capture(ADAS, status="COMPLETED", amount=amount("4.99"))), now=now)
    assert balance(ADA, SLUG) == 0


def test_an_order_tells_of_its_captures_and_without_any_it_tells_nothing():
    bought = capture(None)
    del bought["supplementary_data"]
    for type_ in ("CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED"):
        (fact,) = facts(type_, order(ADAS, bought))
        assert (fact.reference, fact.order, fact.customer, fact.state) == ("CAP1", "ORD1", ADA, "settled")
        with pytest.raises(NotOurs, match="not captured"):
            facts(type_, order(ADAS))


def test_who_writes_the_order_sets_neither_the_quantity_nor_the_price(db, now):
    cheap = capture(f"{ADAS}&quantity=1000000", amount=amount("0.01"))
    deliver(event("PAYMENT.CAPTURE.COMPLETED", cheap), now=now)
    assert balance(ADA, SLUG) == 0
    ((state, error),) = event_states(SLUG)
    assert (state, "cost 4.99 usd" in str(error)) == ("dead", True)


@pytest.mark.parametrize(("value", "currency"), [("1", "JPY"), ("0.01", "EUR"), ("500.00", "EUR")])
def test_who_writes_the_order_sets_not_the_currency_either(db, now, value, currency):
    deliver(event("PAYMENT.CAPTURE.COMPLETED", capture(ADAS, amount=amount(value, currency))), now=now)
    assert balance(ADA, SLUG) == 0
    ((state, error),) = event_states(SLUG)
    assert state == "dead"
    assert f"{value} {currency.lower()} were paid for 1 × minutes_30, which cost 4.99 usd" in str(error)


def test_a_capture_that_names_no_order_has_to_pay_the_price_too(db, now):
    cheap = capture(ADAS, amount=amount("1", "JPY"))
    del cheap["supplementary_data"]
    deliver(event("PAYMENT.CAPTURE.COMPLETED", cheap), now=now)
    assert (balance(ADA, SLUG), event_states(SLUG)[0][0]) == (0, "dead")


def promise(now: datetime, *, quantity: int, order_id: str) -> str:
    """A checkout of Ada's that was opened at PayPal; returns what its order names."""
    values: dict[str, Any] = dict.fromkeys(
        ("plan", "expires_after", "stripe_price", "email", "success_url", "cancel_url")
    )
    values |= {"app": SLUG, "external_id": "c-1", "customer": ADA, "content": {}, "pack": PACK, "quantity": quantity}
    values |= {"units": 30, "price_minor": 499, "currency": "usd", "refundable": True, "title": "", "now": now}
    values |= {"success_url": "", "cancel_url": "", "provider": "paypal"}
    database.transaction(lambda conn: checkouts.insert(conn, values))
    checkouts.complete(SLUG, "c-1", order_id, "https://paypal", now=now)
    return f"{ADAS}&checkout=c-1&app={SLUG}"


@pytest.mark.parametrize("offer", [amount("1", "JPY"), amount("9.98", "EUR"), amount("9.97")])
def test_a_promise_is_kept_for_its_price_in_its_currency_alone(db, now, api, offer):
    named = promise(now, quantity=2, order_id="ORD1")
    fake = api(get_capture=capture(named, amount=offer))
    cheap = order(named, purchase_units=[{"custom_id": named, "amount": offer}])
    deliver(event("CHECKOUT.ORDER.APPROVED", cheap), now=now)
    deliver(event("PAYMENT.CAPTURE.COMPLETED", capture(named, amount=offer)), now=now)
    assert (balance(ADA, SLUG), fake.asked) == (0, [("get_capture", "CAP1")])
    assert [(state, "which cost 9.98 usd" in str(error)) for state, error in event_states(SLUG)] == [("dead", True)] * 2


def test_two_captures_of_one_order_are_two_payments(db, now):
    declined = capture(ADAS, number="2", status="DECLINED", amount=amount("4.99"))
    other = capture("customer=bo&pack=minutes_30", number="3", amount=amount("4.99"))
    for it in (declined, other):
        it["supplementary_data"] = {"related_ids": {"order_id": "ORD1"}}
    deliver(paid(), now=now)
    deliver(event("PAYMENT.CAPTURE.COMPLETED", other), now=now)
    assert (balance(ADA, SLUG), balance("bo", SLUG)) == (30, 30)
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("4.99")), now=now)
    deliver(event("PAYMENT.CAPTURE.DECLINED", declined), now=now)
    assert (balance(ADA, SLUG), balance("bo", SLUG)) == (0, 30), "the decline that comes late undoes no refund"


def test_a_capture_is_credited_once_however_many_events_tell_of_it(db, now):
    for told in (
        paid(),
        paid(),
        event("CHECKOUT.ORDER.COMPLETED", order(ADAS, capture(ADAS, amount=amount("4.99")))),
    ):
        deliver(told, now=now)
    assert balance(ADA, SLUG) == 30
    assert entries(ADA, SLUG) == [("purchase", 30)]
    assert database.read("SELECT reference, order_id, amount_minor, currency FROM payment") == [
        ("CAP1", "ORD1", 499, "usd")
    ]


def test_a_pending_capture_is_credited_when_the_money_comes_and_a_denied_one_never(db, now):
    deliver(event("PAYMENT.CAPTURE.PENDING", capture(ADAS, status="PENDING")), now=now)
    assert balance(ADA, SLUG) == 0
    deliver(paid(), now=now)
    deliver(event("PAYMENT.CAPTURE.PENDING", capture(ADAS, status="PENDING")), now=now)
    assert balance(ADA, SLUG) == 30
    deliver(event("PAYMENT.CAPTURE.DENIED", capture(ADAS, number="2", status="DECLINED")), now=now)
    assert database.read("SELECT reference, state FROM payment ORDER BY id") == [
        ("CAP1", "settled"),
        ("CAP2", "failed"),
    ]
    assert balance(ADA, SLUG) == 30


# --- money that goes back


def test_a_refund_names_its_capture_by_the_link_that_leads_up():
    (fact,) = facts("PAYMENT.CAPTURE.REFUNDED", refund("2.00", of="9"))
    assert isinstance(fact, PaymentReversed)
    assert fact.payment == ("CAP9",)
    assert [(one.reference, one.amount_minor, one.failed) for one in fact.refunds] == [("REF1", 200, False)]
    assert fact.refunded_minor is None


def test_paypals_own_sum_is_told_too_unless_it_is_of_another_currency():
    for currency, expected in (("USD", 350), ("EUR", None)):
        breakdown = {"total_refunded_amount": amount("3.50", currency)}
        (fact,) = facts("PAYMENT.CAPTURE.REFUNDED", refund("2.00", seller_payable_breakdown=breakdown))
        assert fact.refunded_minor == expected


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_refund_that_failed_returned_nothing(status: str):
    (fact,) = facts("PAYMENT.CAPTURE.REFUNDED", refund("2.00", status=status))
    assert fact.refunds[0].failed


@pytest.mark.parametrize(
    "links",
    [None, [], [{"rel": "self", "href": "https://x/CAP1"}], [{"rel": "up"}], [{"rel": "up", "href": "https://x/"}]],
)
def test_a_refund_of_nothing_is_refused(links: Any):
    with pytest.raises(Unprocessable, match="malformed"):
        facts("PAYMENT.CAPTURE.REFUNDED", refund("2.00", links=links))


def story() -> dict[str, dict[str, Any]]:
    """A pack of 30 for 4.99, of which PayPal gave back 2.00, then the rest; a dispute lies between."""
    return {
        "paid": paid(),
        "part": event("PAYMENT.CAPTURE.REFUNDED", refund("2.00", number="1")),
        "rest": event("PAYMENT.CAPTURE.REVERSED", refund("2.99", number="2")),
        "disputed": event("CUSTOMER.DISPUTE.CREATED", dispute()),
        "resolved": event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED")),
    }


def outcome(names: tuple[str, ...], now: datetime) -> tuple[int, int, str]:
    """(balance, available, state) after these events, each sent twice."""
    told = story()
    for name in names:
        for number in (1, 2):
            deliver({**told[name], "id": f"{name}-{number}"}, now=now)
    ((state,),) = database.read("SELECT state FROM payment")
    return balance(ADA, SLUG), available(ADA, now), state


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "part", "rest"])), ids="-".join)
def test_a_payment_and_its_refunds_end_the_same_in_every_order(db, now, names):
    assert outcome(names, now)[:2] == (0, 0)


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "part", "disputed"])), ids="-".join)
def test_an_open_dispute_freezes_what_is_left_in_every_order(db, now, names):
    left, free, _ = outcome(names, now)
    assert (left, free) == (30 - 12, 0)


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "part", "disputed", "resolved"])), ids="-".join)
def test_a_dispute_that_is_resolved_takes_nothing_by_itself(db, now, names):
    left, free, _ = outcome(names, now)
    assert left == free == 30 - 12


def test_a_dispute_lost_takes_by_the_reversal_beside_it(db, now):
    assert outcome(("paid", "disputed", "resolved", "part", "rest"), now)[:2] == (0, 0)


@pytest.mark.parametrize(
    "names", list(itertools.permutations(["paid", "disputed", "resolved", "lost", "told-as-a-refund"])), ids="-".join
)
def test_a_dispute_lost_counts_once_as_disputed_in_every_order(db, now, names):
    """PayPal's events of the money are those of a refund; the dispute's tell of none."""
    total = {"seller_payable_breakdown": {"total_refunded_amount": amount("4.99")}}
    taken = {
        "paid": paid(),
        "disputed": event("CUSTOMER.DISPUTE.CREATED", dispute()),
        "resolved": event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED")),
        "lost": event("PAYMENT.CAPTURE.REVERSED", refund("4.99")),
        "told-as-a-refund": event("PAYMENT.CAPTURE.REFUNDED", refund("4.99", **total)),
    }
    for name in names:
        deliver(taken[name], now=now)
    ((state, refunded, disputed),) = database.read("SELECT state, refunded_minor, disputed_minor FROM payment")
    assert (state, refunded, disputed) == ("disputed", 0, 499)
    assert [it for it in entries(ADA, SLUG) if it[1]] == [("purchase", 30), ("clawback", -30)]


def returned() -> tuple[str, int, int]:
    """(state, refunded, disputed) of the only payment."""
    ((state, refunded, disputed),) = database.read("SELECT state, refunded_minor, disputed_minor FROM payment")
    return state, refunded, disputed


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "part", "rest", "disputed"])), ids="-".join)
def test_what_was_refunded_before_a_dispute_was_lost_stays_refunded(db, now, names):
    assert outcome(names, now) == (0, 0, "disputed")
    assert returned() == ("disputed", 200, 299)


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "part", "rest"])), ids="-".join)
def test_a_reversal_without_a_dispute_is_a_refund(db, now, names):
    assert outcome(names, now)[2] == "refunded"
    assert returned() == ("refunded", 499, 0)


def test_a_dispute_that_the_seller_settles_by_a_refund_is_refunded(db, now):
    for told in (
        paid(),
        event("CUSTOMER.DISPUTE.CREATED", dispute()),
        event("PAYMENT.CAPTURE.REFUNDED", refund("4.99")),
        event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED")),
    ):
        deliver(told, now=now)
    assert returned() == ("refunded", 499, 0)


def ruled(code: str) -> dict[str, Any]:
    """A dispute that PayPal decided."""
    return dispute("RESOLVED", dispute_outcome={"outcome_code": code}, create_time="2026-03-01T12:00:00Z")


@pytest.mark.parametrize("code", ["RESOLVED_BUYER_FAVOUR", "ACCEPTED"])
def test_a_dispute_resolved_for_the_buyer_frees_nothing_before_its_reversal_comes(db, now, code):
    deliver(paid(), now=now)
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("1.00", number="9", create_time="2026-02-20T12:00:00Z")), now=now)
    deliver(event("CUSTOMER.DISPUTE.CREATED", dispute()), now=now)
    deliver(event("CUSTOMER.DISPUTE.RESOLVED", ruled(code)), now=now)
    assert (balance(ADA, SLUG), available(ADA, now)) == (24, 0), "an earlier refund is not the reversal"
    taken = refund("2.00", number="2", create_time="2026-03-02T12:00:00Z")
    deliver(event("PAYMENT.CAPTURE.REVERSED", taken), now=now)
    assert balance(ADA, SLUG) == available(ADA, now) == 30 - 18


@pytest.mark.parametrize("code", ["RESOLVED_SELLER_FAVOUR", "CANCELED_BY_BUYER", "RESOLVED_WITH_PAYOUT", "NEW_CODE"])
def test_a_dispute_resolved_for_the_seller_frees_the_units(db, now, code):
    deliver(paid(), now=now)
    deliver(event("CUSTOMER.DISPUTE.CREATED", dispute()), now=now)
    deliver(event("CUSTOMER.DISPUTE.RESOLVED", ruled(code)), now=now)
    assert available(ADA, now) == 30


@pytest.mark.parametrize("names", list(itertools.permutations(["paid", "disputed", "ruled", "lost"])), ids="-".join)
def test_a_dispute_resolved_for_the_buyer_ends_the_same_in_every_order(db, now, names):
    told = {
        "paid": paid(),
        "disputed": event("CUSTOMER.DISPUTE.CREATED", dispute(create_time="2026-03-01T12:00:00Z")),
        "ruled": event("CUSTOMER.DISPUTE.RESOLVED", ruled("RESOLVED_BUYER_FAVOUR")),
        "lost": event("PAYMENT.CAPTURE.REVERSED", refund("2.00", create_time="2026-03-02T12:00:00Z")),
    }
    for name in names:
        for number in (1, 2):
            deliver({**told[name], "id": f"{name}-{number}"}, now=now)
    assert balance(ADA, SLUG) == available(ADA, now) == 30 - 12
    assert returned() == ("disputed", 0, 200)


@pytest.mark.parametrize("order_of", [("first", "second"), ("second", "first")])
def test_an_appeal_replaces_the_first_decision(db, now, order_of):
    deliver(paid(), now=now)
    decisions = {
        "first": {**ruled("RESOLVED_BUYER_FAVOUR"), "update_time": "2026-03-05T12:00:00Z"},
        "second": {**ruled("RESOLVED_SELLER_FAVOUR"), "update_time": "2026-03-25T12:00:00Z"},
    }
    for name in order_of:
        deliver(event("CUSTOMER.DISPUTE.RESOLVED", decisions[name]), now=now)
    assert available(ADA, now) == 30


def test_a_dispute_of_several_captures_freezes_each():
    listed = [{"seller_transaction_id": "CAP1"}, {"seller_transaction_id": "CAP2", "custom": "app=songs"}]
    (one,) = facts("CUSTOMER.DISPUTE.CREATED", dispute(disputed_transactions=[*listed]))
    assert (one.payment, one.dispute.reference, one.dispute.stage) == (("CAP1",), "PP-D-1:CAP1", "inquiry")
    listed[1]["custom"] = None  # type: ignore[assignment]
    both = facts("CUSTOMER.DISPUTE.UPDATED", dispute(disputed_transactions=listed))
    assert [(one.payment, one.dispute.reference) for one in both] == [
        (("CAP1",), "PP-D-1:CAP1"),
        (("CAP2",), "PP-D-1:CAP2"),
    ]
    with pytest.raises(NotOurs):
        facts("CUSTOMER.DISPUTE.CREATED", dispute(disputed_transactions=[{"custom": "app=songs"}]))


def two_bought(now: datetime) -> None:
    """Ada's CAP1 and Bo's CAP2."""
    deliver(paid(), now=now)
    bos = capture(f"customer={BO}&pack={PACK}", number="2", amount=amount("4.99"))
    deliver(event("PAYMENT.CAPTURE.COMPLETED", bos), now=now)


ONE, TWO = [{"seller_transaction_id": "CAP1"}], [{"seller_transaction_id": f"CAP{number}"} for number in (2, 1)]
LENGTHS = [("ONE", "TWO"), ("TWO", "ONE"), ("TWO", "TWO"), ("ONE", "ONE")]


@pytest.mark.parametrize(("opened", "ended"), LENGTHS)
@pytest.mark.parametrize("is_in_order", [True, False])
def test_a_dispute_ends_for_all_whom_it_named_whatever_its_events_list(db, now, opened, ended, is_in_order):
    two_bought(now)
    listed = {"ONE": ONE, "TWO": TWO}
    told = [
        event("CUSTOMER.DISPUTE.CREATED", dispute(disputed_transactions=listed[opened])),
        event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED", disputed_transactions=listed[ended])),
    ]
    if is_in_order:
        deliver(told[0], now=now)
        assert (available(ADA, now), available(BO, now)) == (0, 0 if opened == "TWO" else 30)
        deliver(told[1], now=now)
    else:
        for it in reversed(told):
            deliver(it, now=now)
    assert (available(ADA, now), available(BO, now)) == (30, 30)
    known_as = database.read("SELECT state, aliases && ARRAY['CAP1', 'CAP2'] FROM payment")
    assert known_as == [("settled", False), ("settled", False)]


def test_one_that_was_stored_by_its_id_alone_ends_too(db, now):
    deliver(paid(), now=now)
    old = {"stage": "inquiry", "moves": {}, "withdrawn_minor": 0, "reinstated_minor": 0, "now": now}
    database.transaction(lambda conn: reversals.store_dispute(conn, SLUG, "paypal", ["CAP1"], "PP-D-1", **old))
    deliver(event("CUSTOMER.DISPUTE.UPDATED", dispute()), now=now)
    assert available(ADA, now) == 0
    deliver(event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED")), now=now)
    assert available(ADA, now) == 30


def test_another_dispute_of_the_same_payment_goes_on(db, now):
    deliver(paid(), now=now)
    for number in ("1", "10", "1-0", "1A"):
        deliver(event("CUSTOMER.DISPUTE.CREATED", dispute(number=number)), now=now)
    for number, left in (("1", 0), ("10", 0), ("1-0", 0), ("1A", 30)):
        deliver(event("CUSTOMER.DISPUTE.RESOLVED", dispute("RESOLVED", number=number)), now=now)
        assert available(ADA, now) == left


# --- money that goes back in another currency


def test_a_refund_in_another_currency_takes_nothing_and_says_so(db, now):
    deliver(paid(), now=now)
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("2", currency="JPY")), now=now)
    (_, (state, error)) = event_states(SLUG)
    assert state == "dead"
    assert str(error).startswith("a reversal in jpy of CAP1, which was paid in usd: no units were clawed back")
    assert database.read("SELECT count(*) FROM payment_return") == [(0,)]
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("2.00", number="2")), now=now)
    assert (balance(ADA, SLUG), returned()) == (18, ("partly_refunded", 200, 0))


def test_nor_does_it_where_it_is_told_first(db, now):
    total = {"seller_payable_breakdown": {"total_refunded_amount": amount("300", "JPY")}}
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("200", currency="JPY", **total)), now=now)
    deliver(event("PAYMENT.CAPTURE.REFUNDED", refund("2.00", number="2")), now=now)
    deliver(paid(), now=now)
    assert (balance(ADA, SLUG), returned()) == (18, ("partly_refunded", 200, 0))


# --- what an updated dispute is


def test_an_updated_dispute_that_is_resolved_is_closed():
    (fact,) = facts("CUSTOMER.DISPUTE.UPDATED", dispute("RESOLVED"))
    assert fact.dispute.stage == "closed"


# --- what is not for us


@pytest.mark.parametrize("type_", ["PAYMENT.ORDER.CREATED", "BILLING.PLAN.CREATED", "x", ""])
def test_other_types_are_ignored_with_a_reason(db, now, type_):
    deliver(event(type_, {}), now=now)
    assert event_states(SLUG) == [("ignored", f"{type_} is not used")]


def test_an_event_of_paypals_sandbox_is_not_for_a_live_app(monkeypatch):
    monkeypatch.setattr(paypal_client, "environment_of", lambda app: "live")
    told = capture(ADAS, links=[{"rel": "self", "href": "https://api.sandbox.paypal.com/v2/payments/captures/CAP1"}])
    with pytest.raises(NotOurs, match="sandbox"):
        facts("PAYMENT.CAPTURE.COMPLETED", told)
    assert facts("PAYMENT.CAPTURE.COMPLETED", capture(ADAS))


def test_a_payment_for_a_pack_that_is_gone_is_dead_and_lives_again_when_it_is_back(db, now):
    deliver(event("PAYMENT.CAPTURE.COMPLETED", capture(f"customer={ADA}&pack=gone")), now=now)
    ((state, error),) = event_states(SLUG)
    assert state == "dead"
    assert "gone" in str(error)


# --- what is asked of PayPal first


class FakePayPal:
    """Answers what it was given; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        def ask(id_: str) -> Any:
            self.asked.append((name, id_))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


@pytest.fixture
def api(monkeypatch):
    """Give the app a PayPal that answers as told."""

    def give(**answers: Any) -> FakePayPal:
        fake = FakePayPal(**answers)
        monkeypatch.setattr(paypal_client, "client", lambda app: fake)
        monkeypatch.setattr(paypal_client, "has_real_account", lambda app: True)
        return fake

    return give


def prepared(type_: str, resource: Any) -> dict[str, Any]:
    told = event(type_, resource)
    ready = paypal.prepare(app(SLUG), Event(1, SLUG, "paypal", told["id"], type_, told, datetime.now()))  # noqa: DTZ005
    return dict(ready.payload["resource"])


def test_an_approved_order_is_captured_and_credited(db, now, api):
    fake = api(capture_order=order(ADAS, capture(None, amount=amount("4.99"))))
    deliver(event("CHECKOUT.ORDER.APPROVED", order(ADAS)), now=now)
    assert fake.asked == [("capture_order", "ORD1")]
    assert balance(ADA, SLUG) == 30
    deliver(paid(), now=now)
    assert balance(ADA, SLUG) == 30


@pytest.mark.parametrize(
    "foreign",
    [
        order(None),
        order("order 7 of a shop"),
        order(f"{ADAS}&app=songs"),
        order(ADAS, intent="AUTHORIZE"),
        order(ADAS, purchase_units=[]),
        order(ADAS, purchase_units=[{"custom_id": ADAS}, {"custom_id": ADAS}]),
        order(ADAS, id=None),
        order("customer=a&customer=b&pack=p"),
    ],
    ids=lambda told: json.dumps(told)[:40],
)
def test_the_order_of_another_shop_is_never_captured(api, foreign):
    fake = api(capture_order=AssertionError("captured"))
    assert prepared("CHECKOUT.ORDER.APPROVED", foreign) == foreign
    assert fake.asked == []


def test_an_order_for_a_pack_that_is_not_sold_is_left_with_the_buyers_money(db, now, api):
    fake = api(capture_order=AssertionError("captured"))
    deliver(event("CHECKOUT.ORDER.APPROVED", order(f"customer={ADA}&pack=gone")), now=now)
    ((state, error),) = event_states(SLUG)
    assert (state, fake.asked) == ("dead", [])
    assert "not captured" in str(error)


@pytest.mark.parametrize("offer", [amount("1", "JPY"), amount("0.01", "EUR"), amount("4.98"), None, {"value": "4.99"}])
def test_an_order_for_another_price_or_currency_is_left_with_the_buyers_money(db, now, api, offer):
    fake = api(capture_order=AssertionError("captured"))
    cheap = order(ADAS, purchase_units=[{"custom_id": ADAS, "amount": offer}])
    deliver(event("CHECKOUT.ORDER.APPROVED", cheap), now=now)
    ((state, error),) = event_states(SLUG)
    assert (state, fake.asked) == ("dead", [])
    assert "not captured" in str(error) or "malformed" in str(error)


def test_an_order_that_names_no_pack_is_not_captured(db, now, api):
    fake = api(capture_order=AssertionError("captured"))
    deliver(event("CHECKOUT.ORDER.APPROVED", order(f"app={SLUG}")), now=now)
    assert (event_states(SLUG)[0][0], fake.asked) == ("dead", [])


def test_an_order_that_paypal_will_not_capture_credits_nothing(db, now, api):
    api(capture_order=ProviderRefused("PayPal: declined", status=422, code="INSTRUMENT_DECLINED"))
    deliver(event("CHECKOUT.ORDER.APPROVED", order(ADAS)), now=now)
    assert event_states(SLUG)[0][0] == "ignored"
    assert balance(ADA, SLUG) == 0


def test_paypal_away_leaves_the_event_for_later(db, now, api):
    api(capture_order=ProviderAway("PayPal cannot be reached"))
    told = event("CHECKOUT.ORDER.APPROVED", order(ADAS))
    events.receive(SLUG, "paypal", told["id"], told["event_type"], orjson.dumps(told).decode(), now=now)
    events.apply_pending(now=now)
    assert event_states(SLUG) == [("pending", "PayPal cannot be reached")]


def test_with_an_account_the_object_is_the_one_that_paypal_has_now(db, now, api):
    fake = api(get_capture=capture(ADAS, status="COMPLETED", amount=amount("4.99")))
    deliver(event("PAYMENT.CAPTURE.PENDING", capture(ADAS, status="PENDING")), now=now)
    assert fake.asked == [("get_capture", "CAP1")]
    assert balance(ADA, SLUG) == 30


@pytest.mark.parametrize("status", [403, 404])
def test_what_paypal_does_not_show_is_taken_as_it_was_signed(api, status):
    api(get_refund=ProviderRefused("PayPal: unknown", status=status))
    signed = refund("2.00")
    assert prepared("PAYMENT.CAPTURE.REVERSED", signed) == signed


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("type_", ["PAYMENT.CAPTURE.COMPLETED", "CHECKOUT.ORDER.COMPLETED", "CHECKOUT.ORDER.APPROVED"])
def test_what_paypal_does_not_know_credits_nothing(db, now, api, type_, status):
    unknown = ProviderRefused("PayPal: unknown", status=status)
    api(get_capture=unknown, get_order=unknown, capture_order=unknown)
    bought = capture(ADAS, amount=amount("4.99"))
    deliver(event(type_, bought if "CAPTURE" in type_ else order(ADAS, bought)), now=now)
    assert balance(ADA, SLUG) == 0
    ((state, error),) = event_states(SLUG)
    assert (state, "PayPal does not show" in str(error)) == ("dead", True)


def test_a_completed_order_is_the_one_that_paypal_has_now(db, now, api):
    signed = order(ADAS, capture(ADAS, amount=amount("499.00")))
    api(get_order=order(ADAS, capture(ADAS, amount=amount("4.99"))))
    deliver(event("CHECKOUT.ORDER.COMPLETED", signed), now=now)
    assert (balance(ADA, SLUG), database.read("SELECT amount_minor FROM payment")) == (30, [(499,)])


# --- whatever comes


def test_every_field_may_be_missing_null_or_absurd():
    whole = {
        "PAYMENT.CAPTURE.COMPLETED": capture(ADAS),
        "PAYMENT.CAPTURE.REFUNDED": refund("1.00", seller_payable_breakdown={"total_refunded_amount": amount("1.00")}),
        "CUSTOMER.DISPUTE.CREATED": dispute(),
        "CHECKOUT.ORDER.APPROVED": order(ADAS, capture(ADAS)),
    }
    absurd = (None, [], {}, 0, -1, 2**70, 1.5, True, "", "\0", "x" * 3000, "é", [None], [[]], {"": None}, [7, "x"])
    for type_, resource in whole.items():
        for path in paths(resource):
            for value in (*absurd, ...):
                check(type_, changed(resource, path, value))


def paths(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every place of a JSON value."""
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    return [path, *(way for name, value in inner for way in paths(value, (*path, name)))]


def changed(thing: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value there, or (...) without it."""
    if not path:
        return None if value is ... else value
    copy = dict(thing) if isinstance(thing, dict) else list(thing)
    if len(path) == 1 and value is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def check(type_: str, resource: Any) -> None:
    """Nothing but facts, NotOurs and Unprocessable comes of an event, whatever is in it; nor of preparing it."""
    told = (
        orjson.loads(json.dumps(event(type_, resource))) if "\ud800" not in repr(resource) else event(type_, resource)
    )
    stored = Event(1, SLUG, "paypal", "WH-1", type_, told, datetime.now())  # noqa: DTZ005
    try:
        ready = paypal.prepare(app(SLUG), stored)
        for fact in paypal.facts_of(app(SLUG), ready):
            assert isinstance(fact, PaymentSettled | PaymentReversed)
    except (NotOurs, Unprocessable) as reason:
        assert reason.detail


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "id status amount value currency_code custom_id links rel href purchase_units payments captures intent "
                "dispute_id disputed_transactions seller_transaction_id supplementary_data related_ids order_id".split()
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@pytest.mark.deep
@settings(max_examples=times(300), deadline=None)
@given(st.sampled_from(sorted(paypal.HANDLERS)), ANYTHING)
def test_no_json_is_more_than_refused(type_: str, resource: Any):
    check(type_, resource)


@given(customer=st.text(min_size=1, max_size=120), pack=st.text(min_size=1, max_size=60))
def test_a_custom_id_of_ours_fits_and_is_understood(customer: str, pack: str):
    written = fields.write_custom_id(app=SLUG, customer=customer, pack=pack, checkout="c-1")
    assert len(written) <= 127
    sold = fields.read_custom_id(written)
    assert (sold.app, sold.checkout) == (SLUG, "c-1")
    assert (sold.customer, sold.pack) in ((customer, pack), (None, None))


def test_a_short_custom_id_says_all():
    written = fields.write_custom_id(app=SLUG, customer="a/b c", pack=PACK, checkout="c-1")
    assert written == f"customer=a%2Fb%20c&pack={PACK}&checkout=c-1&app={SLUG}"
    too_long = fields.write_custom_id(app=SLUG, customer=BO, pack=PACK, checkout="ü" * 120)
    assert fields.read_custom_id(too_long).app == SLUG


# --- the whole way, with the sandbox's PayPal


def test_an_order_is_bought_captured_refunded_and_disputed_over_real_http(db, now, monkeypatch):
    with data_folder() as folder, running_provider(folder) as provider:
        monkeypatch.setattr(paypal_client, "settings", replace(paypal_client.settings, sandbox_url=provider.url))
        client = paypal_client.client(app(SLUG))
        order_id, url = client.create_order(
            f"{SLUG}:c-1",
            custom_id=fields.write_custom_id(app=SLUG, customer="a b", pack=PACK, checkout="c-1"),
            description="a pack",
            amount_minor=499,
            currency="usd",
            success_url="https://shop.test/ok",
            cancel_url="https://shop.test/no",
        )
        requests.post(url, data={"how": "COMPLETED"}, allow_redirects=False, timeout=9)
        hear(client, now)
        assert balance("a b", SLUG) == 30
        (bought,) = paypal_client.captures_of(client.get_order(order_id))
        client.refund_capture(bought["id"], key="half", amount_minor=250, currency="usd")
        hear(client, now)
        assert balance("a b", SLUG) == 15
        provider.control(SLUG, action="paypal-dispute", id=bought["id"])
        hear(client, now)
        assert (balance("a b", SLUG), available("a b", now)) == (15, 0)
        client.refund_capture(bought["id"], key="rest")
        hear(client, now)
        assert balance("a b", SLUG) == 0


def hear(client: paypal_client.PayPal, now: datetime) -> None:
    """Everything that PayPal has told so far, and what that makes it tell; newest first, and again each time."""
    for _ in range(2):
        at = clock.now()
        for told in client.list_events(at - timedelta(days=1), at + timedelta(minutes=1)):
            deliver(told, now=now)
