"""What a person can do at the portal, and a program at /control: one table of small functions.

Each is given the account, the object that is named, and an amount in the object's currency (text, or None).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models import money
from sandbox import paypal_payments, stripe_checkout, stripe_disputes, stripe_payments, stripe_subscriptions
from sandbox.account import Account, Refused
from sandbox.store import Thing

Deed = Callable[[Account, Thing, str | None], Any]


@dataclass(frozen=True)
class Action:
    """A button: what it says, the kind of object it is for, when it makes sense, what it does."""

    label: str
    kind: str
    fits: Callable[[Thing], bool]
    do: Deed
    takes_amount: bool = False


def act(account: Account, name: str, id_: str, amount: str | None = None) -> Thing:
    """Do the action `name` to the object; returns what came of it. Raises Refused."""
    if name not in ACTIONS:
        raise Refused(f"No such action: {name}. There are {', '.join(ACTIONS)}.", param="action")
    action = ACTIONS[name]
    if not isinstance(amount, (str, type(None))):
        raise Refused('The amount must be a text such as "4.99".', param="amount")
    if amount and not action.takes_amount:
        raise Refused(f"{name} takes no amount.", param="amount")
    # Some deeds tell nothing: then the object that they were done to.
    thing = account.need(action.kind, id_)
    done: Thing = action.do(account, thing, amount or None) or thing
    return done


def offered(kind: str, thing: Thing) -> list[tuple[str, Action]]:
    """The actions that make sense for an object as it is now."""
    return [(name, action) for name, action in ACTIONS.items() if action.kind == kind and action.fits(thing)]


def _minor(amount: str | None, currency: str) -> int | None:
    if amount is None:
        return None
    try:
        return money.to_minor(amount, currency)
    except ValueError as error:
        raise Refused(f"The amount {error}.", param="amount") from None


def _refund(status: str) -> Deed:
    def do(account: Account, charge: Thing, amount: str | None) -> Thing:
        return stripe_payments.refund(account, charge, _minor(amount, charge["currency"]), status=status)

    return do


def _dispute(inquiry: bool) -> Deed:
    def do(account: Account, charge: Thing, amount: str | None) -> Thing:
        minor = _minor(amount, charge["currency"])
        return stripe_disputes.dispute(account, charge, inquiry=inquiry, amount_minor=minor)

    return do


def _paypal_refund(reversal: bool) -> Deed:
    def do(account: Account, capture: Thing, amount: str | None) -> Thing:
        currency = capture["amount"]["currency_code"]
        _minor(amount, currency)  # said as people say it, before PayPal says it
        wanted = {"value": amount, "currency_code": currency} if amount else None
        return paypal_payments.refund(account, capture, wanted, reversal=reversal)

    return do


def _without_amount(do: Callable[[Account, Thing], Any]) -> Deed:
    return lambda account, thing, amount: do(account, thing)


def _settle(arrived: bool) -> Deed:
    return lambda account, session, amount: stripe_checkout.settle(account, session, arrived=arrived)


def _settle_paypal(arrived: bool) -> Deed:
    return lambda account, capture, amount: paypal_payments.settle(account, capture, arrived=arrived)


def _resolve(for_buyer: bool) -> Deed:
    return lambda account, it, amount: paypal_payments.resolve(account, it, for_buyer=for_buyer)


def _is(*states: str) -> Callable[[Thing], bool]:
    return lambda thing: thing["status"] in states


def _has_money(charge: Thing) -> bool:
    is_paid = charge["status"] == "succeeded" and not stripe_disputes.is_charged_back(charge)
    return bool(is_paid and charge["amount_refunded"] < charge["amount"])


def _may_be_disputed_at_paypal(capture: Thing) -> bool:
    return capture["status"] in PAID and not capture.get("_dispute")


def _waits_for_transfer(session: Thing) -> bool:
    return "_settles_at" in session


def _runs(it: Thing) -> bool:
    return it["status"] in stripe_subscriptions.RUNNING


def _runs_on(it: Thing) -> bool:
    return _runs(it) and not it["cancel_at_period_end"]


subscriptions = stripe_subscriptions
CAPTURE, DISPUTE = paypal_payments.CAPTURE, paypal_payments.DISPUTE
PAID = ("COMPLETED", "PARTIALLY_REFUNDED")

ACTIONS: dict[str, Action] = {
    "transfer-arrives": Action("The transfer arrives", "checkout.session", _waits_for_transfer, _settle(True)),
    "transfer-fails": Action("The transfer never comes", "checkout.session", _waits_for_transfer, _settle(False)),
    "refund": Action("Refund", "charge", _has_money, _refund("succeeded"), takes_amount=True),
    "refund-pending": Action("Refund that takes its time", "charge", _has_money, _refund("pending"), takes_amount=True),
    "refund-that-fails": Action("Refund that fails", "charge", _has_money, _refund("failed"), takes_amount=True),
    "inquiry": Action("The bank asks (inquiry)", "charge", stripe_disputes.may_be_disputed, _dispute(True)),
    "dispute": Action(
        "Dispute: money withdrawn", "charge", stripe_disputes.may_be_disputed, _dispute(False), takes_amount=True
    ),
    "refund-arrives": Action(
        "The refund arrives", "refund", _is("pending"), _without_amount(stripe_payments.settle_refund)
    ),
    "refund-fails": Action(
        "The refund fails", "refund", _is("pending", "succeeded"), _without_amount(stripe_payments.fail_refund)
    ),
    "escalate": Action(
        "The inquiry becomes a dispute",
        *("dispute", _is(stripe_disputes.INQUIRY), _without_amount(stripe_disputes.escalate)),
    ),
    "close-inquiry": Action(
        "The bank is content", "dispute", _is(stripe_disputes.INQUIRY), _without_amount(stripe_disputes.close_inquiry)
    ),
    "win": Action("The seller wins", "dispute", _is(stripe_disputes.OPEN), _without_amount(stripe_disputes.win)),
    "lose": Action("The seller loses", "dispute", _is(stripe_disputes.OPEN), _without_amount(stripe_disputes.lose)),
    "cancel": Action("Cancel now", "subscription", _runs, _without_amount(subscriptions.end)),
    "cancel-at-period-end": Action(
        "Cancel at the period's end",
        *("subscription", _runs_on, _without_amount(subscriptions.cancel_at_period_end)),
    ),
    "keep": Action(
        "Do not cancel after all",
        "subscription",
        lambda it: _runs(it) and it["cancel_at_period_end"],
        lambda account, it, amount: subscriptions.cancel_at_period_end(account, it, False),
    ),
    "pause": Action(
        "Pause",
        "subscription",
        lambda it: _runs(it) and not it["pause_collection"],
        _without_amount(subscriptions.pause),
    ),
    "resume": Action(
        "Go on",
        "subscription",
        lambda it: _runs(it) and bool(it["pause_collection"]),
        lambda account, it, amount: subscriptions.pause(account, it, None),
    ),
    "fail-next": Action(
        "Decline the card at the next renewal",
        "subscription",
        lambda it: _runs(it) and not it.get("_fail_next"),
        _without_amount(subscriptions.fail_next),
    ),
    "pay-invoice": Action("Pay it", "invoice", _is("open"), _without_amount(subscriptions.pay_open_invoice)),
    "echeck-arrives": Action("The eCheck arrives", CAPTURE, _is("PENDING"), _settle_paypal(True)),
    "echeck-bounces": Action("The eCheck bounces", CAPTURE, _is("PENDING"), _settle_paypal(False)),
    "paypal-refund": Action("Refund", CAPTURE, _is(*PAID), _paypal_refund(False), takes_amount=True),
    "paypal-reverse": Action("Reverse", CAPTURE, _is(*PAID), _paypal_refund(True), takes_amount=True),
    "paypal-dispute": Action(
        "Open a dispute", CAPTURE, _may_be_disputed_at_paypal, _without_amount(paypal_payments.dispute)
    ),
    "paypal-lose": Action("The buyer is right", DISPUTE, _is("OPEN"), _resolve(True)),
    "paypal-win": Action("The seller is right", DISPUTE, _is("OPEN"), _resolve(False)),
}
