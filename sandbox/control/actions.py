"""The actions of the portal and of POST /control: a table of small functions.

Each takes the account, the object and the action's fields, as text: `amount` in the object's currency, or the `price`
or `plan` that a subscription changes to and the `proration` of its present period.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sandbox.control import paypal_actions
from sandbox.control.action import AMOUNT, PLAN, PRICE, Action, Fields, Function, is_in, minor_of, plain
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import disputes, prices, refunds
from sandbox.stripe.billing import changes, invoices, schedules, subscriptions, unpaid, updates
from sandbox.stripe.billing.changes import ItemChange, Update
from sandbox.stripe.billing.items import first_of
from sandbox.stripe.checkout import completion

FIELDS = ("amount", "price", "plan", "proration")


def act(account: Account, name: str, id_: str, body: Mapping[str, Any]) -> Thing:
    """Do the action `name` on the object. Returns the object that it created or changed. Raises Refused."""
    if name not in ACTIONS:
        raise Refused(f"Unknown action {name}. The actions are {', '.join(ACTIONS)}.", param="action")
    action = ACTIONS[name]
    fields = {field: body[field] for field in FIELDS if body.get(field) not in (None, "")}
    for field, value in fields.items():
        if not isinstance(value, str):
            raise Refused(f"The {field} must be a string such as {EXAMPLES[field]}.", param=field)
        if field not in action.takes:
            raise Refused(f"The action {name} does not take the field {field}.", param=field)
    thing = account.need(action.kind, id_)
    done: Thing = action.do(account, thing, fields) or thing
    return done


EXAMPLES = {"amount": '"4.99"', "price": '"price_1"', "plan": '"pro"', "proration": '"always_invoice"'}


def offered(kind: str, thing: Thing) -> list[tuple[str, Action]]:
    """The possible actions on an object, as (name, action)."""
    return [(name, action) for name, action in ACTIONS.items() if action.kind == kind and action.fits(thing)]


def _refund(status: str) -> Function:
    def do(account: Account, charge: Thing, fields: Fields) -> Thing:
        return refunds.create(account, charge, minor_of(fields, charge["currency"]), status=status)

    return do


def _dispute(inquiry: bool) -> Function:
    def do(account: Account, charge: Thing, fields: Fields) -> Thing:
        minor = minor_of(fields, charge["currency"])
        return disputes.create(account, charge, inquiry=inquiry, amount_minor=minor)

    return do


def _change_price(account: Account, subscription: Thing, fields: Fields) -> Thing:
    if "price" not in fields:
        raise Refused("The field price is missing: the id of the subscription's new price.", param="price")
    return _change(account, subscription, prices.known(account, fields["price"], "price"), fields, None)


def _change_plan(account: Account, subscription: Thing, fields: Fields) -> Thing:
    if "plan" not in fields:
        raise Refused("The field plan is missing: the key of the subscription's new plan in the catalog.", param="plan")
    # Also changes the metadata: if the app's prices are not in the catalog, only the metadata names the plan.
    named = {**subscription["metadata"], "plan": fields["plan"]}
    return _change(account, subscription, prices.of_plan(account, fields["plan"]), fields, named)


def _change(account: Account, subscription: Thing, price: Thing, fields: Fields, named: Thing | None) -> Thing:
    item = first_of(subscription)
    wanted = ItemChange(item["id"], price, item["quantity"], param="price")
    asked = Update(items=(wanted,), proration=fields.get("proration") or changes.DEFAULT, metadata=named)
    return updates.update(account, subscription, asked)


def _end(account: Account, subscription: Thing) -> Thing:
    schedules.cancel_of(account, subscription)
    return subscriptions.end(account, subscription)


def _pay_invoice(account: Account, invoice: Thing) -> Thing:
    """Pay an invoice. A declined card leaves it open, with the events of the attempt."""
    with suppress(unpaid.Declined):
        unpaid.pay(account, invoice)
    return invoice


def _settle(arrived: bool) -> Function:
    return lambda account, session, fields: completion.settle(account, session, arrived=arrived)


def _has_money(charge: Thing) -> bool:
    is_paid = charge["status"] == "succeeded" and not disputes.is_charged_back(charge)
    return bool(is_paid and charge["amount_refunded"] < charge["amount"])


def _waits_for_transfer(session: Thing) -> bool:
    return "_settles_at" in session


def _runs(subscription: Thing) -> bool:
    return subscription["status"] in subscriptions.RUNNING


def _runs_on(subscription: Thing) -> bool:
    return _runs(subscription) and not subscription["cancel_at_period_end"]


ACTIONS: dict[str, Action] = {
    "transfer-arrives": Action("The transfer arrives", "checkout.session", _waits_for_transfer, _settle(True)),
    "transfer-fails": Action("The transfer fails", "checkout.session", _waits_for_transfer, _settle(False)),
    "refund": Action("Refund", "charge", _has_money, _refund("succeeded"), takes=AMOUNT),
    "refund-pending": Action("Refund that stays pending", "charge", _has_money, _refund("pending"), takes=AMOUNT),
    "refund-that-fails": Action("Refund that fails", "charge", _has_money, _refund("failed"), takes=AMOUNT),
    "inquiry": Action("Open an inquiry", "charge", disputes.may_be_disputed, _dispute(True)),
    "dispute": Action("Open a dispute", "charge", disputes.may_be_disputed, _dispute(False), takes=AMOUNT),
    "refund-arrives": Action("The refund arrives", "refund", is_in("pending"), plain(refunds.settle)),
    "refund-fails": Action("The refund fails", "refund", is_in("pending", "succeeded"), plain(refunds.fail)),
    "escalate": Action(
        "Escalate to a dispute",
        *("dispute", is_in(disputes.INQUIRY), plain(disputes.escalate)),
    ),
    "close-inquiry": Action("Close the inquiry", "dispute", is_in(disputes.INQUIRY), plain(disputes.close_inquiry)),
    "win": Action("The seller wins", "dispute", is_in(disputes.OPEN), plain(disputes.win)),
    "lose": Action("The seller loses", "dispute", is_in(disputes.OPEN), plain(disputes.lose)),
    "cancel": Action("Cancel now", "subscription", _runs, plain(_end)),
    "cancel-at-period-end": Action(
        "Cancel at period end",
        *("subscription", _runs_on, plain(subscriptions.cancel_at_period_end)),
    ),
    "keep": Action(
        "Undo the cancellation",
        "subscription",
        lambda subscription: _runs(subscription) and subscription["cancel_at_period_end"],
        lambda account, subscription, fields: subscriptions.cancel_at_period_end(account, subscription, False),
    ),
    "pause": Action(
        "Pause",
        "subscription",
        lambda subscription: _runs(subscription) and not subscription["pause_collection"],
        plain(subscriptions.pause),
    ),
    "resume": Action(
        "Resume",
        "subscription",
        lambda subscription: _runs(subscription) and bool(subscription["pause_collection"]),
        lambda account, subscription, fields: subscriptions.pause(account, subscription, None),
    ),
    "fail-next": Action(
        "Decline the next card payment",
        "subscription",
        lambda subscription: _runs(subscription) and not subscription.get("_fail_next"),
        plain(subscriptions.fail_next),
    ),
    "change-plan": Action("Change the plan", "subscription", _runs, _change_plan, takes=PLAN),
    "change-price": Action("Change the price", "subscription", _runs, _change_price, takes=PRICE),
    "pay-invoice": Action("Pay", "invoice", is_in(*invoices.UNPAID), plain(_pay_invoice)),
    "void-invoice": Action("Void", "invoice", is_in(*invoices.UNPAID), plain(unpaid.void)),
    "uncollectible-invoice": Action("Mark uncollectible", "invoice", is_in("open"), plain(unpaid.mark_uncollectible)),
    **paypal_actions.ACTIONS,
}
