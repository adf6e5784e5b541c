"""The sandbox's Stripe, spoken to by Stripe's own client: what it answers deserialises into the typed classes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from models import clock
from sandbox.store.store import Store
from sandbox.ticking import tick
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider

APP, CUSTOMER = "songs", "ada"
MINE = {"app": APP, "customer": CUSTOMER}


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@pytest.fixture
def provider(db: str, folder: Path) -> Iterator[Provider]:
    """A sandbox whose events go nowhere: `told` shows them."""
    with running_provider(folder) as running:
        yield running


@pytest.fixture
def v1(provider: Provider) -> Any:
    return provider.stripe(APP, max_network_retries=0).v1


def price(amount_minor: int = 499, **recurring: Any) -> dict[str, Any]:
    data = {"currency": "usd", "unit_amount": amount_minor, "product_data": {"name": "100 credits"}}
    return {**data, "recurring": recurring} if recurring else data


def asked(**more: Any) -> dict[str, Any]:
    return {
        "mode": "payment",
        "line_items": [{"price_data": price(), "quantity": 1}],
        "success_url": "https://shop.test/thanks?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.test/",
        "client_reference_id": CUSTOMER,
        "metadata": {**MINE, "pack": "starter"},
        "payment_intent_data": {"metadata": {**MINE, "pack": "starter"}},
        **more,
    }


def bought(provider: Provider, v1: Any, how: str = "pay", **more: Any) -> stripe.checkout.Session:
    session = v1.checkout.sessions.create(asked(**more))
    assert provider.pay(session.id, how).status_code == 303
    return v1.checkout.sessions.retrieve(session.id)


def subscribed(provider: Provider, v1: Any, interval: str = "month", **more: Any) -> stripe.Subscription:
    lines = [{"price_data": price(2900, interval=interval), "quantity": 1}]
    metadata = {"metadata": {**MINE, "plan": "pro"}, **more}
    session = v1.checkout.sessions.create(
        {"mode": "subscription", "line_items": lines, "success_url": "https://a.test/", "subscription_data": metadata}
    )
    assert provider.pay(session.id).status_code == 303
    return v1.subscriptions.retrieve(v1.checkout.sessions.retrieve(session.id).subscription)


def charge_of(v1: Any, session: stripe.checkout.Session) -> stripe.Charge:
    (charge,) = v1.charges.list({"payment_intent": session.payment_intent}).data
    return charge


def told(v1: Any) -> list[str]:
    """The types of all events so far, the oldest first."""
    return [event.type for event in reversed(v1.events.list({"limit": 100}).data)]


def pass_time(provider: Provider, **by: float) -> None:
    clock.advance(timedelta(**by))
    tick(provider.sandbox)


# --- checkout


def test_a_paid_session_has_a_payment_and_tells_of_it_in_order(provider, v1):
    session = bought(provider, v1)
    assert (session.status, session.payment_status, session.amount_total) == ("complete", "paid", 499)
    intent = v1.payment_intents.retrieve(session.payment_intent)
    assert isinstance(intent, stripe.PaymentIntent)
    assert (intent.status, intent.metadata["pack"]) == ("succeeded", "starter")
    charge = charge_of(v1, session)
    assert isinstance(charge, stripe.Charge)
    assert (charge.id, charge.amount, charge.paid) == (intent.latest_charge, 499, True)
    assert not hasattr(charge, "invoice")
    assert told(v1) == ["payment_intent.succeeded", "charge.succeeded", "checkout.session.completed"]


def test_paying_leads_to_the_shop_with_the_sessions_id(provider, v1):
    session = v1.checkout.sessions.create(asked())
    assert provider.pay(session.id).headers["Location"] == f"https://shop.test/thanks?session={session.id}"


def test_line_items_come_when_they_are_asked_for(provider, v1):
    session = v1.checkout.sessions.create(asked(line_items=[{"price_data": price(), "quantity": 3}]))
    assert session.amount_total == 3 * 499
    (item,) = v1.checkout.sessions.line_items.list(session.id).data
    assert (item.quantity, item.price.unit_amount) == (3, 499)
    assert v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items"]}).line_items.data[0].quantity == 3


def test_a_declined_card_leaves_the_session_open(provider, v1):
    session = bought(provider, v1, "decline")
    assert (session.status, session.payment_intent) == ("open", None)
    assert told(v1) == ["payment_intent.payment_failed", "charge.failed"]
    assert provider.pay(session.id).status_code == 303
    assert len(v1.payment_intents.list().data) == 1


def test_a_bank_transfer_arrives_three_days_later(provider, v1):
    session = bought(provider, v1, "later")
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    pass_time(provider, days=2)
    assert told(v1) == ["payment_intent.processing", "checkout.session.completed"]
    pass_time(provider, days=2)
    assert v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert told(v1)[-1] == "checkout.session.async_payment_succeeded"


def test_a_bank_transfer_that_never_comes(provider, v1):
    session = bought(provider, v1, "later")
    provider.control(APP, action="transfer-fails", id=session.id)
    assert told(v1)[-1] == "checkout.session.async_payment_failed"


def test_a_code_for_the_whole_price_needs_no_payment(provider, v1):
    session = v1.checkout.sessions.create(asked(allow_promotion_codes=True))
    provider.pay(session.id, code="free")
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.payment_status, session.payment_intent, session.amount_total) == ("no_payment_required", None, 0)
    assert told(v1) == ["checkout.session.completed"]


def test_a_session_expires_after_a_day(provider, v1):
    session = v1.checkout.sessions.create(asked())
    pass_time(provider, hours=25)
    assert v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert provider.pay(session.id).status_code == 400
    assert told(v1) == ["checkout.session.expired"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.test", "ftp://a.test", "x"])
def test_the_browser_is_sent_to_web_addresses_only(v1, url):
    with pytest.raises(stripe.InvalidRequestError, match="Not a valid URL"):
        v1.checkout.sessions.create(asked(success_url=url))


def test_the_sandboxs_own_notes_are_never_shown(provider, v1):
    bought(provider, v1)
    subscribed(provider, v1)
    for noun in ("checkout/sessions", "charges", "payment_intents", "subscriptions", "invoices", "events"):
        url = f"{provider.url}/stripe/v1/{noun}?limit=100"
        shown = requests.get(url, auth=(f"sk_sandbox_{APP}", ""), timeout=9).text
        assert '"id"' in shown
        assert '"_' not in shown


# --- errors and idempotency


def test_what_does_not_exist_is_a_404_as_stripe_says_it(v1):
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.refunds.retrieve("re_nothing")
    assert (refusal.value.http_status, refusal.value.code, refusal.value.param) == (404, "resource_missing", "id")


def test_a_key_of_another_kind_is_refused(provider):
    client = stripe.StripeClient("sk_live_1", base_addresses={"api": f"{provider.url}/stripe"})
    with pytest.raises(stripe.AuthenticationError):
        client.v1.charges.list()


def test_one_account_does_not_see_the_objects_of_another(provider, v1):
    session = bought(provider, v1)
    other = provider.stripe("clash-ai").v1
    assert other.charges.list().data == other.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        other.checkout.sessions.retrieve(session.id)


def test_an_idempotency_key_gives_the_same_answer_again(v1):
    first = v1.checkout.sessions.create(asked(), {"idempotency_key": "k1"})
    assert v1.checkout.sessions.create(asked(), {"idempotency_key": "k1"}).id == first.id
    assert len(v1.checkout.sessions.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        v1.checkout.sessions.create(asked(client_reference_id="bo"), {"idempotency_key": "k1"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "setup"},
        {"line_items": []},
        {"line_items": [{"price": "price_nobody", "quantity": 1}]},
        {"line_items": [{"price_data": price(interval="month"), "quantity": 1}]},
        {"line_items": [{"price_data": price(), "quantity": 0}]},
        {"customer": "cus_nobody"},
    ],
)
def test_what_stripe_would_refuse_is_refused(v1, wrong):
    with pytest.raises(stripe.InvalidRequestError):
        v1.checkout.sessions.create(asked(**wrong))


# --- refunds and disputes


def test_refunds_add_up_and_never_exceed_the_payment(provider, v1):
    charge = charge_of(v1, bought(provider, v1))
    part = v1.refunds.create({"charge": charge.id, "amount": 100, "reason": "requested_by_customer"})
    assert (part.status, part.amount, part.payment_intent) == ("succeeded", 100, charge.payment_intent)
    rest = v1.refunds.create({"payment_intent": charge.payment_intent})
    assert rest.amount == 399
    charge = v1.charges.retrieve(charge.id)
    assert (charge.amount_refunded, charge.refunded) == (499, True)
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.refunds.create({"charge": charge.id})
    assert refusal.value.code == "charge_already_refunded"
    assert told(v1)[3:] == ["refund.created", "charge.refunded", "refund.updated"] * 2


def test_a_refund_that_fails_gives_the_money_back_to_the_seller(provider, v1):
    charge = charge_of(v1, bought(provider, v1))
    failed = v1.refunds.create({"charge": charge.id, "metadata": {"sandbox": "fail"}})
    assert failed.status == "failed"
    assert v1.charges.retrieve(charge.id).amount_refunded == 0
    assert told(v1)[-3:] == ["refund.updated", "refund.failed", "charge.refund.updated"]


def test_a_dispute_that_is_won_moves_the_money_there_and_back(provider, v1):
    charge = charge_of(v1, bought(provider, v1))
    dispute = provider.control(APP, action="dispute", id=charge.id)["done"]
    provider.control(APP, action="win", id=dispute["id"])
    told_last = v1.disputes.retrieve(dispute["id"])
    assert isinstance(told_last, stripe.Dispute)
    assert [moved.amount for moved in told_last.balance_transactions] == [-499, 499]
    assert told(v1)[3:] == [
        *("charge.dispute.created", "charge.dispute.funds_withdrawn"),
        *("charge.dispute.closed", "charge.dispute.funds_reinstated"),
    ]


def test_an_inquiry_moves_nothing_until_it_becomes_a_dispute(provider, v1):
    charge = charge_of(v1, bought(provider, v1))
    inquiry = provider.control(APP, action="inquiry", id=charge.id)["done"]
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    provider.control(APP, action="escalate", id=inquiry["id"])
    provider.control(APP, action="lose", id=inquiry["id"])
    (dispute,) = v1.disputes.list({"payment_intent": charge.payment_intent}).data
    assert (dispute.status, [moved.amount for moved in dispute.balance_transactions]) == ("lost", [-499])


# --- subscriptions


def test_a_plan_has_todays_shapes(provider, v1):
    subscription = subscribed(provider, v1)
    (item,) = subscription["items"].data
    assert subscription.billing_cycle_anchor == item.current_period_start < item.current_period_end
    assert not hasattr(subscription, "current_period_end")
    (invoice,) = v1.invoices.list({"subscription": subscription.id}).data
    (line,) = invoice.lines.data
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata["plan"] == "pro"
    assert line.pricing.price_details.price == item.price.id
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)
    (payment,) = v1.invoice_payments.list({"invoice": invoice.id}).data
    by_intent = {"payment": {"type": "payment_intent", "payment_intent": payment.payment.payment_intent}}
    assert v1.invoice_payments.list(by_intent).data[0].invoice == invoice.id
    assert told(v1) == [
        *("customer.created", "invoice.created", "customer.subscription.created", "invoice.finalized"),
        *("payment_intent.succeeded", "charge.succeeded", "invoice.paid", "invoice.payment_succeeded"),
        *("invoice_payment.paid", "checkout.session.completed"),
    ]


def test_a_plan_has_the_older_shapes_where_they_are_asked_for(provider, v1):
    provider.control(APP, shape="old")
    raw = requests.get(
        f"{provider.url}/stripe/v1/subscriptions/{subscribed(provider, v1).id}",
        auth=(f"sk_sandbox_{APP}", ""),
        timeout=9,
    ).json()
    assert raw["current_period_end"] > raw["current_period_start"]
    assert "current_period_end" not in raw["items"]["data"][0]
    event = next(event for event in v1.events.list({"limit": 100}).data if event.type == "invoice.paid")
    invoice = json.loads(json.dumps(event.data.object.to_dict(for_json=True)))
    assert event.api_version == "2024-06-20"
    assert (invoice["subscription"], invoice["paid"], "parent" in invoice) == (raw["id"], True, False)
    assert invoice["lines"]["data"][0]["price"]["id"] == raw["items"]["data"][0]["price"]["id"]
    assert charge_invoice(v1) == invoice["id"]


def charge_invoice(v1: Any) -> str:
    return str(v1.charges.list().data[0].invoice)


def test_missed_periods_are_renewed_in_their_order(provider, v1):
    subscription = subscribed(provider, v1)
    pass_time(provider, days=95)
    invoices = list(reversed(v1.invoices.list({"subscription": subscription.id}).data))
    periods = [(invoice.lines.data[0].period.start, invoice.lines.data[0].period.end) for invoice in invoices]
    assert [invoice.billing_reason for invoice in invoices] == ["subscription_create"] + ["subscription_cycle"] * 3
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(periods))
    pass_time(provider)
    assert len(v1.invoices.list({"subscription": subscription.id}).data) == 4


def test_an_annual_plan_is_billed_once_a_year(provider, v1):
    subscription = subscribed(provider, v1, "year")
    pass_time(provider, days=364)
    assert len(v1.invoices.list().data) == 1
    pass_time(provider, days=2)
    assert len(v1.invoices.list({"subscription": subscription.id}).data) == 2


def test_a_trial_costs_nothing_until_it_ends(provider, v1):
    subscription = subscribed(provider, v1, trial_period_days=14)
    assert (subscription.status, v1.charges.list().data) == ("trialing", [])
    pass_time(provider, days=15)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"
    assert [charge.amount for charge in v1.charges.list().data] == [2900]


def test_a_subscription_is_cancelled_with_its_period(provider, v1):
    subscription = subscribed(provider, v1)
    assert v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True}).cancel_at_period_end
    pass_time(provider, days=32)
    assert v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert told(v1)[-2:] == ["customer.subscription.updated", "customer.subscription.deleted"]


def test_a_subscription_is_cancelled_at_once(provider, v1):
    assert v1.subscriptions.cancel(subscribed(provider, v1).id).status == "canceled"
    pass_time(provider, days=99)
    assert len(v1.invoices.list().data) == 1


def test_a_declined_renewal_is_past_due_until_the_invoice_is_paid(provider, v1):
    subscription = subscribed(provider, v1)
    provider.control(APP, action="fail-next", id=subscription.id)
    pass_time(provider, days=32)
    assert v1.subscriptions.retrieve(subscription.id).status == "past_due"
    assert "invoice.payment_failed" in told(v1)
    (invoice,) = v1.invoices.list({"status": "open"}).data
    v1.invoices.pay(invoice.id)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_paused_subscription_is_not_billed(provider, v1):
    subscription = subscribed(provider, v1)
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    pass_time(provider, days=32)
    assert len(v1.charges.list().data) == 1
    assert v1.subscriptions.update(subscription.id, {"pause_collection": ""}).pause_collection is None


# --- lists, and what outlives a restart


def test_events_are_listed_by_time_type_and_page(provider, v1):
    bought(provider, v1)
    seen = int(clock.now().timestamp()) + 1
    pass_time(provider, hours=1)
    bought(provider, v1)
    assert len(v1.events.list({"created": {"gte": seen}, "limit": 100}).data) == 3
    assert {event.type for event in v1.events.list({"types": ["charge.succeeded"]}).data} == {"charge.succeeded"}
    assert len(list(v1.events.list({"limit": 2}).auto_paging_iter())) == 6
    assert len(v1.events.list({"delivery_success": False, "limit": 100}).data) == 6


def test_a_restart_keeps_everything_and_the_port(db, folder):
    with running_provider(folder) as first:
        session = bought(first, first.stripe(APP).v1)
    with running_provider(folder) as second:
        assert second.url == first.url
        assert second.stripe(APP).v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_nothing_is_kept_of_a_call_that_was_refused(folder):
    store = Store(folder / "sandbox.db")
    with pytest.raises(TypeError), store.transaction():
        store.save(APP, "charge", {"id": "ch_1"}, 1) or store.save(APP, "charge", {"id": object()}, 1)
    assert store.each(APP, "charge") == []
    store.close()


@pytest.mark.parametrize(
    "body", [b"", b"mode", b"mode[x]=1&mode=2", b"metadata=1", b"line_items[a][b]=1", b"a[]=1&a[]=2"]
)
def test_bad_forms_are_400_never_500(provider, body):
    headers = {"Authorization": f"Bearer sk_sandbox_{APP}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{provider.url}/stripe/v1/checkout/sessions", data=body, headers=headers, timeout=9)
    assert answer.status_code == 400


# --- keys, prices and products


@pytest.mark.parametrize("key", ["sk_sandbox_nope", "sk_live_1", "sk_sandbox_", "sk_sandbox_../songs"])
def test_a_key_of_no_app_is_refused_as_stripe_does_and_leaves_no_account(provider, key):
    client = stripe.StripeClient(key, base_addresses={"api": f"{provider.url}/stripe"}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided") as refusal:
        client.v1.customers.create({"email": "a@a.test"})
    assert refusal.value.http_status == 401
    assert "nope" not in provider.sandbox.apps()


def test_prices_and_products_are_listed(provider, v1):
    once, monthly = v1.prices.create(price()), v1.prices.create(price(2900, interval="month"))
    assert [it.id for it in v1.prices.list().data] == [monthly.id, once.id]
    assert [it.id for it in v1.prices.list({"type": "recurring"}).data] == [monthly.id]
    assert v1.prices.list({"currency": "eur"}).data == []
    assert len(v1.prices.list({"active": True}).data) == 2
    assert v1.prices.list({"active": False}).data == []
    assert [it.id for it in v1.products.list().data] == [monthly.product, once.product]
    assert [it.id for it in v1.products.list({"ids": [once.product]}).data] == [once.product]
    product = v1.products.retrieve(once.product)
    assert isinstance(product, stripe.Product)
    assert (product.name, product.default_price) == ("100 credits", once.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such product"):
        v1.products.retrieve("prod_none")


def test_a_further_price_of_a_product_is_one_of_it(v1):
    first = v1.prices.create(price())
    second = v1.prices.create({"currency": "usd", "unit_amount": 900, "product": first.product})
    assert second.product == first.product
    assert [it.id for it in v1.products.list().data] == [first.product]
    assert len(v1.prices.list({"product": first.product}).data) == 2
