"""The sandbox's Stripe: another price within a period, and invoices that are given up, as Stripe's client sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe

from tests.sandbox.test_stripe import APP, CUSTOMER, pass_time, price, subscribed, told
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider

MONTHLY = 2900  # what `subscribed` costs


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        yield running


@pytest.fixture
def v1(provider: Provider) -> Any:
    return provider.stripe(APP, max_network_retries=0).v1


def a_price(v1: Any, minor: int, interval: str = "month", **more: Any) -> str:
    return str(v1.prices.create({**price(minor, interval=interval), **more}).id)


def change(v1: Any, subscription: Any, price_id: str, proration: str | None = None, **item: Any) -> Any:
    """Another price by the API; the subscription as it is answered."""
    asked = {"items": [{"id": item_of(subscription).id, "price": price_id, **item}]}
    return v1.subscriptions.update(
        subscription.id, {**asked, **({"proration_behavior": proration} if proration else {})}
    )


def item_of(subscription: Any) -> Any:
    (item,) = subscription["items"].data
    return item


def invoices(v1: Any) -> list[Any]:
    """Oldest first."""
    return list(reversed(v1.invoices.list({"limit": 100}).data))


def share(minor: int, line: Any, item: Any) -> int:
    """The part of a price that falls to a line's seconds, of the item's period."""
    seconds = item.current_period_end - item.current_period_start
    return round(minor * (line.period.end - line.period.start) / seconds)


def is_proration(line: Any) -> bool:
    assert isinstance(line, stripe.InvoiceLineItem)
    assert (line.parent.type, line.subtotal) == ("subscription_item_details", line.amount)
    return bool(line.parent.subscription_item_details.proration)


# --- at once, with the next invoice, never


def test_an_upgrade_that_is_invoiced_at_once_bills_the_difference_for_the_seconds_left(provider, v1):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=10)
    before = told(v1)
    changed = change(v1, subscription, a_price(v1, 9000), "always_invoice")
    first, second = invoices(v1)
    back, rest = second.lines.data
    assert (second.billing_reason, second.status, changed.latest_invoice) == ("subscription_update", "paid", second.id)
    assert [is_proration(back), is_proration(rest)] == [True, True]
    assert (back.amount, rest.amount) == (-share(MONTHLY, back, item_of(changed)), share(9000, rest, item_of(changed)))
    assert back.amount < 0 < rest.amount
    assert second.amount_paid == second.total == back.amount + rest.amount
    assert back.period.end == rest.period.end == item_of(changed).current_period_end
    credited = back.parent.subscription_item_details.proration_details.credited_items
    assert (credited.invoice, credited.invoice_line_items) == (first.id, [first.lines.data[0].id])
    assert rest.pricing.price_details.price == item_of(changed).price.id
    assert (back.discountable, back.invoice, first.lines.data[0].discountable) == (False, second.id, True)
    assert told(v1)[len(before) :] == [
        *("invoice.created", "invoice.finalized", "customer.subscription.updated"),
        *("payment_intent.succeeded", "charge.succeeded"),
        *("invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid"),
    ]
    assert v1.charges.list().data[0].amount == second.amount_paid


def test_a_change_half_way_costs_half_the_difference(provider, v1):
    subscription = subscribed(provider, v1)
    item = item_of(subscription)
    pass_time(provider, seconds=(item.current_period_end - item.current_period_start) / 2)
    change(v1, subscription, a_price(v1, 3900), "always_invoice")
    assert invoices(v1)[-1].amount_paid == pytest.approx(500, abs=1)


def test_prorations_wait_for_the_next_invoice_and_come_before_the_plan(provider, v1):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=10)
    change(v1, subscription, a_price(v1, 9000))
    assert len(invoices(v1)) == 1, "the usual way bills nothing at once"
    pass_time(provider, days=22)
    second = invoices(v1)[-1]
    assert [is_proration(line) for line in second.lines.data] == [True, True, False]
    back, rest, plan = second.lines.data
    assert (second.billing_reason, plan.amount) == ("subscription_cycle", 9000)
    assert back.amount < 0 < rest.amount
    assert second.amount_paid == back.amount + rest.amount + 9000
    assert back.period.end == plan.period.start
    pass_time(provider, days=31)
    assert len(invoices(v1)[-1].lines.data) == 1, "they are billed once"


def test_without_prorations_only_the_next_period_costs_more(provider, v1):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=10)
    change(v1, subscription, a_price(v1, 9000), "none")
    pass_time(provider, days=22)
    assert [(it.amount_paid, len(it.lines.data)) for it in invoices(v1)] == [(MONTHLY, 1), (9000, 1)]


def test_a_downgrade_that_is_invoiced_at_once_leaves_a_credit_for_the_next_invoices(provider, v1):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=1)
    change(v1, subscription, a_price(v1, 1000), "always_invoice")
    update = invoices(v1)[-1]
    credit = update.total
    assert (update.status, update.amount_due, update.amount_paid) == ("paid", 0, 0)
    assert (update.starting_balance, update.ending_balance) == (0, credit)
    assert v1.customers.retrieve(subscription.customer).balance == credit < -1000
    assert told(v1)[-6:] == [
        *("invoice.created", "customer.updated", "invoice.finalized", "customer.subscription.updated"),
        *("invoice.paid", "invoice.payment_succeeded"),
    ]
    pass_time(provider, days=31)
    covered = invoices(v1)[-1]
    assert (covered.total, covered.amount_paid, covered.ending_balance) == (1000, 0, credit + 1000)
    pass_time(provider, days=31)
    assert invoices(v1)[-1].amount_paid == 2000 + credit
    assert v1.customers.retrieve(subscription.customer).balance == 0


def test_more_of_the_same_is_prorated_too(provider, v1):
    subscription = subscribed(provider, v1)
    changed = change(v1, subscription, item_of(subscription).price.id, "always_invoice", quantity=3)
    assert item_of(changed).quantity == 3
    assert invoices(v1)[-1].amount_paid == pytest.approx(2 * MONTHLY, abs=2)


def test_the_same_price_again_changes_nothing(provider, v1):
    subscription = subscribed(provider, v1)
    before = told(v1)
    change(v1, subscription, item_of(subscription).price.id, "always_invoice")
    assert told(v1) == before


def test_a_change_within_a_trial_costs_nothing(provider, v1):
    subscription = subscribed(provider, v1, trial_period_days=14)
    changed = change(v1, subscription, a_price(v1, 90000, "year"), "always_invoice")
    assert (changed.status, changed.trial_end, len(invoices(v1))) == ("trialing", subscription.trial_end, 1)
    pass_time(provider, days=15)
    assert [it.amount_paid for it in invoices(v1)] == [0, 90000]


def test_a_declined_change_is_past_due_until_it_is_paid(provider, v1):
    subscription = subscribed(provider, v1)
    provider.control(APP, action="fail-next", id=subscription.id)
    assert change(v1, subscription, a_price(v1, 9000), "always_invoice").status == "past_due"
    (unpaid,) = v1.invoices.list({"status": "open"}).data
    v1.invoices.pay(unpaid.id)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


# --- another interval


@pytest.mark.parametrize("proration", ["always_invoice", "create_prorations"])
def test_a_switch_to_a_year_begins_it_at_once_less_what_is_left_of_the_month(provider, v1, proration):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=10)
    changed = change(v1, subscription, a_price(v1, 29000, "year"), proration)
    item, invoice = item_of(changed), invoices(v1)[-1]
    back, year = invoice.lines.data
    assert [is_proration(back), is_proration(year)] == [True, False]
    assert back.amount == -share(MONTHLY, back, item_of(subscription))
    assert (year.amount, invoice.amount_paid) == (29000, 29000 + back.amount)
    assert changed.billing_cycle_anchor == item.current_period_start == year.period.start > subscription.start_date
    assert 365 <= (item.current_period_end - item.current_period_start) / 86400 <= 366
    assert (invoice.billing_reason, year.period.end) == ("subscription_update", item.current_period_end)
    pass_time(provider, days=364)
    assert len(invoices(v1)) == 2


def test_a_switch_without_prorations_costs_the_whole_year(provider, v1):
    changed = change(v1, subscribed(provider, v1), a_price(v1, 29000, "year"), "none")
    assert [line.amount for line in invoices(v1)[-1].lines.data] == [29000]
    assert changed.latest_invoice == invoices(v1)[-1].id


def test_a_switch_back_to_months_leaves_a_credit_that_pays_them(provider, v1):
    subscription = subscribed(provider, v1, "year")
    pass_time(provider, days=36.5)
    change(v1, subscription, a_price(v1, 300), "always_invoice")
    assert invoices(v1)[-1].total == pytest.approx(-MONTHLY * 0.9 + 300, abs=2)
    pass_time(provider, days=31)
    assert [it.amount_paid for it in invoices(v1)] == [MONTHLY, 0, 0]


# --- how it is told


def test_a_change_tells_what_was_before_and_none_of_the_sandboxs_notes(provider, v1):
    subscription = subscribed(provider, v1)
    change(v1, subscription, a_price(v1, 9000), "always_invoice")
    event = next(it for it in v1.events.list({"limit": 100}).data if it.type == "customer.subscription.updated")
    previous = event.data.previous_attributes.to_dict(for_json=True)
    assert previous["items"]["data"][0]["price"]["id"] == item_of(subscription).price.id
    assert previous["latest_invoice"] == subscription.latest_invoice
    assert set(previous) == {"items", "latest_invoice"}
    url = f"{provider.url}/stripe/v1/events?limit=100"
    assert '"_' not in requests.get(url, auth=(f"sk_sandbox_{APP}", ""), timeout=9).text


def test_prorations_have_the_older_shape_where_it_is_asked_for(provider, v1):
    provider.control(APP, shape="old")
    made = subscribed(provider, v1)
    v1.subscriptions.update(
        made.id,
        {"items": [{"id": item_of(made).id, "price": a_price(v1, 9000)}], "proration_behavior": "always_invoice"},
    )
    invoice = v1.invoices.retrieve(v1.subscriptions.retrieve(made.id).latest_invoice).to_dict(for_json=True)
    lines = invoice["lines"]["data"]
    assert [(line["proration"], line["type"], "parent" in line) for line in lines] == [(True, "invoiceitem", False)] * 2
    assert lines[0]["invoice_item"].startswith("ii_")
    first = invoices(v1)[0].to_dict(for_json=True)["lines"]["data"][0]
    assert (first["proration"], first["type"], "invoice_item" in first) == (False, "subscription", False)


def test_metadata_of_the_same_call_is_on_the_invoice(provider, v1):
    subscription = subscribed(provider, v1)
    items = [{"id": item_of(subscription).id, "price": a_price(v1, 9000)}]
    v1.subscriptions.update(
        subscription.id, {"items": items, "proration_behavior": "always_invoice", "metadata": {"plan": "large"}}
    )
    invoice = invoices(v1)[-1]
    assert invoice.parent.subscription_details.metadata.to_dict() == {"app": APP, "customer": CUSTOMER, "plan": "large"}
    assert {line.metadata["plan"] for line in invoice.lines.data} == {"large"}


@pytest.mark.parametrize(
    ("proration", "minor", "more"),
    [("sometimes", 9000, {}), ("always_invoice", 9000, {"currency": "eur"}), ("none", 100, {"recurring": None})],
)
def test_a_change_that_stripe_would_refuse_is_refused(provider, v1, proration, minor, more):
    subscription = subscribed(provider, v1)
    made = {name: value for name, value in {**price(minor, interval="month"), **more}.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError):
        change(v1, subscription, v1.prices.create(made).id, proration)
    assert item_of(v1.subscriptions.retrieve(subscription.id)).price.id == item_of(subscription).price.id


def test_a_subscription_that_is_over_keeps_its_price(provider, v1):
    subscription = subscribed(provider, v1)
    v1.subscriptions.cancel(subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="canceled"):
        change(v1, subscription, a_price(v1, 9000))


# --- prices of the catalog, that no page has shown


@pytest.fixture
def catalog_price(monkeypatch) -> str:
    """The catalog's plan of the app has a price at Stripe."""
    from dataclasses import replace

    from models.catalog import catalog

    apps = tuple(
        replace(app, plans={key: replace(plan, stripe_price="price_of_catalog") for key, plan in app.plans.items()})
        for app in catalog.current()
        if app.slug == APP
    )
    monkeypatch.setattr(catalog, "current", lambda: apps)
    return "price_of_catalog"


def test_a_plan_may_change_to_a_price_that_only_the_catalog_knows(provider, v1, catalog_price):
    assert item_of(change(v1, subscribed(provider, v1), catalog_price)).price.id == catalog_price


def test_a_session_may_sell_a_price_that_only_the_catalog_knows(v1, catalog_price):
    lines = [{"price": catalog_price, "quantity": 1}]
    asked = {"mode": "subscription", "line_items": lines, "success_url": "https://a.test/"}
    session = v1.checkout.sessions.create(asked)
    assert session.amount_total == v1.prices.retrieve(catalog_price).unit_amount


# --- the portal


def test_the_portal_changes_a_price_and_prorates_it(provider, v1):
    subscription = subscribed(provider, v1)
    larger = a_price(v1, 9000)
    page = requests.get(f"{provider.url}/portal/{APP}", timeout=9).text
    assert f'<option value="{larger}">100 credits: 90.00 USD every month</option>' in page
    assert f'value="{item_of(subscription).price.id}"' not in page
    form = {"action": "change-price", "id": subscription.id, "price": larger, "proration": "always_invoice"}
    answer = requests.post(f"{provider.url}/portal/{APP}", data=form, timeout=9)
    assert "90.00 USD every month" in answer.text
    assert invoices(v1)[-1].billing_reason == "subscription_update"


@pytest.fixture
def two_plans(monkeypatch) -> None:
    """The catalog has a larger plan besides, neither with a price at Stripe."""
    from dataclasses import replace

    from models.catalog import catalog

    app = next(it for it in catalog.current() if it.slug == APP)
    larger = replace(app.plans["pro"], key="max", units=5000, price_minor=9900, stripe_price=None)
    plans = {"pro": replace(app.plans["pro"], stripe_price=None), "max": larger}
    monkeypatch.setattr(catalog, "current", lambda: (replace(app, plans=plans),))


def test_the_portal_changes_to_another_plan_of_the_catalog(provider, v1, two_plans):
    subscription = subscribed(provider, v1)
    page = requests.get(f"{provider.url}/portal/{APP}", timeout=9).text
    assert '<option value="max">max, Songs: 5,000 credits a month: 99.00 USD every month</option>' in page
    assert '<option value="pro">' not in page
    for way, words in (("create_prorations", "billed with the next invoice"), ("always_invoice", "billed at once")):
        assert f'<option value="{way}">{words}</option>' in page
    form = {"action": "change-plan", "id": subscription.id, "plan": "max", "proration": "always_invoice"}
    page = requests.post(f"{provider.url}/portal/{APP}", data=form, timeout=9).text
    changed = v1.subscriptions.retrieve(subscription.id)
    assert (changed.metadata["plan"], changed.metadata["customer"]) == ("max", "ada")
    assert item_of(changed).price.unit_amount == 9900
    assert invoices(v1)[-1].billing_reason == "subscription_update"
    assert '<option value="max">' not in page
    assert '<option value="pro">' in page
    assert told(v1).count("customer.subscription.updated") == 1


@pytest.mark.parametrize("proration", ["create_prorations", "always_invoice", "none"])
def test_the_event_of_another_plan_tells_which_it_was(provider, v1, two_plans, proration):
    subscription = subscribed(provider, v1)
    provider.control(APP, action="change-plan", id=subscription.id, plan="max", proration=proration)
    (event,) = v1.events.list({"type": "customer.subscription.updated"}).data
    data = event.to_dict(for_json=True)["data"]
    assert data["previous_attributes"]["metadata"] == {"plan": "pro"}
    assert data["object"]["metadata"]["plan"] == "max"


def test_a_plan_that_the_catalog_does_not_have_is_refused_with_those_it_has(provider, v1, two_plans):
    subscription = subscribed(provider, v1)
    asked = {"app": APP, "action": "change-plan", "id": subscription.id, "plan": "tiny"}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert answer.status_code == 404
    assert answer.json() == {"error": "The catalog has no plan 'tiny'. The plans are pro, max.", "param": "plan"}
    assert v1.subscriptions.retrieve(subscription.id).metadata["plan"] == "pro"


def test_where_there_is_no_other_plan_the_portal_says_so(provider, v1):
    provider.control(APP, action="change-plan", id=subscribed(provider, v1).id, plan="pro")
    assert "has no other plan to change to" in requests.get(f"{provider.url}/portal/{APP}", timeout=9).text


def test_the_portal_offers_prices_that_are_alike_once(provider, v1):
    subscribed(provider, v1)
    for _ in range(3):
        a_price(v1, 9000)
    a_price(v1, 9000, currency="eur")
    assert requests.get(f"{provider.url}/portal/{APP}", timeout=9).text.count("90.00") == 1


def test_the_usual_proration_is_stripes_own(provider, v1):
    subscription = subscribed(provider, v1)
    provider.control(APP, action="change-price", id=subscription.id, price=a_price(v1, 9000))
    assert len(invoices(v1)) == 1
    pass_time(provider, days=32)
    assert len(invoices(v1)[-1].lines.data) == 3


@pytest.mark.parametrize(
    ("action", "more", "said"),
    [
        ("change-price", {}, "The field price is missing"),
        ("change-plan", {}, "The field plan is missing"),
        ("change-plan", {"price": "price_1"}, "The action change-plan does not take the field price"),
        ("change-price", {"price": "price_nobody"}, "No such price"),
        ("change-price", {"price": 5}, "The price must be a string"),
        ("change-price", {"amount": "1.00"}, "The action change-price does not take the field amount"),
        ("pause", {"proration": "none"}, "The action pause does not take the field proration"),
    ],
)
def test_a_button_says_what_it_needs(provider, v1, action, more, said):
    asked = {"app": APP, "action": action, "id": subscribed(provider, v1).id, **more}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert answer.status_code in (400, 404)
    assert said in answer.json()["error"]


# --- invoices that are given up


def unpaid(provider: Provider, v1: Any) -> tuple[Any, Any]:
    """A subscription past due, and its open invoice."""
    subscription = subscribed(provider, v1)
    provider.control(APP, action="fail-next", id=subscription.id)
    pass_time(provider, days=32)
    (invoice,) = v1.invoices.list({"status": "open"}).data
    return v1.subscriptions.retrieve(subscription.id), invoice


def test_an_invoice_that_is_voided_is_never_paid(provider, v1):
    subscription, invoice = unpaid(provider, v1)
    voided = v1.invoices.void_invoice(invoice.id)
    assert (voided.status, voided.amount_paid, voided.amount_due) == ("void", 0, MONTHLY)
    assert voided.status_transitions.voided_at
    assert told(v1)[-3:] == ["payment_intent.canceled", "invoice.voided", "customer.subscription.updated"]
    assert (subscription.status, v1.subscriptions.retrieve(subscription.id).status) == ("past_due", "active")
    assert v1.payment_intents.list().data[0].status == "canceled"
    for give_up in (v1.invoices.pay, v1.invoices.void_invoice, v1.invoices.mark_uncollectible):
        with pytest.raises(stripe.InvalidRequestError, match="void"):
            give_up(invoice.id)


def test_an_uncollectible_invoice_may_be_paid_after_all(provider, v1):
    subscription, invoice = unpaid(provider, v1)
    given_up = v1.invoices.mark_uncollectible(invoice.id)
    assert (given_up.status, given_up.status_details.uncollectible.reason) == ("uncollectible", "user_forgiven")
    assert given_up.status_transitions.marked_uncollectible_at
    assert told(v1)[-2:] == ["invoice.marked_uncollectible", "customer.subscription.updated"]
    assert v1.subscriptions.retrieve(subscription.id).status == "active"
    assert v1.invoices.pay(invoice.id).status == "paid"
    assert told(v1)[-3:] == ["invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid"]


def test_an_older_invoice_that_is_given_up_leaves_the_latest_one_due(provider, v1):
    subscription, older = unpaid(provider, v1)
    provider.control(APP, action="fail-next", id=subscription.id)
    pass_time(provider, days=31)
    provider.control(APP, action="void-invoice", id=older.id)
    assert v1.subscriptions.retrieve(subscription.id).status == "past_due"


@pytest.mark.parametrize(
    ("action", "type_"),
    [("void-invoice", "invoice.voided"), ("uncollectible-invoice", "invoice.marked_uncollectible")],
)
def test_the_portal_gives_an_invoice_up(provider, v1, action, type_):
    _, invoice = unpaid(provider, v1)
    assert f'value="{action}"' in requests.get(f"{provider.url}/portal/{APP}", timeout=9).text
    form = {"action": action, "id": invoice.id}
    page = requests.post(f"{provider.url}/portal/{APP}", data=form, timeout=9).text
    assert type_ in told(v1)
    assert 'value="uncollectible-invoice"' not in page
    assert ('value="pay-invoice"' in page) == (action == "uncollectible-invoice")


def test_credit_that_a_voided_invoice_took_is_there_again(provider, v1):
    subscription = subscribed(provider, v1)
    change(v1, subscription, a_price(v1, 2800), "always_invoice")
    credit = v1.customers.retrieve(subscription.customer).balance
    provider.control(APP, action="fail-next", id=subscription.id)
    pass_time(provider, days=32)
    assert v1.customers.retrieve(subscription.customer).balance == 0
    (invoice,) = v1.invoices.list({"status": "open"}).data
    assert invoice.amount_due == 2800 + credit < 2800
    v1.invoices.void_invoice(invoice.id)
    assert v1.customers.retrieve(subscription.customer).balance == credit


@pytest.mark.parametrize(
    ("behavior", "status", "last"),
    [
        ("void", "void", "invoice.voided"),
        ("mark_uncollectible", "uncollectible", "invoice.marked_uncollectible"),
        ("keep_as_draft", "draft", None),
    ],
)
def test_what_becomes_of_a_paused_plans_invoices(provider, v1, behavior, status, last):
    subscription = subscribed(provider, v1)
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": behavior}})
    before = told(v1)
    pass_time(provider, days=32)
    first, second = invoices(v1)
    assert (first.status, second.status, second.amount_paid) == ("paid", status, 0)
    assert bool(second.status_transitions.voided_at) == (status == "void")
    emitted = ["invoice.finalized", last] if last else []
    assert told(v1)[len(before) :] == ["invoice.created", *emitted, "customer.subscription.updated"]
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_pause_of_another_kind_is_refused(provider, v1):
    with pytest.raises(stripe.InvalidRequestError, match="Invalid behavior"):
        v1.subscriptions.update(subscribed(provider, v1).id, {"pause_collection": {"behavior": "forget"}})
