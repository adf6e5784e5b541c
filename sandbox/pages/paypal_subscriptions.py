"""PayPal's approval page of a subscription, and of its revision."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import formatting
from sandbox.context import current
from sandbox.pages.payment_pages import leave_paypal, paypal_address
from sandbox.paypal.billing import plans, subscriptions
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing

blueprint = Blueprint("paypal_subscriptions", __name__)


@blueprint.get("/paypal/subscribe/<id_>")
def subscribe(id_: str) -> str:
    """What is subscribed to, and the buyer's choices."""
    with current().account(_app_of(id_)) as account:
        subscription = account.need(SUBSCRIPTION, id_)
        return render_template(
            "subscribe.html",
            app=account.name,
            subscription=subscription,
            offer=_offer(account, subscription),
            is_open=_is_open(subscription),
            said=request.args.get("said"),
            back=paypal_address(subscription["_return_url"], _query(subscription)),
        )


def _app_of(id_: str) -> str:
    name = current().store.owner(SUBSCRIPTION, id_)
    if name is None:
        abort(404)
    return name


def _is_open(subscription: Thing) -> bool:
    return subscription["status"] == "APPROVAL_PENDING" or bool(subscription.get("_revision"))


def _offer(account: Account, subscription: Thing) -> Thing:
    """The plan with its price: of the revision, if one waits for approval."""
    wanted = subscription.get("_revision") or subscription
    plan = plans.need(account, wanted["plan_id"])
    return {
        "name": plan["name"],
        "quantity": int(wanted["quantity"]),
        "prices": [_price(cycle) for cycle in plan["billing_cycles"]],
        "is_revision": bool(subscription.get("_revision")),
    }


def _price(cycle: Thing) -> str:
    frequency, price, total = cycle["frequency"], plans.price_of(cycle), cycle["total_cycles"]
    often = formatting.every(plans.UNITS[frequency["interval_unit"]], frequency["interval_count"])
    what = formatting.decimal_price(price["value"], price["currency_code"]) if float(price["value"]) else "free"
    return f"{what} {often}{f', {total} times' if total else ''}"


def _query(subscription: Thing) -> dict[str, str]:
    """What PayPal adds to the app's address."""
    return {"subscription_id": subscription["id"], "ba_token": subscription["_token"], "token": subscription["_token"]}


@blueprint.post("/paypal/subscribe/<id_>")
def choose(id_: str) -> AnyResponse:
    """Do what the buyer chose."""
    how = request.form.get("how", "approve")
    with current().account(_app_of(id_)) as account:
        subscription = account.need(SUBSCRIPTION, id_)
        if how == "cancel":
            return leave_paypal(subscription["_cancel_url"], _query(subscription))
        if how == "decline":
            return redirect(f"{request.path}?said=declined", 303)
        if how != "approve":
            raise Refused(f"Unknown payment method: {how[:50]}.")
        subscriptions.approve(account, subscription)
        return leave_paypal(subscription["_return_url"], _query(subscription))
