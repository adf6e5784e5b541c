"""The calls of Stripe's API that the sandbox implements: one function each, and the table of their addresses.

Those about subscriptions are in `billing.calls`.
"""

from __future__ import annotations

from flask import request

from sandbox.context import current
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import customers, lists, parameters, payments, portal_sessions, prices, products, refunds
from sandbox.stripe.billing import calls as billing_calls
from sandbox.stripe.checkout import completion, sessions
from sandbox.stripe.forms import flag, metadata, whole
from sandbox.stripe.lists import Call, getter, lister

STATES_OF_REFUNDS = {"fail": "failed", "pending": "pending"}


# --- checkout


def _create_session(account: Account, params: Thing) -> Thing:
    return sessions.create(account, params, current().url)


def _get_line_items(account: Account, params: Thing, id_: str) -> Thing:
    session = account.need("checkout.session", id_)
    return lists.page(sessions.line_items(session), params, request.path)


def _expire_session(account: Account, params: Thing, id_: str) -> Thing:
    return completion.expire(account, account.need("checkout.session", id_))


# --- refunds


def _create_refund(account: Account, params: Thing) -> Thing:
    payment = params.get("charge") or params.get("payment_intent")
    if not payment:
        raise Refused("One of the following params should be provided: payment_intent or charge.")
    amount = whole(params, "amount", least=1) if "amount" in params else None
    meta = metadata(params)
    return refunds.create(
        account,
        payments.charge_of(account, str(payment)),
        amount,
        reason=params.get("reason"),
        metadata=meta,
        status=STATES_OF_REFUNDS.get(meta.get("sandbox", ""), "succeeded"),
    )


def _list_events(account: Account, params: Thing) -> Thing:
    return lists.events(account, params, request.path)


# --- customers, portal sessions, prices


def _create_customer(account: Account, params: Thing) -> Thing:
    return customers.create(account, params)


def _update_customer(account: Account, params: Thing, id_: str) -> Thing:
    return customers.update(account, account.need("customer", id_), params)


def _create_portal_session(account: Account, params: Thing) -> Thing:
    return portal_sessions.create(account, params)


def _list_prices(account: Account, params: Thing) -> Thing:
    prices.add_catalog_prices(account)
    filters = ("active", "currency", "product", "type")
    return lists.things(account, "price", _with_flags(params, "active"), filters, request.path)


def _list_products(account: Account, params: Thing) -> Thing:
    filters = _with_flags(params, "active")
    ids = params.get("ids")
    found = [product for product in products.of_account(account) if not ids or product["id"] in ids]
    if not filters.get("active", True):
        found = []  # all products of the sandbox are active
    return lists.page(found, params, request.path)


def _with_flags(params: Thing, *names: str) -> Thing:
    return {**params, **{name: flag(params, name) for name in names if name in params}}


def _create_price(account: Account, params: Thing) -> Thing:
    return prices.create(account, params, "price")


# --- the table


SESSION = "/v1/checkout/sessions/<id_>"
LIST = parameters.LIST

CALLS: tuple[Call, ...] = (
    ("POST", "/v1/checkout/sessions", _create_session, parameters.CHECKOUT),
    lister("/v1/checkout/sessions", "checkout.session", "payment_intent", "subscription", "customer", "status"),
    ("GET", SESSION, getter("checkout.session"), ""),
    ("GET", f"{SESSION}/line_items", _get_line_items, LIST),
    ("POST", f"{SESSION}/expire", _expire_session, ""),
    lister("/v1/payment_intents", "payment_intent", "customer"),
    ("GET", "/v1/payment_intents/<id_>", getter("payment_intent"), ""),
    lister("/v1/charges", "charge", "payment_intent", "customer"),
    ("GET", "/v1/charges/<id_>", getter("charge"), ""),
    ("POST", "/v1/refunds", _create_refund, "charge payment_intent amount reason metadata.*"),
    lister("/v1/refunds", "refund", "charge", "payment_intent"),
    ("GET", "/v1/refunds/<id_>", getter("refund"), ""),
    lister("/v1/disputes", "dispute", "charge", "payment_intent"),
    ("GET", "/v1/disputes/<id_>", getter("dispute"), ""),
    ("GET", "/v1/events", _list_events, f"{LIST} type types[] delivery_success"),
    ("GET", "/v1/events/<id_>", lambda account, params, id_: lists.event(account, id_), ""),
    ("POST", "/v1/customers", _create_customer, parameters.CUSTOMER),
    lister("/v1/customers", "customer", "email"),
    ("GET", "/v1/customers/<id_>", getter("customer"), ""),
    ("POST", "/v1/customers/<id_>", _update_customer, parameters.CUSTOMER),
    ("POST", "/v1/billing_portal/sessions", _create_portal_session, "customer return_url locale"),
    ("POST", "/v1/prices", _create_price, f"{parameters.PRICE_DATA} metadata.* nickname"),
    ("GET", "/v1/prices", _list_prices, f"{LIST} active currency product type"),
    ("GET", "/v1/prices/<id_>", lambda account, params, id_: prices.known(account, id_), ""),
    ("GET", "/v1/products", _list_products, f"{LIST} active ids[]"),
    ("GET", "/v1/products/<id_>", lambda account, params, id_: products.need(account, id_), ""),
)
ALL_CALLS = (*CALLS, *billing_calls.CALLS)
