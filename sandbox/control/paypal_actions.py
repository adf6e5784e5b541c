"""The actions on PayPal's payments, disputes and subscriptions."""

from __future__ import annotations

from sandbox.control.action import AMOUNT, Action, Fields, Function, is_in, minor_of, plain
from sandbox.paypal import captures, disputes
from sandbox.paypal.billing import cycles, sales, subscriptions
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.paypal.objects import CAPTURE, DISPUTE
from sandbox.store.account import Account
from sandbox.store.store import Thing

PAID = ("COMPLETED", "PARTIALLY_REFUNDED")


def _paypal_refund(reversal: bool) -> Function:
    def do(account: Account, capture: Thing, fields: Fields) -> Thing:
        currency = capture["amount"]["currency_code"]
        minor_of(fields, currency)  # an error in the sandbox's words instead of PayPal's
        amount = {"value": fields["amount"], "currency_code": currency} if "amount" in fields else None
        return captures.refund(account, capture, amount, reversal=reversal)

    return do


def _sale_refund(reversal: bool) -> Function:
    def do(account: Account, sale: Thing, fields: Fields) -> Thing:
        currency = sale["amount"]["currency"]
        minor_of(fields, currency)  # an error in the sandbox's words instead of PayPal's
        amount = {"total": fields["amount"], "currency": currency} if "amount" in fields else None
        return sales.refund(account, sale, amount, reversal=reversal)

    return do


def _settle_paypal(arrived: bool) -> Function:
    return lambda account, capture, fields: captures.settle(account, capture, arrived=arrived)


def _resolve(for_buyer: bool) -> Function:
    return lambda account, dispute, fields: disputes.resolve(account, dispute, for_buyer=for_buyer)


def _may_be_disputed_at_paypal(capture: Thing) -> bool:
    return capture["status"] in PAID and not capture.get("_dispute")


def _has_sale_money(sale: Thing) -> bool:
    return sale["state"] in sales.PAID


def _has_outstanding(subscription: Thing) -> bool:
    return subscription["status"] in ("ACTIVE", "SUSPENDED") and bool(cycles.outstanding(subscription))


ACTIONS: dict[str, Action] = {
    "echeck-arrives": Action("The eCheck arrives", CAPTURE, is_in("PENDING"), _settle_paypal(True)),
    "echeck-bounces": Action("The eCheck bounces", CAPTURE, is_in("PENDING"), _settle_paypal(False)),
    "paypal-refund": Action("Refund", CAPTURE, is_in(*PAID), _paypal_refund(False), takes=AMOUNT),
    "paypal-reverse": Action("Reverse", CAPTURE, is_in(*PAID), _paypal_refund(True), takes=AMOUNT),
    "paypal-dispute": Action("Open a dispute", CAPTURE, _may_be_disputed_at_paypal, plain(disputes.create)),
    "sale-refund": Action("Refund", sales.SALE, _has_sale_money, _sale_refund(False), takes=AMOUNT),
    "sale-reverse": Action("Reverse", sales.SALE, _has_sale_money, _sale_refund(True), takes=AMOUNT),
    "paypal-suspend": Action("Suspend", SUBSCRIPTION, is_in("ACTIVE"), plain(subscriptions.suspend)),
    "paypal-activate": Action("Activate", SUBSCRIPTION, is_in("SUSPENDED"), plain(subscriptions.activate)),
    "paypal-cancel": Action("Cancel", SUBSCRIPTION, is_in("ACTIVE", "SUSPENDED"), plain(subscriptions.cancel)),
    "paypal-fail-next": Action(
        "Let the next payment fail", SUBSCRIPTION, is_in("ACTIVE"), plain(subscriptions.fail_next)
    ),
    "paypal-pay-outstanding": Action(
        "Take the outstanding balance", SUBSCRIPTION, _has_outstanding, plain(subscriptions.pay_outstanding)
    ),
    "paypal-lose": Action("The buyer wins", DISPUTE, is_in("OPEN"), _resolve(True)),
    "paypal-win": Action("The seller wins", DISPUTE, is_in("OPEN"), _resolve(False)),
}
