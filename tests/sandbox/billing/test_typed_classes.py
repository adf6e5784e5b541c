"""The sandbox against Stripe's library: objects have fields that its classes have, and calls take its parameters."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from typing import Any

import pytest
import requests
import stripe

from sandbox.stripe import parameters
from tests.sandbox.billing.bills import decline_next, invoices, line, seats, subscribe
from tests.sandbox.test_stripe import APP, bought

CLASSES: dict[str, Any] = {
    "customer": stripe.Customer,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "plan": stripe.Plan,
    "price": stripe.Price,
    "invoice": stripe.Invoice,
    "line_item": stripe.InvoiceLineItem,
    "invoice_payment": stripe.InvoicePayment,
    "subscription_schedule": stripe.SubscriptionSchedule,
    "credit_note": stripe.CreditNote,
    "credit_note_line_item": stripe.CreditNoteLineItem,
    "billing_portal.session": stripe.billing_portal.Session,
    "checkout.session": stripe.checkout.Session,
    "refund": stripe.Refund,
    "charge": stripe.Charge,
    "payment_intent": stripe.PaymentIntent,
}


def annotations(class_: Any) -> set[str]:
    return {name for base in class_.__mro__ for name in inspect.get_annotations(base)}


def unknown_fields(thing: Any) -> set[str]:
    """The fields of the objects within a thing that their classes do not have."""
    if isinstance(thing, list):
        return set().union(*(unknown_fields(part) for part in thing))
    if not isinstance(thing, dict):
        return set()
    found = set().union(*(unknown_fields(part) for part in thing.values()))
    class_ = CLASSES.get(str(thing.get("object")))
    return found | ({f"{thing['object']}.{name}" for name in thing.keys() - annotations(class_)} if class_ else set())


def test_every_object_has_fields_of_its_class(provider, v1):
    bought(provider, v1, invoice_creation={"enabled": True})
    subscription = subscribe(provider, v1, line(quantity=2), line(300))
    decline_next(provider, APP, subscription)
    seats(v1, subscription, 3, proration_behavior="always_invoice", payment_behavior="pending_if_incomplete")
    v1.subscription_schedules.create({"from_subscription": subscription.id})
    v1.credit_notes.create({"invoice": invoices(v1)[0].id, "amount": 7, "refund_amount": 7})
    v1.billing_portal.sessions.create({"customer": subscription.customer, "return_url": "https://a.test/"})
    events = v1.events.list({"limit": 100}).to_dict(for_json=True)
    kinds = {event["data"]["object"]["object"] for event in events["data"]}
    assert kinds >= CLASSES.keys() - {"plan", "price", "subscription_item", "line_item", "billing_portal.session"} - {
        "credit_note_line_item",
    }
    assert unknown_fields(events) == set()
    for noun in ("invoices", "subscriptions", "credit_notes", "subscription_schedules", "checkout/sessions"):
        url = f"{provider.url}/stripe/v1/{noun}?limit=100"
        assert unknown_fields(requests.get(url, auth=(f"sk_sandbox_{APP}", ""), timeout=9).json()) == set()


def parameter_class(name: str, module: str) -> Any:
    return getattr(importlib.import_module(f"stripe.params.{module}"), name)


def has_path(class_: Any, path: str) -> bool:
    """Whether Stripe's typed dict has the parameter; types are texts such as `List["X"]|Literal['']`."""
    step, _, rest = path.partition(".")
    annotation = inspect.get_annotations(class_).get(step.removesuffix("[]"))
    if annotation is None:
        return False
    if not rest or rest == "*":
        return True
    module = importlib.import_module(class_.__module__)
    text = annotation.__forward_arg__ if isinstance(annotation, typing.ForwardRef) else str(annotation)
    inner = [getattr(module, name, None) for name in re.findall(r"\w+", text)]
    return any(has_path(part, rest) for part in inner if hasattr(part, "__required_keys__"))


@pytest.mark.parametrize(
    ("accepted", "name", "module"),
    [
        (parameters.CHECKOUT, "SessionCreateParams", "checkout._session_create_params"),
        (parameters.CUSTOMER, "CustomerCreateParams", "_customer_create_params"),
        (parameters.CUSTOMER, "CustomerUpdateParams", "_customer_update_params"),
        (parameters.UPDATE, "SubscriptionUpdateParams", "_subscription_update_params"),
        (parameters.PREVIEW, "InvoiceCreatePreviewParams", "_invoice_create_preview_params"),
        (parameters.SCHEDULE, "SubscriptionScheduleUpdateParams", "_subscription_schedule_update_params"),
        (parameters.CREDIT_NOTE, "CreditNoteCreateParams", "_credit_note_create_params"),
    ],
)
def test_every_parameter_that_is_accepted_is_one_of_stripes(accepted, name, module):
    class_ = parameter_class(name, module)
    assert [path for path in accepted.split() if not has_path(class_, path)] == []


def test_a_parameter_that_stripe_lacks_is_found():
    class_ = parameter_class("SubscriptionUpdateParams", "_subscription_update_params")
    assert not has_path(class_, "items[].colour")
    assert not has_path(class_, "colour")
