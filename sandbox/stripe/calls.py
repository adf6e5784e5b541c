"""The calls of Stripe's API that the sandbox implements: one function each, and the table of their addresses."""

from __future__ import annotations

from collections.abc import Callable

from flask import request

from sandbox.context import current
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import billing, checkout, lines, lists, payments, plan_changes, prices, refunds, subscriptions
from sandbox.stripe.forms import flag, metadata, whole

Handler = Callable[..., Thing]
STATES_OF_REFUNDS = {"fail": "failed", "pending": "pending"}


# --- checkout


def _create_session(account: Account, params: Thing) -> Thing:
    return _expanded(checkout.create(account, params, current().url), params)


def _get_session(account: Account, params: Thing, id_: str) -> Thing:
    return _expanded(account.need("checkout.session", id_), params)


def _expanded(session: Thing, params: Thing) -> Thing:
    if "line_items" not in params.get("expand", []):
        return session
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    items = checkout.line_items(session)
    return {**session, "line_items": {"object": "list", "data": items, "has_more": False, "url": url}}


def _get_line_items(account: Account, params: Thing, id_: str) -> Thing:
    session = account.need("checkout.session", id_)
    return lists.page(checkout.line_items(session), params, request.path)


def _expire_session(account: Account, params: Thing, id_: str) -> Thing:
    return checkout.expire(account, account.need("checkout.session", id_))


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


# --- subscriptions, invoices, customers, prices


def _update_subscription(account: Account, params: Thing, id_: str) -> Thing:
    subscription = account.need("subscription", id_)
    if metadata(params):
        subscriptions.change(account, subscription, metadata={**subscription["metadata"], **metadata(params)})
    if "cancel_at_period_end" in params:
        subscriptions.cancel_at_period_end(account, subscription, flag(params, "cancel_at_period_end"))
    if "pause_collection" in params:
        paused = params["pause_collection"]
        subscriptions.pause(account, subscription, paused["behavior"] if isinstance(paused, dict) else None)
    for item in params.get("items", []):
        _change_price(account, subscription, item, params.get("proration_behavior", plan_changes.DEFAULT))
    return subscription


def _change_price(account: Account, subscription: Thing, given: Thing, proration: str) -> None:
    present = lines.item_of(subscription)
    is_named = "price" in given or "price_data" in given
    price = prices.chosen(account, given, "items[0]") if is_named else present["price"]
    quantity = whole(given, "quantity", present["quantity"], 1)
    plan_changes.change_price(account, subscription, price, quantity, proration)


def _cancel_subscription(account: Account, params: Thing, id_: str) -> Thing:
    return subscriptions.end(account, account.need("subscription", id_))


def _pay_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return billing.pay_open_invoice(account, account.need("invoice", id_))


def _void_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return billing.void_invoice(account, account.need("invoice", id_))


def _mark_uncollectible(account: Account, params: Thing, id_: str) -> Thing:
    return billing.mark_uncollectible(account, account.need("invoice", id_))


def _create_customer(account: Account, params: Thing) -> Thing:
    return subscriptions.new_customer(account, {**params, "metadata": metadata(params)})


def _list_prices(account: Account, params: Thing) -> Thing:
    prices.add_catalog_prices(account)
    filters = ("active", "currency", "product", "type")
    return lists.things(account, "price", _with_flags(params, "active"), filters, request.path)


def _list_products(account: Account, params: Thing) -> Thing:
    filters = _with_flags(params, "active")
    ids = params.get("ids")
    found = [product for product in prices.products(account) if not ids or product["id"] in ids]
    if not filters.get("active", True):
        found = []  # all products of the sandbox are active
    return lists.page(found, params, request.path)


def _with_flags(params: Thing, *names: str) -> Thing:
    return {**params, **{name: flag(params, name) for name in names if name in params}}


def _create_price(account: Account, params: Thing) -> Thing:
    return prices.create(account, params, "price")


# --- the table


def _getter(kind: str) -> Handler:
    return lambda account, params, id_: account.need(kind, id_)


def _lister(kind: str, *filters: str) -> Handler:
    return lambda account, params: lists.things(account, kind, params, filters, request.path)


CALLS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/checkout/sessions", _create_session),
    (
        "GET",
        "/v1/checkout/sessions",
        _lister("checkout.session", "payment_intent", "subscription", "customer", "status"),
    ),
    ("GET", "/v1/checkout/sessions/<id_>", _get_session),
    ("GET", "/v1/checkout/sessions/<id_>/line_items", _get_line_items),
    ("POST", "/v1/checkout/sessions/<id_>/expire", _expire_session),
    ("GET", "/v1/payment_intents", _lister("payment_intent", "customer")),
    ("GET", "/v1/payment_intents/<id_>", _getter("payment_intent")),
    ("GET", "/v1/charges", _lister("charge", "payment_intent", "customer")),
    ("GET", "/v1/charges/<id_>", _getter("charge")),
    ("POST", "/v1/refunds", _create_refund),
    ("GET", "/v1/refunds", _lister("refund", "charge", "payment_intent")),
    ("GET", "/v1/refunds/<id_>", _getter("refund")),
    ("GET", "/v1/disputes", _lister("dispute", "charge", "payment_intent")),
    ("GET", "/v1/disputes/<id_>", _getter("dispute")),
    ("GET", "/v1/events", lambda account, params: lists.events(account, params, request.path)),
    ("GET", "/v1/events/<id_>", lambda account, params, id_: lists.event(account, id_)),
    ("GET", "/v1/subscriptions", _lister("subscription", "customer", "status")),
    ("GET", "/v1/subscriptions/<id_>", _getter("subscription")),
    ("POST", "/v1/subscriptions/<id_>", _update_subscription),
    ("DELETE", "/v1/subscriptions/<id_>", _cancel_subscription),
    ("GET", "/v1/invoices", _lister("invoice", "customer", "subscription", "status")),
    ("GET", "/v1/invoices/<id_>", _getter("invoice")),
    ("POST", "/v1/invoices/<id_>/pay", _pay_invoice),
    ("POST", "/v1/invoices/<id_>/void", _void_invoice),
    ("POST", "/v1/invoices/<id_>/mark_uncollectible", _mark_uncollectible),
    ("GET", "/v1/invoice_payments", _lister("invoice_payment", "invoice", "payment", "status")),
    ("GET", "/v1/invoice_payments/<id_>", _getter("invoice_payment")),
    ("POST", "/v1/customers", _create_customer),
    ("GET", "/v1/customers", _lister("customer", "email")),
    ("GET", "/v1/customers/<id_>", _getter("customer")),
    ("POST", "/v1/prices", _create_price),
    ("GET", "/v1/prices", _list_prices),
    ("GET", "/v1/prices/<id_>", lambda account, params, id_: prices.known(account, id_)),
    ("GET", "/v1/products", _list_products),
    ("GET", "/v1/products/<id_>", lambda account, params, id_: prices.product(account, id_)),
)
