"""Subscription schedules: a downgrade at the period's end, other phases, and their release."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.billing.bills import events, invoices, items, line, subscribe, types_since
from tests.sandbox.test_stripe import pass_time


def a_price(v1, minor, interval="month"):
    return v1.prices.create(line(minor, interval=interval)["price_data"]).id


def scheduled(v1, subscription, price, quantity=1, **more):
    """A change at the end of the present period, as Stripe's guide makes a downgrade."""
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    (present,) = schedule.phases
    kept = [{"price": it.price, "quantity": it.quantity} for it in present["items"]]
    phases = [
        {"items": kept, "start_date": present.start_date, "end_date": present.end_date},
        {"items": [{"price": price, "quantity": quantity}], **more},
    ]
    return v1.subscription_schedules.update(schedule.id, {"phases": phases, "end_behavior": "release"})


def test_a_schedule_mirrors_its_subscription(provider, v1):
    subscription = subscribe(provider, v1, line(9000, 2))
    before = events(v1)
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    assert isinstance(schedule, stripe.SubscriptionSchedule)
    (item,) = items(subscription)
    (phase,) = schedule.phases
    assert (schedule.status, schedule.end_behavior, schedule.subscription) == ("active", "release", subscription.id)
    assert (phase.start_date, phase.end_date) == (item.current_period_start, item.current_period_end)
    assert [(it.price, it.quantity) for it in phase["items"]] == [(item.price.id, 2)]
    assert v1.subscriptions.retrieve(subscription.id).schedule == schedule.id
    assert types_since(v1, before) == ["subscription_schedule.created", "customer.subscription.updated"]
    assert events(v1)[-1]["data"]["previous_attributes"] == {"schedule": None}


def test_a_downgrade_takes_effect_with_the_next_period(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    small = a_price(v1, 2000)
    schedule = scheduled(v1, subscription, small, quantity=2)
    assert schedule.phases[0].end_date == schedule.phases[1].start_date
    pass_time(provider, days=20)
    assert items(v1.subscriptions.retrieve(subscription.id))[0].price.unit_amount == 9000
    pass_time(provider, days=12)
    changed = v1.subscriptions.retrieve(subscription.id)
    assert [(it.price.id, it.quantity) for it in items(changed)] == [(small, 2)]
    assert [it.amount_paid for it in invoices(v1)] == [9000, 4000]
    assert (invoices(v1)[-1].billing_reason, len(invoices(v1)[-1].lines.data)) == ("subscription_cycle", 1)
    updated = events(v1, "customer.subscription.updated")[-1]["data"]
    assert updated["previous_attributes"]["items"]["data"][0]["price"]["unit_amount"] == 9000
    assert updated["object"]["items"]["data"][0]["current_period_end"] == items(changed)[0].current_period_end
    assert changed.billing_cycle_anchor == subscription.billing_cycle_anchor
    assert items(changed)[0].current_period_start == items(subscription)[0].current_period_end


def test_the_next_bill_is_that_of_the_next_phase(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    scheduled(v1, subscription, a_price(v1, 2000), quantity=2)
    shown = v1.invoices.create_preview({"subscription": subscription.id})
    assert [(it.amount, it.quantity) for it in shown.lines.data] == [(4000, 2)]
    assert items(v1.subscriptions.retrieve(subscription.id))[0].price.unit_amount == 9000


def test_a_schedule_releases_its_subscription_after_the_last_phase(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    schedule = scheduled(v1, subscription, a_price(v1, 2000))
    pass_time(provider, days=63)
    released = v1.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.subscription, released.released_subscription) == (
        "released",
        None,
        subscription.id,
    )
    assert v1.subscriptions.retrieve(subscription.id).schedule is None
    assert [it.amount_paid for it in invoices(v1)] == [9000, 2000, 2000]


def test_a_release_before_that_changes_nothing(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    schedule = scheduled(v1, subscription, a_price(v1, 2000))
    before = events(v1)
    assert v1.subscription_schedules.release(schedule.id).status == "released"
    assert types_since(v1, before) == ["subscription_schedule.released", "customer.subscription.updated"]
    pass_time(provider, days=32)
    assert [it.amount_paid for it in invoices(v1)] == [9000, 9000]
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        v1.subscription_schedules.release(schedule.id)


def test_a_scheduled_year_starts_at_the_months_end(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    scheduled(v1, subscription, a_price(v1, 90000, "year"))
    pass_time(provider, days=32)
    changed = v1.subscriptions.retrieve(subscription.id)
    (item,) = items(changed)
    assert item.current_period_start == items(subscription)[0].current_period_end
    assert 365 <= (item.current_period_end - item.current_period_start) / 86400 <= 366
    assert [it.amount_paid for it in invoices(v1)] == [9000, 90000]


def test_a_phase_within_a_period_is_prorated(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    (present,) = schedule.phases
    kept = [{"price": it.price, "quantity": it.quantity} for it in present["items"]]
    middle = (present.start_date + present.end_date) // 2
    more = [{"price": kept[0]["price"], "quantity": 3}]
    phases = [
        {"items": kept, "start_date": present.start_date, "end_date": middle},
        {"items": more, "proration_behavior": "always_invoice", "duration": {"interval": "month"}},
    ]
    v1.subscription_schedules.update(schedule.id, {"phases": phases})
    pass_time(provider, days=17)
    assert items(v1.subscriptions.retrieve(subscription.id))[0].quantity == 3
    assert invoices(v1)[-1].amount_paid == pytest.approx(9000, abs=2)
    assert invoices(v1)[-1].lines.data[0].period.start == middle


def test_a_schedule_may_cancel_its_subscription_at_its_end(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    v1.subscription_schedules.update(schedule.id, {"end_behavior": "cancel"})
    pass_time(provider, days=32)
    assert v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert v1.subscription_schedules.retrieve(schedule.id).status == "completed"
    assert len(invoices(v1)) == 1


def test_a_subscription_that_is_canceled_now_cancels_its_schedule(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    schedule = scheduled(v1, subscription, a_price(v1, 2000))
    v1.subscriptions.cancel(subscription.id)
    assert v1.subscription_schedules.retrieve(schedule.id).status == "canceled"
    assert "subscription_schedule.canceled" in [event["type"] for event in events(v1)]


def test_the_end_of_a_scheduled_subscription_is_changed_by_its_schedule(provider, v1):
    subscription = subscribe(provider, v1, line(9000))
    scheduled(v1, subscription, a_price(v1, 2000))
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        v1.subscription_schedules.create({"from_subscription": subscription.id})


@pytest.mark.parametrize("case", ["no phases", "no items", "gap", "past", "currency", "both ends", "unknown"])
def test_phases_that_stripe_would_refuse_are_refused(provider, v1, case):
    subscription = subscribe(provider, v1, line(9000))
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    (present,) = schedule.phases
    good = {"items": [{"price": present["items"][0].price}], "start_date": present.start_date}
    euro = v1.prices.create({**line(9)["price_data"], "currency": "eur"}).id
    phases = {
        "no phases": [],
        "no items": [{**good, "items": []}],
        "gap": [{**good, "start_date": present.start_date + 60}],
        "past": [{**good, "end_date": present.start_date - 1}],
        "currency": [{**good, "items": [{"price": euro}]}],
        "both ends": [{**good, "end_date": present.end_date, "duration": {"interval": "month"}}],
        "unknown": [{**good, "colour": "red"}],
    }[case]
    with pytest.raises(stripe.InvalidRequestError):
        v1.subscription_schedules.update(schedule.id, {"phases": phases or ""})
    assert v1.subscription_schedules.retrieve(schedule.id).phases == schedule.phases
