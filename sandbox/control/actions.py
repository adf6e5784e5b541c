"""What a person can do at the portal, and a program at /control: one table of small functions.

Each is given the account, the object that is named, and what was said besides, as text by name: `amount` in the
object's currency, or the `price` or `plan` of a subscription and the `proration` of its period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models import money
from sandbox.paypal import captures
from sandbox.paypal import disputes as paypal_disputes
from sandbox.paypal.objects import CAPTURE, DISPUTE
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import billing, checkout, disputes, invoices, plan_changes, prices, refunds, subscriptions
from sandbox.stripe.lines import item_of

Said = Mapping[str, str]
Deed = Callable[[Account, Thing, Said], Any]
AMOUNT, PRICE, PLAN = ("amount",), ("price", "proration"), ("plan", "proration")
SAID = ("amount", "price", "plan", "proration")


@dataclass(frozen=True)
class Action:
    """A button: what it says, the kind of object it is for, when it makes sense, what it does."""

    label: str
    kind: str
    fits: Callable[[Thing], bool]
    do: Deed
    takes: tuple[str, ...] = ()


def act(account: Account, name: str, id_: str, asked: Mapping[str, Any]) -> Thing:
    """Do the action `name` to the object, with what was asked besides; returns what came of it. Raises Refused."""
    if name not in ACTIONS:
        raise Refused(f"No such action: {name}. There are {', '.join(ACTIONS)}.", param="action")
    action = ACTIONS[name]
    said = {field: asked[field] for field in SAID if asked.get(field) not in (None, "")}
    for field, value in said.items():
        if not isinstance(value, str):
            raise Refused(f"The {field} must be a text such as {EXAMPLES[field]}.", param=field)
        if field not in action.takes:
            raise Refused(f"{name} takes no {field}.", param=field)
    # Some deeds tell nothing: then the object that they were done to.
    thing = account.need(action.kind, id_)
    done: Thing = action.do(account, thing, said) or thing
    return done


EXAMPLES = {"amount": '"4.99"', "price": '"price_1"', "plan": '"pro"', "proration": '"always_invoice"'}


def offered(kind: str, thing: Thing) -> list[tuple[str, Action]]:
    """The actions that make sense for an object as it is now."""
    return [(name, action) for name, action in ACTIONS.items() if action.kind == kind and action.fits(thing)]


def _minor(said: Said, currency: str) -> int | None:
    if "amount" not in said:
        return None
    try:
        minor = money.to_minor(said["amount"], currency)
    except ValueError as error:
        raise Refused(f"The amount {error}.", param="amount") from None
    if minor <= 0:
        raise Refused(f"The amount must be more than nothing, not {said['amount']}.", param="amount")
    return minor


def _refund(status: str) -> Deed:
    def do(account: Account, charge: Thing, said: Said) -> Thing:
        return refunds.create(account, charge, _minor(said, charge["currency"]), status=status)

    return do


def _dispute(inquiry: bool) -> Deed:
    def do(account: Account, charge: Thing, said: Said) -> Thing:
        minor = _minor(said, charge["currency"])
        return disputes.create(account, charge, inquiry=inquiry, amount_minor=minor)

    return do


def _paypal_refund(reversal: bool) -> Deed:
    def do(account: Account, capture: Thing, said: Said) -> Thing:
        currency = capture["amount"]["currency_code"]
        _minor(said, currency)  # said as people say it, before PayPal says it
        wanted = {"value": said["amount"], "currency_code": currency} if "amount" in said else None
        return captures.refund(account, capture, wanted, reversal=reversal)

    return do


def _change_price(account: Account, subscription: Thing, said: Said) -> Thing:
    if "price" not in said:
        raise Refused("price names the price that the subscription has from now on.", param="price")
    price, proration = prices.known(account, said["price"], "price"), said.get("proration")
    quantity = item_of(subscription)["quantity"]
    return plan_changes.change_price(account, subscription, price, quantity, proration or plan_changes.USUAL)


def _change_plan(account: Account, subscription: Thing, said: Said) -> Thing:
    if "plan" not in said:
        raise Refused("plan names the plan of the catalog that the subscription has from now on.", param="plan")
    price = prices.of_plan(account, said["plan"])
    proration = said.get("proration") or plan_changes.USUAL
    # The metadata is changed too, as by an app whose prices are not the catalog's: then only it tells of the plan.
    return plan_changes.change_price(
        *(account, subscription, price, item_of(subscription)["quantity"], proration), plan=said["plan"]
    )


def _plainly(do: Callable[[Account, Thing], Any]) -> Deed:
    return lambda account, thing, said: do(account, thing)


def _settle(arrived: bool) -> Deed:
    return lambda account, session, said: checkout.settle(account, session, arrived=arrived)


def _settle_paypal(arrived: bool) -> Deed:
    return lambda account, capture, said: captures.settle(account, capture, arrived=arrived)


def _resolve(for_buyer: bool) -> Deed:
    return lambda account, dispute, said: paypal_disputes.resolve(account, dispute, for_buyer=for_buyer)


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
    "transfer-fails": Action("The transfer never comes", "checkout.session", _waits_for_transfer, _settle(False)),
    "refund": Action("Refund", "charge", _has_money, _refund("succeeded"), takes=AMOUNT),
    "refund-pending": Action("Refund that takes its time", "charge", _has_money, _refund("pending"), takes=AMOUNT),
    "refund-that-fails": Action("Refund that fails", "charge", _has_money, _refund("failed"), takes=AMOUNT),
    "inquiry": Action("The bank asks (inquiry)", "charge", disputes.may_be_disputed, _dispute(True)),
    "dispute": Action("Dispute: money withdrawn", "charge", disputes.may_be_disputed, _dispute(False), takes=AMOUNT),
    "refund-arrives": Action("The refund arrives", "refund", _is("pending"), _plainly(refunds.settle)),
    "refund-fails": Action("The refund fails", "refund", _is("pending", "succeeded"), _plainly(refunds.fail)),
    "escalate": Action(
        "The inquiry becomes a dispute",
        *("dispute", _is(disputes.INQUIRY), _plainly(disputes.escalate)),
    ),
    "close-inquiry": Action("The bank is content", "dispute", _is(disputes.INQUIRY), _plainly(disputes.close_inquiry)),
    "win": Action("The seller wins", "dispute", _is(disputes.OPEN), _plainly(disputes.win)),
    "lose": Action("The seller loses", "dispute", _is(disputes.OPEN), _plainly(disputes.lose)),
    "cancel": Action("Cancel now", "subscription", _runs, _plainly(subscriptions.end)),
    "cancel-at-period-end": Action(
        "Cancel at the period's end",
        *("subscription", _runs_on, _plainly(subscriptions.cancel_at_period_end)),
    ),
    "keep": Action(
        "Do not cancel after all",
        "subscription",
        lambda subscription: _runs(subscription) and subscription["cancel_at_period_end"],
        lambda account, subscription, said: subscriptions.cancel_at_period_end(account, subscription, False),
    ),
    "pause": Action(
        "Pause",
        "subscription",
        lambda subscription: _runs(subscription) and not subscription["pause_collection"],
        _plainly(subscriptions.pause),
    ),
    "resume": Action(
        "Go on",
        "subscription",
        lambda subscription: _runs(subscription) and bool(subscription["pause_collection"]),
        lambda account, subscription, said: subscriptions.pause(account, subscription, None),
    ),
    "fail-next": Action(
        "Decline the card at the next payment",
        "subscription",
        lambda subscription: _runs(subscription) and not subscription.get("_fail_next"),
        _plainly(subscriptions.fail_next),
    ),
    "change-plan": Action("Change the plan", "subscription", _runs, _change_plan, takes=PLAN),
    "change-price": Action("Change the price", "subscription", _runs, _change_price, takes=PRICE),
    "pay-invoice": Action("Pay it", "invoice", _is(*invoices.UNPAID), _plainly(billing.pay_open_invoice)),
    "void-invoice": Action("Void it", "invoice", _is(*invoices.UNPAID), _plainly(billing.void_invoice)),
    "uncollectible-invoice": Action(
        "Mark it uncollectible", "invoice", _is("open"), _plainly(billing.mark_uncollectible)
    ),
    "echeck-arrives": Action("The eCheck arrives", CAPTURE, _is("PENDING"), _settle_paypal(True)),
    "echeck-bounces": Action("The eCheck bounces", CAPTURE, _is("PENDING"), _settle_paypal(False)),
    "paypal-refund": Action("Refund", CAPTURE, _is(*PAID), _paypal_refund(False), takes=AMOUNT),
    "paypal-reverse": Action("Reverse", CAPTURE, _is(*PAID), _paypal_refund(True), takes=AMOUNT),
    "paypal-dispute": Action("Open a dispute", CAPTURE, _may_be_disputed_at_paypal, _plainly(paypal_disputes.create)),
    "paypal-lose": Action("The buyer is right", DISPUTE, _is("OPEN"), _resolve(True)),
    "paypal-win": Action("The seller is right", DISPUTE, _is("OPEN"), _resolve(False)),
}
