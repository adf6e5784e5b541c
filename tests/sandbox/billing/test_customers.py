"""Customers, and checkouts that name them: as Stripe's client sees them, with the parameters that Stripe refuses."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.billing.bills import events, line, subscribe
from tests.sandbox.test_stripe import asked, bought, price


def test_a_customer_is_created_found_by_its_address_and_updated(v1):
    made = v1.customers.create({"email": "ada@a.test", "name": "Ada", "metadata": {"app": "songs", "customer": "ada"}})
    assert isinstance(made, stripe.Customer)
    assert [it.id for it in v1.customers.list({"email": "ada@a.test"}).data] == [made.id]
    assert v1.customers.list({"email": "Ada@a.test"}).data == [], "as at Stripe, case counts"
    changed = v1.customers.update(made.id, {"name": "", "metadata": {"app": "", "tier": "gold"}})
    assert (changed.name, changed.email) == (None, "ada@a.test")
    assert changed.metadata.to_dict() == {"customer": "ada", "tier": "gold"}
    assert v1.customers.retrieve(made.id).metadata.to_dict() == {"customer": "ada", "tier": "gold"}
    created, updated = events(v1)
    assert (created["type"], updated["type"]) == ("customer.created", "customer.updated")
    assert updated["data"]["previous_attributes"] == {"name": "Ada", "metadata": {"app": "songs", "tier": None}}


def test_the_same_update_again_emits_nothing(v1):
    made = v1.customers.create({"email": "ada@a.test"})
    v1.customers.update(made.id, {"email": "ada@a.test"})
    assert len(events(v1)) == 1


def test_a_customer_is_created_once_for_one_idempotency_key(v1):
    first = v1.customers.create({"email": "ada@a.test"}, {"idempotency_key": "customer:ada"})
    assert v1.customers.create({"email": "ada@a.test"}, {"idempotency_key": "customer:ada"}).id == first.id
    assert len(v1.customers.list().data) == len(events(v1)) == 1


def test_an_unknown_customer_is_a_404_as_stripe_returns_it(v1):
    for call in (v1.customers.retrieve, lambda id_: v1.customers.update(id_, {"name": "x"})):
        with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'") as refusal:
            call("cus_none")
        assert (refusal.value.http_status, refusal.value.code, refusal.value.param) == (404, "resource_missing", "id")


@pytest.mark.parametrize(
    "wrong", [{"email": "ada"}, {"email": "a b@c.test"}, {"surname": "x"}, {"metadata": {"a" * 41: "b"}}]
)
def test_a_customer_that_stripe_would_refuse_is_refused(v1, wrong):
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.create(wrong)
    assert v1.customers.list().data == []


# --- checkouts of customers


def test_a_subscription_belongs_to_the_customer_that_its_session_names(provider, v1):
    ada = v1.customers.create({"email": "ada@a.test"})
    subscription = subscribe(provider, v1, customer=ada.id)
    assert (subscription.customer, len(v1.customers.list().data)) == (ada.id, 1)
    session = v1.checkout.sessions.list({"customer": ada.id}).data[0]
    assert (session.customer, session.customer_details.email) == (ada.id, "ada@a.test")


def test_a_pack_has_a_customer_only_if_the_session_asks_for_one(provider, v1):
    assert bought(provider, v1, customer_email="ada@a.test").customer is None
    session = bought(provider, v1, customer_email="ada@a.test", customer_creation="always")
    assert v1.customers.retrieve(session.customer).email == "ada@a.test"
    assert v1.payment_intents.retrieve(session.payment_intent).customer == session.customer


def test_a_pack_with_an_invoice_has_one_with_its_metadata(provider, v1):
    wanted = {"enabled": True, "invoice_data": {"metadata": {"pack": "starter"}}}
    session = bought(provider, v1, invoice_creation=wanted, line_items=[{"price_data": price(), "quantity": 2}])
    invoice = v1.invoices.retrieve(session.invoice)
    assert (invoice.status, invoice.total, invoice.amount_paid, invoice.parent) == ("paid", 998, 998, None)
    assert (invoice.billing_reason, invoice.metadata["pack"]) == ("manual", "starter")
    (sold,) = invoice.lines.data
    assert (sold.parent.type, sold.quantity, sold.amount) == ("invoice_item_details", 2, 998)
    assert invoice.customer == session.customer
    (payment,) = v1.invoice_payments.list({"invoice": invoice.id}).data
    assert payment.payment.payment_intent == session.payment_intent
    assert [event["type"] for event in events(v1)][-6:] == [
        *("invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded"),
        *("invoice_payment.paid", "checkout.session.completed"),
    ]


def test_a_session_returns_what_it_was_created_with(v1):
    given = {
        "locale": "de",
        "automatic_tax": {"enabled": True},
        "allow_promotion_codes": True,
        "client_reference_id": "ada",
        "customer_email": "ada@a.test",
    }
    session = v1.checkout.sessions.create(asked(**given))
    assert (session.locale, session.automatic_tax.enabled, session.allow_promotion_codes) == ("de", True, True)
    assert (session.client_reference_id, session.customer_email) == ("ada", "ada@a.test")
    assert (session.customer_creation, session.invoice_creation.enabled) == ("if_required", False)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"colour": "red"}, "colour"),
        ({"line_items": [{"price_data": price(), "quantity": 1, "sku": "x"}]}, "line_items[0][sku]"),
        ({"payment_intent_data": {"metadata": {"a": "b"}, "x": "y"}}, "payment_intent_data[x]"),
        ({"locale": "klingon"}, "locale"),
        ({"customer_creation": "never"}, "customer_creation"),
        ({"allow_promotion_codes": "maybe"}, "allow_promotion_codes"),
        ({"subscription_data": {"metadata": {"a": "b"}}}, "subscription_data"),
        ({"client_reference_id": "x" * 201}, "client_reference_id"),
        ({"expires_at": 1}, "expires_at"),
        ({"discounts": [{"coupon": "c"}]}, "discounts[0][coupon]"),
    ],
)
def test_parameters_that_are_unknown_or_wrong_are_refused_by_name(v1, wrong, param):
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.checkout.sessions.create(asked(**wrong))
    assert refusal.value.param == param
    assert v1.checkout.sessions.list().data == []


def test_a_session_has_a_customer_or_an_address_not_both(v1):
    ada = v1.customers.create({"email": "ada@a.test"})
    for more in ({"customer_email": "a@a.test"}, {"customer_creation": "always"}):
        with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
            v1.checkout.sessions.create(asked(customer=ada.id, **more))


@pytest.mark.parametrize("name", ["payment_intent_data", "invoice_creation", "customer_creation"])
def test_parameters_of_the_other_mode_are_refused(v1, name):
    value = {"payment_intent_data": {"metadata": {"a": "b"}}, "invoice_creation": {"enabled": True}}.get(name, "always")
    with pytest.raises(stripe.InvalidRequestError, match=f"You can not pass `{name}` in `subscription` mode"):
        v1.checkout.sessions.create(
            {"mode": "subscription", "line_items": [line()], "success_url": "https://a.test/", name: value}
        )


def test_lists_refuse_what_they_cannot_filter_by(v1):
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: colour"):
        v1.customers.list({"colour": "red"})


def test_what_is_expanded_is_the_object(provider, v1):
    subscription = subscribe(provider, v1)
    expanded = v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice", "customer"]})
    assert isinstance(expanded.latest_invoice, stripe.Invoice)
    assert isinstance(expanded.customer, stripe.Customer)
    listed = v1.subscriptions.list({"expand": ["data.customer"]}).data[0]
    assert listed.customer.id == expanded.customer.id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        v1.subscriptions.retrieve(subscription.id, {"expand": ["wishes"]})
