"""Updates of subscriptions: payment behaviors, pending updates, trials, anchors, ends and pauses, and previews."""

from __future__ import annotations

import pytest
import stripe

from models import clock
from tests.sandbox.billing.bills import SEAT, decline_next, events, invoices, items, line, seats, subscribe, types_since
from tests.sandbox.test_stripe import APP, pass_time

AT_ONCE = {"proration_behavior": "always_invoice"}
WHEN_PAID = {**AT_ONCE, "payment_behavior": "pending_if_incomplete"}


def now() -> int:
    return int(clock.now().timestamp())


# --- a declined card


def test_a_declined_upgrade_is_made_and_past_due(provider, v1):
    subscription = subscribe(provider, v1)
    decline_next(provider, APP, subscription)
    before = events(v1)
    changed = seats(v1, subscription, 3, **AT_ONCE)
    assert (changed.status, items(changed)[0].quantity) == ("past_due", 3)
    assert types_since(v1, before) == [
        *("invoice.created", "invoice.finalized", "payment_intent.payment_failed", "charge.failed"),
        *("invoice.payment_failed", "customer.subscription.updated"),
    ]
    assert v1.invoices.retrieve(changed.latest_invoice).status == "open"
    v1.invoices.pay(changed.latest_invoice)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


def test_an_upgrade_that_waits_for_confirmation_is_past_due_until_it_is_paid(provider, v1):
    subscription = subscribe(provider, v1)
    changed = seats(v1, subscription, 3, **AT_ONCE, payment_behavior="default_incomplete")
    invoice = v1.invoices.retrieve(changed.latest_invoice)
    assert (changed.status, invoice.status, invoice.attempted) == ("past_due", "open", False)
    assert v1.invoices.pay(invoice.id).status == "paid"
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


def test_an_upgrade_that_must_not_be_incomplete_is_refused_with_a_card_error(provider, v1):
    subscription = subscribe(provider, v1)
    decline_next(provider, APP, subscription)
    before = events(v1)
    with pytest.raises(stripe.CardError) as refusal:
        seats(v1, subscription, 3, **AT_ONCE, payment_behavior="error_if_incomplete")
    assert (refusal.value.http_status, refusal.value.code) == (402, "card_declined")
    assert types_since(v1, before) == []
    assert items(v1.subscriptions.retrieve(subscription.id))[0].quantity == 1


# --- updates that wait for their payment


def waiting(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    decline_next(provider, APP, subscription)
    return seats(v1, subscription, 3, **WHEN_PAID)


def test_a_pending_update_leaves_the_subscription_as_it_is_until_it_is_paid(provider, v1):
    changed = waiting(provider, v1)
    assert (changed.status, items(changed)[0].quantity) == ("active", 1)
    pending = changed.pending_update
    assert isinstance(pending, stripe.Subscription.PendingUpdate)
    assert (pending.subscription_items[0].quantity, pending.expires_at - now()) == (3, pytest.approx(23 * 3600, abs=9))
    open_invoice = v1.invoices.retrieve(changed.latest_invoice)
    assert (open_invoice.status, [it.quantity for it in open_invoice.lines.data]) == ("open", [1, 3])
    (updated,) = events(v1, "customer.subscription.updated")
    assert set(updated["data"]["previous_attributes"]) == {"pending_update", "latest_invoice"}
    before = events(v1)
    v1.invoices.pay(open_invoice.id)
    paid = v1.subscriptions.retrieve(changed.id)
    assert (paid.pending_update, items(paid)[0].quantity, items(paid)[0].id) == (None, 3, items(changed)[0].id)
    assert types_since(v1, before)[-3:] == [
        *("invoice_payment.paid", "customer.subscription.updated", "customer.subscription.pending_update_applied"),
    ]
    pass_time(provider, days=22)
    assert invoices(v1)[-1].amount_paid == 3 * SEAT


def test_a_pending_update_expires_after_23_hours_and_its_invoice_is_void(provider, v1):
    changed = waiting(provider, v1)
    pass_time(provider, hours=22)
    assert v1.subscriptions.retrieve(changed.id).pending_update
    before = events(v1)
    pass_time(provider, hours=2)
    over = v1.subscriptions.retrieve(changed.id)
    assert (over.pending_update, over.status, items(over)[0].quantity) == (None, "active", 1)
    assert v1.invoices.retrieve(changed.latest_invoice).status == "void"
    assert types_since(v1, before) == [
        *("payment_intent.canceled", "invoice.voided"),
        *("customer.subscription.pending_update_expired", "customer.subscription.updated"),
    ]
    assert events(v1)[-1]["created"] == changed.pending_update.expires_at
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        v1.invoices.pay(changed.latest_invoice)


def test_a_void_invoice_ends_its_pending_update(provider, v1):
    changed = waiting(provider, v1)
    assert v1.invoices.void_invoice(changed.latest_invoice).status == "void"
    assert v1.subscriptions.retrieve(changed.id).pending_update is None


def test_another_update_replaces_a_pending_one(provider, v1):
    changed = waiting(provider, v1)
    again = seats(v1, changed, 2, **WHEN_PAID)
    assert (again.pending_update, items(again)[0].quantity) == (None, 2)
    assert v1.invoices.retrieve(changed.latest_invoice).status == "void"


def test_a_pending_update_whose_card_works_is_made_at_once(provider, v1):
    changed = seats(v1, subscribe(provider, v1), 2, **WHEN_PAID)
    assert (changed.pending_update, items(changed)[0].quantity, changed.status) == (None, 2, "active")
    assert v1.invoices.retrieve(changed.latest_invoice).status == "paid"


def test_a_card_that_is_declined_again_keeps_the_update_pending(provider, v1):
    changed = waiting(provider, v1)
    decline_next(provider, APP, changed)
    with pytest.raises(stripe.CardError):
        v1.invoices.pay(changed.latest_invoice)
    assert v1.subscriptions.retrieve(changed.id).pending_update
    assert v1.invoices.retrieve(changed.latest_invoice).attempt_count == 2
    assert events(v1)[-1]["type"] == "invoice.payment_failed"


def test_a_declined_payment_is_declined_again_for_the_same_idempotency_key(provider, v1):
    changed = waiting(provider, v1)
    decline_next(provider, APP, changed)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            v1.invoices.pay(changed.latest_invoice, {}, {"idempotency_key": "pay-1"})
    assert v1.invoices.retrieve(changed.latest_invoice).attempt_count == 2


def test_an_update_that_can_wait_changes_items_only(provider, v1):
    subscription = subscribe(provider, v1)
    for more in ({"metadata": {"a": "b"}}, {"cancel_at_period_end": True}):
        with pytest.raises(stripe.InvalidRequestError, match="pending_if_incomplete"):
            seats(v1, subscription, 3, **WHEN_PAID, **more)


# --- month and year


def test_month_to_year_is_one_invoice_of_a_credit_and_a_whole_line(provider, v1):
    subscription = subscribe(provider, v1, line(SEAT, 2))
    pass_time(provider, days=10)
    year = v1.prices.create(line(20000, interval="year")["price_data"]).id
    wanted = [{"id": items(subscription)[0].id, "price": year}]
    changed = v1.subscriptions.update(subscription.id, {"items": wanted, **WHEN_PAID})
    back, whole = invoices(v1)[-1].lines.data
    details = [it.parent.subscription_item_details for it in (back, whole)]
    assert [it.proration for it in details] == [True, False]
    assert (whole.amount, whole.quantity, changed.billing_cycle_anchor) == (40000, 2, whole.period.start)
    assert details[0].proration_details.credited_items.invoice == invoices(v1)[0].id


def test_a_declined_year_stays_a_month_until_it_is_paid(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    decline_next(provider, APP, subscription)
    year = v1.prices.create(line(20000, interval="year")["price_data"]).id
    wanted = [{"id": items(subscription)[0].id, "price": year}]
    changed = v1.subscriptions.update(subscription.id, {"items": wanted, **WHEN_PAID})
    assert changed.billing_cycle_anchor == subscription.billing_cycle_anchor
    anchor = changed.pending_update.billing_cycle_anchor
    v1.invoices.pay(changed.latest_invoice)
    assert v1.subscriptions.retrieve(subscription.id).billing_cycle_anchor == anchor


# --- anchors and trials


def test_an_anchor_of_now_starts_a_whole_period_less_the_rest_of_the_old_one(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    changed = v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": "now"})
    back, whole = invoices(v1)[-1].lines.data
    assert (whole.amount, back.amount < 0, whole.period.start) == (SEAT, True, changed.billing_cycle_anchor)
    assert invoices(v1)[-1].billing_reason == "subscription_update"


def test_a_trial_is_prolonged_by_a_bill_of_nothing_and_ended_by_a_whole_one(provider, v1):
    subscription = subscribe(provider, v1, subscription_data={"trial_period_days": 7})
    later = subscription.trial_end + 7 * 86400
    moved = v1.subscriptions.update(subscription.id, {"trial_end": later})
    assert (moved.status, moved.trial_end, moved.billing_cycle_anchor) == ("trialing", later, later)
    assert items(moved)[0].current_period_end == later
    assert [(it.billing_reason, it.total) for it in invoices(v1)] == [
        ("subscription_create", 0),
        ("subscription_update", 0),
    ]
    pass_time(provider, days=8)
    ended = v1.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert (ended.status, ended.billing_cycle_anchor) == ("active", items(ended)[0].current_period_start)
    assert (invoices(v1)[-1].amount_paid, invoices(v1)[-1].billing_reason) == (SEAT, "subscription_update")


def test_the_end_of_a_trial_is_announced_three_days_before_once(provider, v1):
    subscription = subscribe(provider, v1, subscription_data={"trial_period_days": 7})
    pass_time(provider, days=3)
    assert events(v1, "customer.subscription.trial_will_end") == []
    pass_time(provider, days=2)
    pass_time(provider, days=1)
    (announced,) = events(v1, "customer.subscription.trial_will_end")
    assert announced["created"] == subscription.trial_end - 3 * 86400


def test_free_days_for_a_running_subscription_credit_the_period_they_end(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    until = now() + 20 * 86400
    changed = v1.subscriptions.update(subscription.id, {"trial_end": until})
    assert (changed.status, changed.billing_cycle_anchor) == ("trialing", until)
    back, free = invoices(v1)[-1].lines.data
    assert (back.amount < 0, free.amount, free.period.end) == (True, 0, until)
    pass_time(provider, days=21)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"
    assert invoices(v1)[-1].starting_balance == back.amount


def test_a_trial_without_a_card_is_paused_and_resumed(provider, v1):
    settings = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = subscribe(
        provider,
        v1,
        payment_method_collection="if_required",
        subscription_data={"trial_period_days": 7, "trial_settings": settings},
    )
    pass_time(provider, days=8)
    assert v1.subscriptions.retrieve(subscription.id).status == "paused"
    assert "customer.subscription.paused" in [event["type"] for event in events(v1)]
    pass_time(provider, days=40)
    assert len(invoices(v1)) == 1
    resumed = v1.subscriptions.resume(subscription.id, {"billing_cycle_anchor": "now"})
    assert (resumed.status, invoices(v1)[-1].amount_paid) == ("active", SEAT)
    assert "customer.subscription.resumed" in [event["type"] for event in events(v1)]
    with pytest.raises(stripe.InvalidRequestError, match="active"):
        v1.subscriptions.resume(subscription.id)


# --- ends


def test_a_cancellation_at_the_end_is_made_and_undone_with_its_reason(provider, v1):
    subscription = subscribe(provider, v1)
    ending = v1.subscriptions.update(
        subscription.id, {"cancel_at_period_end": True, "cancellation_details": {"feedback": "too_expensive"}}
    )
    end = items(subscription)[0].current_period_end
    assert (ending.cancel_at_period_end, ending.cancel_at, ending.status) == (True, end, "active")
    assert (ending.cancellation_details.reason, ending.cancellation_details.feedback) == (
        "cancellation_requested",
        "too_expensive",
    )
    running = v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (running.cancel_at, running.canceled_at, running.cancellation_details.reason) == (None, None, None)
    pass_time(provider, days=32)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_subscription_ends_at_the_time_it_was_told(provider, v1):
    subscription = subscribe(provider, v1)
    at = now() + 45 * 86400
    assert v1.subscriptions.update(subscription.id, {"cancel_at": at}).cancel_at == at
    pass_time(provider, days=60)
    ended = v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at, len(invoices(v1))) == ("canceled", at, 2)
    (deleted,) = events(v1, "customer.subscription.deleted")
    assert deleted["created"] == at


def test_a_subscription_that_is_canceled_now_may_credit_the_rest(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    last = invoices(v1)[-1]
    assert (last.total < -1000, last.amount_paid) == (True, 0)
    assert v1.customers.retrieve(subscription.customer).balance == last.total
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        v1.subscriptions.cancel(subscription.id)


def test_lists_without_a_status_leave_out_what_has_been_canceled(provider, v1):
    running, over = subscribe(provider, v1), subscribe(provider, v1)
    v1.subscriptions.cancel(over.id)
    assert [it.id for it in v1.subscriptions.list().data] == [running.id]
    assert [it.id for it in v1.subscriptions.list({"status": "ended"}).data] == [over.id]
    assert len(v1.subscriptions.list({"status": "all"}).data) == 2
    assert v1.subscriptions.list({"customer": over.customer}).data == []


def test_a_pause_ends_by_itself_at_its_time(provider, v1):
    subscription = subscribe(provider, v1)
    at = now() + 40 * 86400
    paused = {"behavior": "void", "resumes_at": at}
    assert v1.subscriptions.update(subscription.id, {"pause_collection": paused}).pause_collection.resumes_at == at
    pass_time(provider, days=65)
    assert [it.status for it in invoices(v1)] == ["paid", "void", "paid"]
    assert v1.subscriptions.retrieve(subscription.id).pause_collection is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"trial_end": 1},
        {"cancel_at": 1},
        {"proration_behavior": "sometimes"},
        {"payment_behavior": "hope"},
        {"billing_cycle_anchor": "tomorrow"},
        {"cancellation_details": {"feedback": "bored"}},
        {"items": "x"},
        {"items": [{"quantity": 2}]},
        {"proration_date": 1, "billing_cycle_anchor": "now"},
        {"pause_collection": {"behavior": "void", "resumes_at": 1}},
        {"coupon": "c"},
    ],
)
def test_updates_that_stripe_would_refuse_change_nothing(provider, v1, wrong):
    subscription = subscribe(provider, v1)
    before = events(v1)
    with pytest.raises(stripe.InvalidRequestError):
        v1.subscriptions.update(subscription.id, wrong)
    assert events(v1) == before


def test_drafts_of_a_pause_are_finalized_and_paid(provider, v1):
    subscription = subscribe(provider, v1)
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "keep_as_draft"}})
    pass_time(provider, days=32)
    draft = invoices(v1)[-1]
    assert (draft.status, draft.hosted_invoice_url) == ("draft", None)
    final = v1.invoices.finalize_invoice(draft.id)
    assert (final.status, final.hosted_invoice_url) == ("open", f"{provider.url}/invoice/{draft.id}")
    assert v1.invoices.pay(draft.id).status == "paid"


# --- previews


def preview(v1, subscription, quantity=None, **details):
    wanted = {"items": [{"id": items(subscription)[0].id, "quantity": quantity}]} if quantity else {}
    return v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": {**wanted, **details}})


def test_a_preview_of_an_upgrade_is_the_invoice_that_follows(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    before = events(v1)
    shown = preview(v1, subscription, 4, **AT_ONCE)
    assert isinstance(shown, stripe.Invoice)
    assert (shown.id.startswith("upcoming_"), shown.status, shown.billing_reason) == (
        True,
        "draft",
        "subscription_update",
    )
    assert (events(v1), len(invoices(v1))) == (before, 1), "a preview changes nothing"
    at = {"proration_date": shown.lines.data[0].period.start}
    seats(v1, subscription, 4, **AT_ONCE, **at)
    made = invoices(v1)[-1]
    assert [(it.amount, it.quantity) for it in made.lines.data] == [(it.amount, it.quantity) for it in shown.lines.data]
    assert made.total == shown.total == shown.amount_due


def test_a_preview_of_the_next_invoice_has_waiting_prorations_and_the_period(provider, v1):
    subscription = subscribe(provider, v1)
    pass_time(provider, days=10)
    assert [it.amount for it in preview(v1, subscription).lines.data] == [SEAT]
    later = preview(v1, subscription, 2, proration_behavior="create_prorations")
    assert [it.quantity for it in later.lines.data] == [1, 2, 2]
    assert preview(v1, subscription, 2, proration_behavior="none").total == 2 * SEAT
    seats(v1, subscription, 2)
    assert [it.quantity for it in preview(v1, subscription).lines.data] == [1, 2, 2]


def test_there_is_no_next_invoice_of_what_ends(provider, v1):
    subscription = subscribe(provider, v1)
    v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices") as refusal:
        preview(v1, subscription)
    assert (refusal.value.http_status, refusal.value.code) == (404, "invoice_upcoming_none")


@pytest.mark.parametrize("shape", ["new", "old"])
def test_an_update_names_what_was_before_in_both_shapes(provider, v1, shape):
    subscription = subscribe(provider, v1)
    provider.control(APP, shape=shape)
    pass_time(provider, days=32)
    updated = events(v1, "customer.subscription.updated")[-1]["data"]
    if shape == "old":
        assert set(updated["previous_attributes"]) == {"current_period_start", "current_period_end", "latest_invoice"}
        assert updated["object"]["current_period_start"] == updated["previous_attributes"]["current_period_end"]
    else:
        assert set(updated["previous_attributes"]) == {"items", "latest_invoice"}
    assert updated["object"]["id"] == subscription.id
