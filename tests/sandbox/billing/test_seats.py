"""Seats and several items: quantities in amounts, invoice lines, prorations and renewals."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.billing.bills import SEAT, events, invoices, items, line, seats, subscribe
from tests.sandbox.test_stripe import pass_time


def halfway(provider, subscription):
    item = items(subscription)[0]
    pass_time(provider, seconds=(item.current_period_end - item.current_period_start) / 2)


def test_seats_are_bought_and_renewed_at_their_number(provider, v1):
    subscription = subscribe(provider, v1, line(quantity=5))
    (item,) = items(subscription)
    assert (item.quantity, item.plan.interval) == (5, "month")
    pass_time(provider, days=32)
    assert [(it.amount_paid, it.lines.data[0].quantity) for it in invoices(v1)] == [(5 * SEAT, 5)] * 2
    assert v1.charges.list().data[0].amount == 5 * SEAT


def test_more_seats_at_once_cost_the_rest_of_the_period(provider, v1):
    subscription = subscribe(provider, v1, line(quantity=2))
    halfway(provider, subscription)
    changed = seats(v1, subscription, 5, proration_behavior="always_invoice")
    back, rest = invoices(v1)[-1].lines.data
    assert (back.quantity, rest.quantity, items(changed)[0].quantity) == (2, 5, 5)
    assert (back.amount, rest.amount) == (pytest.approx(-SEAT, abs=1), pytest.approx(2.5 * SEAT, abs=1))
    assert invoices(v1)[-1].amount_paid == pytest.approx(1.5 * SEAT, abs=1)
    (updated,) = events(v1, "customer.subscription.updated")
    previous = updated["data"]["previous_attributes"]
    assert previous["items"]["data"][0]["quantity"] == 2
    assert updated["data"]["object"]["items"]["data"][0]["quantity"] == 5


def test_seats_that_wait_for_the_next_invoice_are_on_it(provider, v1):
    subscription = subscribe(provider, v1, line(quantity=2))
    halfway(provider, subscription)
    seats(v1, subscription, 3)
    assert len(invoices(v1)) == 1
    pass_time(provider, days=20)
    assert [it.quantity for it in invoices(v1)[-1].lines.data] == [2, 3, 3]
    assert invoices(v1)[-1].amount_paid == pytest.approx(3.5 * SEAT, abs=1)


def test_fewer_seats_leave_a_credit(provider, v1):
    subscription = subscribe(provider, v1, line(quantity=4))
    halfway(provider, subscription)
    seats(v1, subscription, 2, proration_behavior="always_invoice")
    assert v1.customers.retrieve(subscription.customer).balance == pytest.approx(-SEAT, abs=1)


def test_seats_without_prorations_cost_from_the_next_period_on(provider, v1):
    subscription = subscribe(provider, v1, line(quantity=2))
    halfway(provider, subscription)
    seats(v1, subscription, 7, proration_behavior="none")
    pass_time(provider, days=20)
    assert [it.amount_paid for it in invoices(v1)] == [2 * SEAT, 7 * SEAT]


def test_a_second_change_credits_the_line_of_the_first(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=5)
    first = seats(v1, subscription, 2, proration_behavior="always_invoice")
    pass_time(provider, days=5)
    seats(v1, first, 3, proration_behavior="always_invoice")
    rest = invoices(v1)[1].lines.data[1]
    credited = invoices(v1)[2].lines.data[0].parent.subscription_item_details.proration_details.credited_items
    assert (credited.invoice, credited.invoice_line_items) == (invoices(v1)[1].id, [rest.id])


def test_quantity_zero_and_text_are_refused(provider, v1):
    subscription = subscribe(provider, v1)
    for wrong in (0, "many"):
        with pytest.raises(stripe.InvalidRequestError):
            seats(v1, subscription, wrong)
    assert items(v1.subscriptions.retrieve(subscription.id))[0].quantity == 1


# --- several items


def test_a_checkout_of_two_plans_is_one_subscription_with_two_items(provider, v1):
    subscription = subscribe(provider, v1, line(2000, 3), line(500))
    assert [(it.price.unit_amount, it.quantity) for it in items(subscription)] == [(2000, 3), (500, 1)]
    (first,) = invoices(v1)
    assert [it.amount for it in first.lines.data] == [6000, 500]
    assert first.amount_paid == v1.charges.list().data[0].amount == 6500
    sold = [it.parent.subscription_item_details.subscription_item for it in first.lines.data]
    assert sold == [it.id for it in items(subscription)]


def test_items_with_different_intervals_are_billed_by_their_own_periods(provider, v1):
    subscription = subscribe(provider, v1, line(2000), line(300, interval="week"))
    month, week = items(subscription)
    assert week.current_period_end - week.current_period_start == 7 * 86400 < month.current_period_end
    pass_time(provider, days=15)
    assert [[it.amount for it in bill.lines.data] for bill in invoices(v1)] == [[2000, 300], [300], [300]]
    pass_time(provider, days=17)
    assert sum(it.amount_paid for it in invoices(v1)) == 2 * 2000 + 5 * 300


def test_a_pack_beside_a_plan_is_on_the_first_invoice_only(provider, v1):
    pack = {"price_data": {"currency": "usd", "unit_amount": 499, "product_data": {"name": "Setup"}}, "quantity": 1}
    subscription = subscribe(provider, v1, line(2000), pack)
    assert len(items(subscription)) == 1
    pass_time(provider, days=32)
    assert [[it.amount for it in bill.lines.data] for bill in invoices(v1)] == [[2000, 499], [2000]]
    assert invoices(v1)[0].lines.data[1].parent.type == "invoice_item_details"


def test_an_item_is_added_and_removed_with_prorations(provider, v1):
    subscription = subscribe(provider, v1)
    halfway(provider, subscription)
    extra = v1.prices.create(line(1000)["price_data"]).id
    added = v1.subscriptions.update(
        subscription.id, {"items": [{"price": extra, "quantity": 2}], "proration_behavior": "always_invoice"}
    )
    first, second = items(added)
    assert second.current_period_end == first.current_period_end
    assert invoices(v1)[-1].amount_paid == pytest.approx(1000, abs=1)
    removed = v1.subscriptions.update(
        subscription.id, {"items": [{"id": second.id, "deleted": True}], "proration_behavior": "always_invoice"}
    )
    assert [it.id for it in items(removed)] == [first.id]
    assert invoices(v1)[-1].total == pytest.approx(-1000, abs=1)


@pytest.mark.parametrize("case", ["last", "twice", "unknown"])
def test_items_that_stripe_would_refuse_are_refused(provider, v1, case):
    subscription = subscribe(provider, v1)
    item = items(subscription)[0]
    wrong = {
        "last": {"id": item.id, "deleted": True},
        "twice": {"price": item.price.id},
        "unknown": {"id": "si_none", "quantity": 2},
    }[case]
    with pytest.raises(stripe.InvalidRequestError):
        v1.subscriptions.update(subscription.id, {"items": [wrong]})
    assert [it.id for it in items(v1.subscriptions.retrieve(subscription.id))] == [item.id]


# --- intervals


@pytest.mark.parametrize(
    ("interval", "count", "days"), [("day", 1, 1), ("week", 1, 7), ("week", 2, 14), ("day", 10, 10)]
)
def test_days_and_weeks_renew_after_exactly_that_time(provider, v1, interval, count, days):
    subscribe(provider, v1, line(100, interval=interval, count=count))
    pass_time(provider, days=3 * days, hours=1)
    starts = [bill.lines.data[0].period.start for bill in invoices(v1)]
    assert [(start - starts[0]) / 86400 for start in starts] == [0, days, 2 * days, 3 * days]
    assert [bill.created for bill in invoices(v1)][1:] == starts[1:], "each is created when it was due"


def test_three_months_and_a_year_renew_by_the_calendar(provider, v1):
    subscription = subscribe(provider, v1, line(100, count=3))
    item = items(subscription)[0]
    assert 89 <= (item.current_period_end - item.current_period_start) / 86400 <= 92
    year = items(subscribe(provider, v1, line(100, interval="year")))[0]
    assert 365 <= (year.current_period_end - year.current_period_start) / 86400 <= 366


def test_an_interval_longer_than_three_years_is_refused(v1):
    with pytest.raises(stripe.InvalidRequestError):
        v1.prices.create(line(100, count=37)["price_data"])


def test_a_code_reduces_the_first_invoice_and_leaves_the_lines_prices(provider, v1):
    session = v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [line(2000, 2), line(501)],
            "success_url": "https://a.test/",
            "allow_promotion_codes": True,
        }
    )
    provider.pay(session.id, code="HALF")
    (first,) = invoices(v1)
    assert [it.amount for it in first.lines.data] == [4000, 501]
    assert sum(it.discount_amounts[0].amount for it in first.lines.data) == 2250
    assert (first.subtotal, first.total, first.amount_paid) == (4501, 2251, 2251)
    assert first.total_discount_amounts[0].amount == 2250
    pass_time(provider, days=32)
    assert invoices(v1)[-1].amount_paid == 4501
