"""Payments as a customer's list shows them, and what has become of the units that each bought."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.ledger import adjustments, charges, holds, lot_expiry, refunds
from models import database
from models.errors import NotFound
from models.payments import listing
from tests.support.cast import ADA, BO, app, deliver, event_states, give
from tests.support.providers.stripe_events import event, invoice, paid_session, subscription
from tests.support.sales import buy, claw, payment_id, returned
from tests.support.web_calls import OTHER_KEY, bearer, fields, problem, send

SONGS = OTHER_KEY
DAY = timedelta(days=1)


def payments(customer: str, now: datetime, slug: str = "songs") -> list[dict[str, Any]]:
    return listing.for_customer(app(slug), customer, now=now)[0]


def credits_of(customer: str, now: datetime, slug: str = "songs") -> list[str | None]:
    """The credit of each payment, oldest first."""
    return [payment["credit"] for payment in payments(customer, now, slug)][::-1]


def spend(customer: str, units: int, key: str, now: datetime, slug: str = "songs") -> int:
    body = {"id": key, "customer": customer, "units": units}
    return int(charges.charge(app(slug), body, now=now)[0]["entry"])


def test_a_payment_is_shown_with_what_was_paid_and_what_it_granted(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    ((entry_id,),) = database.read("SELECT id FROM entry")
    assert payments(ADA, now) == [
        {
            "id": 1,
            "customer": "ada",
            "provider": "stripe",
            "reference": "pi_1",
            "aliases": ["cs_test_1"],
            "pack": "starter",
            "plan": None,
            "quantity": 1,
            "money": {"amount": "4.99", "currency": "usd"},
            "refunded": {"amount": "0.00", "currency": "usd"},
            "disputed": {"amount": "0.00", "currency": "usd"},
            "tax": None,
            "discount": None,
            "fee": None,
            "units": 100,
            "state": "settled",
            "credit": "unredeemed",
            "entry": entry_id,
            "subscription": None,
            "created_at": now,
            "updated_at": now,
        }
    ]


def test_an_amount_that_the_event_lacks_is_the_catalogs_price_and_is_noted(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=None, currency=None)
    (payment,) = payments(ADA, now)
    assert payment["money"] == {"amount": "4.99", "currency": "usd"}
    assert payment["refunded"] == {"amount": "0.00", "currency": "usd"}
    ((state, note),) = event_states("songs")
    assert state == "done"
    assert "does not say what was paid" in note


@pytest.mark.parametrize(("total", "is_noted"), [(499, False), (1, True), (998, True)])
def test_a_session_without_a_subtotal_is_noted_unless_its_total_is_the_price(db, now, total, is_noted):
    buy(ADA, "starter", "1", now=now, amount_total=total)
    ((state, note),) = event_states("songs")
    assert (state, bool(note)) == ("done", is_noted)


def test_a_session_is_unredeemed_until_it_is_used_and_again_when_that_is_refunded(db, now):
    buy(ADA, "session", "1", now=now, slug="echomind")
    assert credits_of(ADA, now, "echomind") == ["unredeemed"]
    entry_id = spend(ADA, 1, "c1", now, "echomind")
    assert credits_of(ADA, now, "echomind") == ["redeemed"]
    refunds.refund(app("echomind"), {"id": "r1", "entry": entry_id, "reason": "it broke off"}, now=now)
    assert credits_of(ADA, now, "echomind") == ["unredeemed"]


def test_use_falls_on_the_payments_whose_lots_paid(db, now):
    for number in ("1", "2", "3"):
        buy(ADA, "starter", number, now=now)
    spend(ADA, 130, "c1", now)
    assert credits_of(ADA, now) == ["redeemed", "partly_redeemed", "unredeemed"]


def test_held_units_are_not_redeemed_yet(db, now):
    buy(ADA, "session", "1", now=now, slug="echomind")
    holds.create(app("echomind"), {"id": "h1", "customer": ADA, "units": 1}, now=now)
    assert credits_of(ADA, now, "echomind") == ["unredeemed"]
    holds.capture(app("echomind"), "h1", {}, now=now)
    assert credits_of(ADA, now, "echomind") == ["redeemed"]


def test_what_an_adjustment_took_is_used(db, now):
    buy(ADA, "starter", "1", now=now)
    adjustments.adjust(app("songs"), {"id": "a1", "customer": ADA, "units": -100, "reason": "a mistake"}, now=now)
    assert credits_of(ADA, now) == ["redeemed"]


def test_a_lot_past_its_expiry_is_expired_before_and_after_the_sweep(db, now):
    buy(ADA, "voice_15", "1", now=now, slug="voice-therapy")
    assert credits_of(ADA, now + 30 * DAY - timedelta(seconds=1), "voice-therapy") == ["unredeemed"]
    assert credits_of(ADA, now + 30 * DAY, "voice-therapy") == ["expired"]
    assert lot_expiry.expire(now=now + 30 * DAY).counts["lots"] == 1
    assert credits_of(ADA, now + 30 * DAY, "voice-therapy") == ["expired"]


def test_a_rest_that_lapsed_makes_it_expired_and_no_rest_redeemed(db, now):
    buy(ADA, "voice_15", "1", now=now, slug="voice-therapy")
    buy(BO, "voice_15", "2", now=now, slug="voice-therapy")
    spend(ADA, 14, "c1", now, "voice-therapy")
    spend(BO, 15, "c2", now, "voice-therapy")
    assert credits_of(ADA, now + 30 * DAY, "voice-therapy") == ["expired"]
    assert credits_of(BO, now + 30 * DAY, "voice-therapy") == ["redeemed"]


def test_units_held_beyond_the_expiry_are_not_lapsed(db, now):
    buy(ADA, "voice_15", "1", now=now, slug="voice-therapy")
    late = now + 30 * DAY
    body = {"id": "h1", "customer": ADA, "units": 15, "expires_in": 3600}
    holds.create(app("voice-therapy"), body, now=late - timedelta(minutes=10))
    assert credits_of(ADA, late, "voice-therapy") == ["unredeemed"]


@pytest.mark.parametrize("used", [0, 70, 100])
def test_what_went_back_in_full_is_refunded_used_or_not(db, now, used):
    buy(ADA, "starter", "1", now=now)
    give(ADA, 100, now=now, slug="songs")
    if used:
        spend(ADA, used, "c1", now)
    claw(ADA, "1", 100, now=now)
    assert credits_of(ADA, now) == ["refunded"]
    returned("1", state="refunded", refunded_minor=1000)
    (payment,) = payments(ADA, now)
    assert (payment["credit"], payment["refunded"]["amount"]) == ("refunded", "10.00")


def test_a_full_refund_of_units_that_had_lapsed_is_refunded(db, now):
    buy(ADA, "voice_15", "1", now=now, slug="voice-therapy")
    lot_expiry.expire(now=now + 31 * DAY)
    returned("1", state="refunded", refunded_minor=1000)
    assert credits_of(ADA, now + 31 * DAY, "voice-therapy") == ["refunded"]


def test_after_a_refund_in_part_the_rest_decides(db, now):
    buy(ADA, "starter", "1", now=now)
    claw(ADA, "1", 50, now=now)
    returned("1", state="partly_refunded", refunded_minor=500)
    assert credits_of(ADA, now) == ["unredeemed"]
    spend(ADA, 20, "c1", now)
    assert credits_of(ADA, now) == ["partly_redeemed"]
    spend(ADA, 30, "c2", now)
    assert credits_of(ADA, now) == ["redeemed"]


def test_a_dispute_that_was_won_makes_it_unredeemed_again(db, now):
    buy(ADA, "starter", "1", now=now)
    claw(ADA, "1", 100, now=now)
    claw(ADA, "1", 0, now=now)
    assert credits_of(ADA, now) == ["unredeemed"]


@pytest.mark.parametrize("kind", ["checkout.session.completed", "checkout.session.async_payment_failed"])
def test_a_payment_that_granted_nothing_has_no_credit(db, now, kind):
    session = paid_session("songs", ADA, "starter", payment_status="unpaid")
    deliver("songs", event(kind, session, created=now), now=now)
    (payment,) = payments(ADA, now)
    assert (payment["units"], payment["credit"], payment["entry"]) == (0, None, None)
    assert payment["state"] == ("pending" if kind.endswith("completed") else "failed")


@pytest.mark.parametrize("first", ["subscription", "invoice"])
def test_the_payment_of_a_plan_shows_what_its_cycle_granted_whichever_came_first(db, now, first):
    period = {"start": now, "end": now + 31 * DAY}
    told = [
        event("customer.subscription.created", subscription("songs", ADA, "pro", anchor=now, **period), created=now),
        event("invoice.paid", invoice("songs", ADA, "pro", **period, reason="subscription_create"), created=now),
    ]
    for each in told if first == "subscription" else told[::-1]:
        deliver("songs", each, now=now)
    (payment,) = payments(ADA, now)
    assert (payment["plan"], payment["pack"], payment["subscription"]) == ("pro", None, "sub_1")
    assert (payment["money"]["amount"], payment["units"], payment["credit"]) == ("29.00", 1000, "unredeemed")
    spend(ADA, 1, "c1", now)
    assert credits_of(ADA, now) == ["partly_redeemed"]


def test_each_month_of_a_plan_has_a_payment_of_its_own(db, now):
    for number in range(2):
        start = now + 31 * DAY * number
        period = {"start": start, "end": start + 31 * DAY}
        deliver(
            "songs",
            event(
                "customer.subscription.updated", subscription("songs", ADA, "pro", anchor=now, **period), created=start
            ),
            now=start,
        )
        deliver(
            "songs",
            event("invoice.paid", invoice("songs", ADA, "pro", **period, number=str(number)), created=start),
            now=start,
        )
    assert [payment["units"] for payment in payments(ADA, now + 32 * DAY)] == [1000, 1000]
    spend(ADA, 1000, "c1", now + 32 * DAY)
    assert credits_of(ADA, now + 32 * DAY) == ["redeemed", "unredeemed"]


def test_the_list_goes_on_by_cursor_newest_first(db, now):
    for number in range(5):
        buy(ADA, "starter", str(number), now=now)
    first, cursor = listing.for_customer(app("songs"), ADA, limit=3, now=now)
    second, end = listing.for_customer(app("songs"), ADA, limit=3, cursor=cursor, now=now)
    assert [payment["reference"] for payment in first + second] == ["pi_4", "pi_3", "pi_2", "pi_1", "pi_0"]
    assert end is None


def test_a_customer_sees_their_own_payments_only(db, now):
    buy(ADA, "starter", "1", now=now)
    buy(BO, "starter", "2", now=now)
    assert [payment["reference"] for payment in payments(ADA, now)] == ["pi_1"]
    assert payments("nobody", now) == payments(ADA, now, "ai-services") == []


def test_one_payment_is_found_by_its_number_and_not_by_another_app(db, now):
    buy(ADA, "starter", "1", now=now)
    assert listing.get(app("songs"), payment_id("1"), now=now) == payments(ADA, now)[0]
    for slug, number in (("ai-services", payment_id("1")), ("songs", 999)):
        with pytest.raises(NotFound):
            listing.get(app(slug), number, now=now)


def test_the_list_over_http(client, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    answer = client.get("/v1/customers/ada/payments", headers=SONGS)
    assert answer.status_code == 200
    (payment,) = answer.json["payments"]
    assert answer.json["next"] is None
    assert (payment["money"], payment["credit"]) == ({"amount": "4.99", "currency": "usd"}, "unredeemed")
    assert payment["created_at"] == "2026-03-10T12:00:00Z"
    assert client.get(f"/v1/payments/{payment['id']}", headers=SONGS).json == payment
    assert client.get("/v1/customers/nobody/payments", headers=SONGS).json == {"payments": [], "next": None}


def test_bad_requests_of_payments(client):
    assert fields(client.get("/v1/customers/ada/payments?cursor=x&limit=0", headers=SONGS)) == ["limit"]
    assert fields(client.get("/v1/customers/ada/payments?cursor=x", headers=SONGS)) == ["cursor"]
    for id_ in ("1", "0", "pi_1", "-1", "9223372036854775808"):
        assert problem(client.get(f"/v1/payments/{id_}", headers=SONGS), 404) == "not-found"


def test_a_customers_token_reads_that_customers_payments(client):
    token = bearer(send(client, "/v1/customers/ada/tokens", {}, key=SONGS).json["token"])
    assert client.get("/v1/customers/ada/payments", headers=token).status_code == 200
    assert client.get("/v1/customers/bo/payments", headers=token).status_code == 403
