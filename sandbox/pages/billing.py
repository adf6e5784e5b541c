"""The billing page: Stripe's customer portal, where a customer manages subscriptions and pays invoices.

Each page belongs to a session (`POST /v1/billing_portal/sessions`) and shows its customer only. The seller's portal,
with refunds, disputes and the delivery of events, is another page (`portal`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.context import current
from sandbox.pages import billing_cards
from sandbox.paypal.billing import subscriptions as paypal_subscriptions
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import portal_sessions, prices
from sandbox.stripe.billing import items, renewals, schedules, subscriptions, updates
from sandbox.stripe.billing.changes import ItemChange, Update

blueprint = Blueprint("billing", __name__)
MOST_SEATS = 10_000
Form = Mapping[str, str]


@blueprint.get("/billing/<id_>")
def billing(id_: str) -> str:
    """The customer's subscriptions and invoices."""
    return _page(id_)


def _page(id_: str, refusal: Refused | None = None) -> str:
    """The page; after a rejected action with its error beside the field, and the values that were typed."""
    app = _app_of(id_)
    with current().account(app) as account:
        session = account.need(portal_sessions.KIND, id_)
        customer = account.need("customer", session["customer"])
        shown = billing_cards.of_customer(account, customer)
    return render_template(
        "billing.html",
        app=app,
        session=session,
        customer=customer,
        refusal=refusal,
        typed=request.form,
        most=MOST_SEATS,
        **shown,
    )


def _app_of(id_: str) -> str:
    name = current().store.owner(portal_sessions.KIND, id_)
    if name is None:
        abort(404)
    return name


@blueprint.post("/billing/<id_>")
def do(id_: str) -> AnyResponse | tuple[str, int]:
    """Do what the customer chose. An error is shown beside the field."""
    form = {name: value.strip() for name, value in request.form.items()}
    try:
        with current().account(_app_of(id_)) as account:
            session = account.need(portal_sessions.KIND, id_)
            _do(account, session, form)
    except Refused as error:
        return _page(id_, error), error.status
    return redirect(f"/billing/{id_}#{form['subscription']}", 303)


def _do(account: Account, session: Thing, form: Form) -> None:
    if form.get("action") in PAYPAL_ACTIONS:
        _do_at_paypal(account, session, form)
        return
    action = ACTIONS.get(form.get("action", ""))
    if action is None:
        raise Refused(f"Unknown action {form.get('action', '')[:50]}.", param="action")
    subscription = account.need("subscription", form.get("subscription", ""), "subscription")
    if subscription["customer"] != session["customer"]:
        raise Refused(f"No such subscription: '{subscription['id']}'", status=404, param="subscription")
    action(account, subscription, form)


def _do_at_paypal(account: Account, session: Thing, form: Form) -> None:
    customer = account.need("customer", session["customer"])
    shown = {each["id"] for each in billing_cards.of_customer(account, customer)["paypal"]}
    if form.get("subscription") not in shown:
        raise Refused("No such subscription.", status=404, param="subscription")
    PAYPAL_ACTIONS[form["action"]](account, account.need(SUBSCRIPTION, form["subscription"]))


# --- what a customer can do


def _change_now(account: Account, subscription: Thing, form: Form) -> None:
    """Change at once, billed at once. With a declined card the change waits until its invoice has been paid."""
    item, key, price = _chosen(account, subscription, form)
    wanted = ItemChange(item["id"], account.save(price), _seats(form), param="price")
    if subscription["schedule"]:
        schedules.release(account, account.need("subscription_schedule", subscription["schedule"]))
        subscription = account.need("subscription", subscription["id"])
    update = Update(items=(wanted,), proration="always_invoice", metadata=_named(subscription, key, item, price))
    updates.update(account, subscription, update, "pending_if_incomplete")


def _change_later(account: Account, subscription: Thing, form: Form) -> None:
    """Change at the period's end, by a schedule."""
    item, key, price = _chosen(account, subscription, form)
    sold = [
        {"price": account.save(price)["id"], "quantity": str(_seats(form))}
        if each["id"] == item["id"]
        else {"price": each["price"]["id"], "quantity": str(each["quantity"])}
        for each in items.items_of(subscription)
    ]
    if subscription["schedule"]:
        schedule = account.need("subscription_schedule", subscription["schedule"])
    else:
        schedule = schedules.create(account, subscription)
    start = schedule["current_phase"]["start_date"]
    present = next(phase for phase in schedule["phases"] if phase["start_date"] == start)
    kept = [{"price": each["price"], "quantity": str(each["quantity"])} for each in present["items"]]
    first = {"items": kept, "start_date": str(present["start_date"]), "end_date": str(present["end_date"])}
    named = _named(subscription, key, item, price)
    schedules.update(account, schedule, {"phases": [first, {"items": sold, "metadata": named}]})


def _chosen(account: Account, subscription: Thing, form: Form) -> tuple[Thing, str, Thing]:
    """The item, the plan's key and the price that the form names. Raises Refused."""
    item = {each["id"]: each for each in items.items_of(subscription)}.get(form.get("item", ""))
    if item is None:
        raise Refused("The subscription has no such plan.", param="item")
    for key, price in prices.offers(account, subscription, item):
        if price["id"] == form.get("price"):
            return item, key, price
    raise Refused("Select one of the plans.", param="price")


def _named(subscription: Thing, key: str, item: Thing, price: Thing) -> Thing:
    """The metadata with the new plan: where the app's prices are not in the catalog, only they name the plan."""
    named: Thing = dict(subscription["metadata"])
    return {**named, "plan": key} if "plan" in named and price["id"] != item["price"]["id"] else named


def _seats(form: Form) -> int:
    text = form.get("quantity", "")
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_SEATS):
        raise Refused(f"Seats must be a whole number from 1 to {MOST_SEATS:,}.", param="quantity")
    return int(text)


def _cancel(account: Account, subscription: Thing, form: Form) -> None:
    """Cancel at the period's end, or at once."""
    if form["action"] == "cancel-now":
        updates.withdraw_pending(account, subscription)
        schedules.cancel_of(account, subscription)
        subscriptions.end(account, subscription)
        return
    _keep_plan(account, subscription, form)
    subscriptions.cancel_at_period_end(account, account.need("subscription", subscription["id"]))


def _keep(account: Account, subscription: Thing, form: Form) -> None:
    subscriptions.cancel_at(account, subscription, None)


def _keep_plan(account: Account, subscription: Thing, form: Form) -> None:
    """Undo a change that is scheduled."""
    if subscription["schedule"]:
        schedules.release(account, account.need("subscription_schedule", subscription["schedule"]))


def _resume(account: Account, subscription: Thing, form: Form) -> None:
    if subscription["status"] == "paused":
        renewals.resume(account, subscription)
    else:
        subscriptions.pause(account, subscription, None)


PAYPAL_ACTIONS: dict[str, Callable[[Account, Thing], None]] = {
    "paypal-cancel": paypal_subscriptions.cancel,
    "paypal-suspend": paypal_subscriptions.suspend,
    "paypal-activate": paypal_subscriptions.activate,
}
ACTIONS: dict[str, Callable[[Account, Thing, Form], None]] = {
    "change": _change_now,
    "change-later": _change_later,
    "cancel": _cancel,
    "cancel-now": _cancel,
    "keep": _keep,
    "keep-plan": _keep_plan,
    "resume": _resume,
}
