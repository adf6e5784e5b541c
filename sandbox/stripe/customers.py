"""Stripe's customers: created by the API or by a checkout, and updated."""

from __future__ import annotations

import copy
import re

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe.forms import merged_metadata, metadata

TEXTS = ("email", "name", "description", "phone")
LONGEST_EMAIL = 512
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def create(account: Account, params: Thing) -> Thing:
    """Create a customer from the API's parameters. Raises Refused."""
    _check(params)
    return _create(account, params)


def _create(account: Account, params: Thing) -> Thing:
    customer = {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "discount": None,
        "invoice_prefix": new_id("")[1:9].upper(),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": metadata(params),
        "next_invoice_sequence": 1,
        "preferred_locales": params.get("preferred_locales") or [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **{name: params.get(name) or None for name in TEXTS},
    }
    account.emit("customer.created", account.save(customer))
    return customer


def update(account: Account, customer: Thing, params: Thing) -> Thing:
    """Update a customer: an empty text removes a value, empty metadata a key. Raises Refused."""
    _check(params)
    before = copy.deepcopy(customer)
    customer.update({name: params[name] or None for name in TEXTS if name in params})
    customer["metadata"] = merged_metadata(customer["metadata"], params)
    if "preferred_locales" in params:
        customer["preferred_locales"] = params["preferred_locales"] or []
    account.save(customer)
    account.emit_if_changed("customer.updated", customer, before)
    return customer


def _check(params: Thing) -> None:
    for name in TEXTS:
        if not isinstance(params.get(name, ""), str):
            raise Refused("Invalid string", param=name)
    email = params.get("email")
    if email and not (EMAIL.fullmatch(email) and len(email) <= LONGEST_EMAIL):
        raise Refused(f"Invalid email address: {email[:50]}", code="email_invalid", param="email")


def of_session(account: Account, session: Thing) -> Thing:
    """The customer of a completed session; without one, a new customer with the buyer's e-mail address."""
    if session["customer"]:
        return account.need("customer", session["customer"])
    return _create(account, {"email": session["customer_details"]["email"]})
