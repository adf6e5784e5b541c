"""PayPal's sales: the payments of subscriptions, their refunds and reversals, in the format of Payments v1."""

from __future__ import annotations

from decimal import Decimal

from models import money
from sandbox import formatting
from sandbox.paypal.objects import VALUE, Unprocessable, link, new_id
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing

SALE, SALE_REFUND = "paypal.sale", "paypal.sale_refund"
# The states of a sale of which money is left.
PAID = ("completed", "partially_refunded")


def text(amount: Decimal, currency: str) -> str:
    """An amount in PayPal's decimals of the currency."""
    return str(amount.quantize(Decimal(1) if currency.lower() in money.WHOLE_AT_PAYPAL else Decimal("0.01")))


def create(account: Account, subscription: Thing, amount: Decimal, currency: str) -> Thing:
    """The completed payment of a subscription."""
    id_, total = new_id(), text(amount, currency)
    fee = text(amount * Decimal("0.029") + Decimal("0.3"), currency)
    sale = {
        "id": id_,
        "state": "completed",
        "amount": {"total": total, "currency": currency, "details": {"subtotal": total}},
        "payment_mode": "INSTANT_TRANSFER",
        "protection_eligibility": "ELIGIBLE",
        "transaction_fee": {"value": fee, "currency": currency},
        "billing_agreement_id": subscription["id"],
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "links": [
            link(f"{account.url}/paypal/v1/payments/sale/{id_}", "self"),
            link(f"{account.url}/paypal/v1/payments/sale/{id_}/refund", "refund", "POST"),
        ],
        "_sold": subscription["_sold"],
        "_created": account.now,
    }
    if subscription.get("custom_id"):
        sale["custom"] = subscription["custom_id"]
    return account.save(sale, SALE)


def emit_completed(account: Account, sale: Thing) -> None:
    """Emit the event of a new sale."""
    amount = sale["amount"]
    summary = f"Payment completed for {amount['total']} {amount['currency']}"
    account.emit_paypal("PAYMENT.SALE.COMPLETED", "sale", sale, summary)


def left_of(account: Account, sale: Thing) -> Decimal:
    """The amount of the sale that has not been refunded or reversed."""
    returned = account.store.parts(account.name, SALE_REFUND, "sale_id", sale["id"])
    return Decimal(sale["amount"]["total"]) - sum((_size(refund) for refund in returned), Decimal(0))


def _size(refund: Thing) -> Decimal:
    return abs(Decimal(refund["amount"]["total"]))


def refund(account: Account, sale: Thing, amount: object = None, *, reversal: bool = False) -> Thing:
    """Refund an amount, or all that is left. `reversal`: PayPal reverses the payment. Raises Unprocessable."""
    if sale["state"] not in PAID:
        raise Unprocessable("TRANSACTION_ALREADY_REFUNDED", f"This transaction is {formatting.state(sale['state'])}.")
    currency, left = sale["amount"]["currency"], left_of(account, sale)
    wanted = left if amount is None else _read(amount, currency)
    if not 0 < wanted <= left:
        most = formatting.decimal_price(str(left), currency)
        raise Unprocessable("REFUND_AMOUNT_EXCEEDED", f"The refund amount exceeds what is left to refund: {most}.")
    made = account.save(_refund(account, sale, wanted, currency, reversal), SALE_REFUND)
    is_all = wanted == left
    sale["state"] = ("reversed" if reversal else "refunded") if is_all else "partially_refunded"
    sale["update_time"] = written(account.moment)
    account.save(sale, SALE)
    words = "reversed" if reversal else "refunded"
    summary = f"A {text(wanted, currency)} {currency} sale payment was {words}"
    # PayPal's events call the resource a sale; the amounts of its refunds are negative.
    account.emit_paypal(f"PAYMENT.SALE.{words.upper()}", "sale", made, summary)
    return made


def _read(given: object, currency: str) -> Decimal:
    """The amount of Payments v1: {"total", "currency"}. Raises Refused."""
    if not isinstance(given, dict) or not VALUE.fullmatch(str(given.get("total", ""))):
        raise Refused("The amount needs a total and a currency.", code="VALIDATION_ERROR")
    if given.get("currency") != currency:
        raise Unprocessable("REFUND_CURRENCY_MISMATCH", "Refund must be in the same currency as the sale.")
    return Decimal(str(given["total"]))


def _refund(account: Account, sale: Thing, amount: Decimal, currency: str, reversal: bool) -> Thing:
    id_ = new_id()
    return {
        "id": id_,
        "sale_id": sale["id"],
        "billing_agreement_id": sale["billing_agreement_id"],
        "state": "completed",
        "reason_code": "chargeback" if reversal else "refund",
        "amount": {"total": f"-{text(amount, currency)}", "currency": currency},
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "links": [
            link(f"{account.url}/paypal/v1/payments/refund/{id_}", "self"),
            link(f"{account.url}/paypal/v1/payments/sale/{sale['id']}", "sale"),
        ],
    }


def response(account: Account, sale: Thing, made: Thing) -> Thing:
    """The refund as the API returns it to its creation: the amounts are positive."""
    currency = made["amount"]["currency"]
    total = Decimal(sale["amount"]["total"]) - left_of(account, sale)
    return {
        **made,
        "amount": {"total": made["amount"]["total"].removeprefix("-"), "currency": currency},
        "total_refunded_amount": {"value": text(total, currency), "currency": currency},
    }


def transaction_of(sale: Thing) -> Thing:
    """The sale as an item of the list of a subscription's transactions."""
    currency = sale["amount"]["currency"]
    gross, fee = Decimal(sale["amount"]["total"]), Decimal(sale["transaction_fee"]["value"])
    amounts = {"gross_amount": gross, "fee_amount": fee, "net_amount": gross - fee}
    return {
        "id": sale["id"],
        "status": {"reversed": "REFUNDED"}.get(sale["state"], sale["state"].upper()),
        "amount_with_breakdown": {
            name: {"currency_code": currency, "value": text(value, currency)} for name, value in amounts.items()
        },
        "payer_name": {"given_name": "Sandbox", "surname": "Buyer"},
        "payer_email": "buyer@sandbox.test",
        "time": sale["create_time"],
    }
