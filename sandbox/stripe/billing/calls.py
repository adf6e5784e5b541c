"""The calls of Stripe's API about subscriptions, invoices, schedules and credit notes."""

from __future__ import annotations

from flask import request

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import lists, parameters
from sandbox.stripe.billing import (
    changes,
    credit_notes,
    invoices,
    previews,
    renewals,
    requests,
    schedules,
    subscriptions,
    unpaid,
    updates,
)
from sandbox.stripe.forms import choice, flag
from sandbox.stripe.lists import Call, getter, lister

# --- subscriptions


def _list_subscriptions(account: Account, params: Thing) -> Thing:
    """Without `status`, Stripe lists the subscriptions that have not been canceled."""
    filters = ("customer", "status", "price")
    return lists.things(account, "subscription", {"status": "running", **params}, filters, request.path)


def _update_subscription(account: Account, params: Thing, id_: str) -> Thing:
    return requests.update(account, account.need("subscription", id_), params)


def _cancel_subscription(account: Account, params: Thing, id_: str) -> Thing:
    subscription = account.need("subscription", id_)
    if subscription["status"] == "canceled":
        return subscriptions.end(account, subscription)  # refused
    details = requests.details_of(params)
    subscription["cancellation_details"] = {**subscription["cancellation_details"], **details}
    if flag(params, "prorate") and subscription["status"] != "trialing":
        changes.credit_unused(account, subscription)
    updates.withdraw_pending(account, subscription)
    if flag(params, "invoice_now"):
        updates.bill_last(account, subscription)
    schedules.cancel_of(account, subscription)
    return subscriptions.end(account, subscription)


def _resume_subscription(account: Account, params: Thing, id_: str) -> Thing:
    subscription = account.need("subscription", id_)
    if subscription["status"] != "paused":
        message = f"A subscription can be resumed if it is paused; this one is {subscription['status']}."
        raise Refused(message)
    choice(params, "billing_cycle_anchor", ("now",), "now")
    return renewals.resume(account, subscription)


# --- invoices


def _preview_invoice(account: Account, params: Thing) -> Thing:
    if "subscription" not in params:
        raise Refused("The sandbox previews the invoices of a subscription.", param="subscription")
    subscription = account.need("subscription", params["subscription"], "subscription")
    if params.get("customer") not in (None, subscription["customer"]):
        raise Refused("The subscription is not one of the customer's.", param="customer")
    wanted = requests.wanted_of(account, subscription, params.get("subscription_details") or {})
    return previews.create(account, subscription, wanted)


def _pay_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return unpaid.pay(account, account.need("invoice", id_), out_of_band=flag(params, "paid_out_of_band"))


def _finalize_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return invoices.finalize(account, account.need("invoice", id_))


def _void_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return unpaid.void(account, account.need("invoice", id_))


def _mark_uncollectible(account: Account, params: Thing, id_: str) -> Thing:
    return unpaid.mark_uncollectible(account, account.need("invoice", id_))


def _list_lines(account: Account, params: Thing, id_: str) -> Thing:
    return lists.page(account.need("invoice", id_)["lines"]["data"], params, request.path)


# --- schedules and credit notes


def _create_schedule(account: Account, params: Thing) -> Thing:
    if "from_subscription" not in params:
        raise Refused("The sandbox creates schedules with from_subscription.", param="from_subscription")
    return schedules.create(account, account.need("subscription", params["from_subscription"], "from_subscription"))


def _update_schedule(account: Account, params: Thing, id_: str) -> Thing:
    return schedules.update(account, account.need("subscription_schedule", id_), params)


def _release_schedule(account: Account, params: Thing, id_: str) -> Thing:
    return schedules.release(account, account.need("subscription_schedule", id_))


def _create_credit_note(account: Account, params: Thing) -> Thing:
    return credit_notes.create(account, params)


SUBSCRIPTION, INVOICE, SCHEDULE = "/v1/subscriptions/<id_>", "/v1/invoices/<id_>", "/v1/subscription_schedules/<id_>"
CANCEL = f"prorate invoice_now {parameters.CANCELLATION}"
LIST_SUBSCRIPTIONS = f"{parameters.LIST} customer status price"

CALLS: tuple[Call, ...] = (
    ("GET", "/v1/subscriptions", _list_subscriptions, LIST_SUBSCRIPTIONS),
    ("GET", SUBSCRIPTION, getter("subscription"), ""),
    ("POST", SUBSCRIPTION, _update_subscription, parameters.UPDATE),
    ("DELETE", SUBSCRIPTION, _cancel_subscription, CANCEL),
    ("POST", f"{SUBSCRIPTION}/resume", _resume_subscription, "billing_cycle_anchor proration_behavior"),
    lister("/v1/invoices", "invoice", "customer", "subscription", "status"),
    ("POST", "/v1/invoices/create_preview", _preview_invoice, parameters.PREVIEW),
    ("GET", INVOICE, getter("invoice"), ""),
    ("GET", f"{INVOICE}/lines", _list_lines, parameters.LIST),
    ("POST", f"{INVOICE}/finalize", _finalize_invoice, ""),
    ("POST", f"{INVOICE}/pay", _pay_invoice, "paid_out_of_band"),
    ("POST", f"{INVOICE}/void", _void_invoice, ""),
    ("POST", f"{INVOICE}/mark_uncollectible", _mark_uncollectible, ""),
    lister("/v1/invoice_payments", "invoice_payment", "invoice", "payment", "status", also="payment.*"),
    ("GET", "/v1/invoice_payments/<id_>", getter("invoice_payment"), ""),
    ("POST", "/v1/subscription_schedules", _create_schedule, "from_subscription"),
    lister("/v1/subscription_schedules", "subscription_schedule", "customer"),
    ("GET", SCHEDULE, getter("subscription_schedule"), ""),
    ("POST", SCHEDULE, _update_schedule, parameters.SCHEDULE),
    ("POST", f"{SCHEDULE}/release", _release_schedule, ""),
    ("POST", "/v1/credit_notes", _create_credit_note, parameters.CREDIT_NOTE),
    lister("/v1/credit_notes", "credit_note", "customer", "invoice"),
    ("GET", "/v1/credit_notes/<id_>", getter("credit_note"), ""),
)
