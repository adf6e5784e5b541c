"""The actions of the portal and of POST /control: a table of small functions.

Each takes the account, the object and the action's fields, as text: `amount` in the object's currency, or the `price`
or `plan` that a subscription changes to and the `proration` of its present period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from models import money
from sandbox.paypal import captures
from sandbox.paypal import disputes as paypal_disputes
from sandbox.paypal.objects import CAPTURE, DISPUTE
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import disputes, prices, refunds
from sandbox.stripe.billing import changes, invoices, schedules, subscriptions, unpaid, updates
from sandbox.stripe.billing.changes import ItemChange, Update
from sandbox.stripe.billing.items import first_of
from sandbox.stripe.checkout import completion

Fields = Mapping[str, str]
Function = Callable[[Account, Thing, Fields], Any]
AMOUNT, PRICE, PLAN = ("amount",), ("price", "proration"), ("plan", "proration")
FIELDS = ("amount", "price", "plan", "proration")


@dataclass(frozen=True)
class Action:
    """An action: its label, the kind of its objects, when it is possible, its function, and the fields it takes."""

    label: str
    kind: str
    fits: Callable[[Thing], bool]
    do: Function
    takes: tuple[str, ...] = ()


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


def _minor(fields: Fields, currency: str) -> int | None:
    if "amount" not in fields:
        return None
    try:
        minor = money.to_minor(fields["amount"], currency)
    except ValueError as error:
        raise Refused(f"The amount {error}.", param="amount") from None
    if minor <= 0:
        raise Refused(f"The amount must be greater than zero, not {fields['amount']}.", param="amount")
    return minor


def _refund(status: str) -> Function:
    def do(account: Account, charge: Thing, fields: Fields) -> Thing:
        return refunds.create(account, charge, _minor(fields, charge["currency"]), status=status)

    return do


def _dispute(inquiry: bool) -> Function:
    def do(account: Account, charge: Thing, fields: Fields) -> Thing:
        minor = _minor(fields, charge["currency"])
        return disputes.create(account, charge, inquiry=inquiry, amount_minor=minor)

    return do


def _paypal_refund(reversal: bool) -> Function:
    def do(account: Account, capture: Thing, fields: Fields) -> Thing:
        currency = capture["amount"]["currency_code"]
        _minor(fields, currency)  # an error in the sandbox's words instead of PayPal's
        amount = {"value": fields["amount"], "currency_code": currency} if "amount" in fields else None
        return captures.refund(account, capture, amount, reversal=reversal)

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


def _plain(do: Callable[[Account, Thing], Any]) -> Function:
    return lambda account, thing, fields: do(account, thing)


def _settle(arrived: bool) -> Function:
    return lambda account, session, fields: completion.settle(account, session, arrived=arrived)


def _settle_paypal(arrived: bool) -> Function:
    return lambda account, capture, fields: captures.settle(account, capture, arrived=arrived)


def _resolve(for_buyer: bool) -> Function:
    return lambda account, dispute, fields: paypal_disputes.resolve(account, dispute, for_buyer=for_buyer)


def _is(*states: str) -> Callable[[Thing], bool]:
    return lambda thing: thing["status"] in states


def _has_money(charge: Thing) -> bool:
    is_paid = charge["status"] == "succeeded" and not disputes.is_charged_back(charge)
    return bool(is_paid and charge["amount_refunded"] < charge["amount"])


def _may_be_disputed_at_paypal(capture: Thing) -> bool:
    return capture["status"] in PAID and not capture.get("_dispute")


def _waits_for_transfer(session: Thing) -> bool:
    return "_settles_at" in session


def _runs(subscription: Thing) -> bool:
    return subscription["status"] in subscriptions.RUNNING


def _runs_on(subscription: Thing) -> bool:
    return _runs(subscription) and not subscription["cancel_at_period_end"]


PAID = ("COMPLETED", "PARTIALLY_REFUNDED")

ACTIONS: dict[str, Action] = {
    "transfer-arrives": Action("The transfer arrives", "checkout.session", _waits_for_transfer, _settle(True)),
    "transfer-fails": Action("The transfer fails", "checkout.session", _waits_for_transfer, _settle(False)),
    "refund": Action("Refund", "charge", _has_money, _refund("succeeded"), takes=AMOUNT),
    "refund-pending": Action("Refund that stays pending", "charge", _has_money, _refund("pending"), takes=AMOUNT),
    "refund-that-fails": Action("Refund that fails", "charge", _has_money, _refund("failed"), takes=AMOUNT),
    "inquiry": Action("Open an inquiry", "charge", disputes.may_be_disputed, _dispute(True)),
    "dispute": Action("Open a dispute", "charge", disputes.may_be_disputed, _dispute(False), takes=AMOUNT),
    "refund-arrives": Action("The refund arrives", "refund", _is("pending"), _plain(refunds.settle)),
    "refund-fails": Action("The refund fails", "refund", _is("pending", "succeeded"), _plain(refunds.fail)),
    "escalate": Action(
        "Escalate to a dispute",
        *("dispute", _is(disputes.INQUIRY), _plain(disputes.escalate)),
    ),
    "close-inquiry": Action("Close the inquiry", "dispute", _is(disputes.INQUIRY), _plain(disputes.close_inquiry)),
    "win": Action("The seller wins", "dispute", _is(disputes.OPEN), _plain(disputes.win)),
    "lose": Action("The seller loses", "dispute", _is(disputes.OPEN), _plain(disputes.lose)),
    "cancel": Action("Cancel now", "subscription", _runs, _plain(_end)),
    "cancel-at-period-end": Action(
        "Cancel at period end",
        *("subscription", _runs_on, _plain(subscriptions.cancel_at_period_end)),
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
        _plain(subscriptions.pause),
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
        _plain(subscriptions.fail_next),
    ),
    "change-plan": Action("Change the plan", "subscription", _runs, _change_plan, takes=PLAN),
    "change-price": Action("Change the price", "subscription", _runs, _change_price, takes=PRICE),
    "pay-invoice": Action("Pay", "invoice", _is(*invoices.UNPAID), _plain(_pay_invoice)),
    "void-invoice": Action("Void", "invoice", _is(*invoices.UNPAID), _plain(unpaid.void)),
    "uncollectible-invoice": Action("Mark uncollectible", "invoice", _is("open"), _plain(unpaid.mark_uncollectible)),
    "echeck-arrives": Action("The eCheck arrives", CAPTURE, _is("PENDING"), _settle_paypal(True)),
    "echeck-bounces": Action("The eCheck bounces", CAPTURE, _is("PENDING"), _settle_paypal(False)),
    "paypal-refund": Action("Refund", CAPTURE, _is(*PAID), _paypal_refund(False), takes=AMOUNT),
    "paypal-reverse": Action("Reverse", CAPTURE, _is(*PAID), _paypal_refund(True), takes=AMOUNT),
    "paypal-dispute": Action("Open a dispute", CAPTURE, _may_be_disputed_at_paypal, _plain(paypal_disputes.create)),
    "paypal-lose": Action("The buyer wins", DISPUTE, _is("OPEN"), _resolve(True)),
    "paypal-win": Action("The seller wins", DISPUTE, _is("OPEN"), _resolve(False)),
}
