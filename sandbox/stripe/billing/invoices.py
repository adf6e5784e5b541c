"""Stripe's invoices: drafts with their totals, finalized with the customer's balance applied.

`collection` pays them, or stops their collection. Amounts are minor units of the currency.
"""

from __future__ import annotations

import copy

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe.billing import items, lines

UNPAID = ("open", "uncollectible")
# The fields of a new draft without a value.
EMPTY = (
    *("default_payment_method", "description", "due_date", "ending_balance", "hosted_invoice_url", "invoice_pdf"),
    *("next_payment_attempt", "number", "_intent", "_charge"),
)
TRANSITIONS = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")


def create(
    account: Account, subscription: Thing, reason: str, invoiced: list[Thing], *, discount_minor: int = 0
) -> Thing:
    """Create a draft of the subscription's lines. It becomes the subscription's latest invoice."""
    invoice = draft(account, subscription, reason, invoiced, discount_minor=discount_minor)
    note_billed(subscription, invoice)
    subscription["latest_invoice"] = invoice["id"]
    account.save(subscription)
    account.emit("invoice.created", account.save(invoice))
    return invoice


def draft(
    account: Account, subscription: Thing, reason: str, invoiced: list[Thing], *, discount_minor: int = 0
) -> Thing:
    """A draft of the subscription's lines. Saves nothing."""
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    parent = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
    customer = account.need("customer", subscription["customer"])
    invoice = _invoice(account, customer, subscription["currency"], reason, parent)
    set_lines(invoice, invoiced, discount_minor)
    return invoice


def draft_of_purchase(account: Account, customer: Thing, currency: str, invoiced: list[Thing], discount: int) -> Thing:
    """A draft for a single purchase, as a checkout with `invoice_creation` makes it. Saves nothing."""
    invoice = _invoice(account, customer, currency, "manual", None)
    set_lines(invoice, invoiced, discount)
    return invoice


def note_billed(subscription: Thing, invoice: Thing) -> None:
    """Note on each item which line billed it: a later proration credits that line."""
    billed = {
        lines.item_id_of(line): {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}
        for line in invoice["lines"]["data"]
        if not line.get("_is_credit")
    }
    for item in items.items_of(subscription):
        item["_billed"] = billed.get(item["id"], item.get("_billed"))


def _invoice(account: Account, customer: Thing, currency: str, reason: str, parent: Thing | None) -> Thing:
    id_, now = new_id("in"), account.now
    return {
        "id": id_,
        "object": "invoice",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, "disabled_reason": None, "liability": None, "status": None},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "discounts": [],
        "livemode": False,
        "metadata": {},
        "parent": parent,
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": customer["balance"],
        "status": "draft",
        "status_transitions": dict.fromkeys(TRANSITIONS),
        **dict.fromkeys(EMPTY),
    }


def set_lines(invoice: Thing, invoiced: list[Thing], discount_minor: int = 0) -> None:
    """Set the lines of a draft, and its totals; the discount is shared by the lines with a price."""
    data = [{**line, "invoice": invoice["id"]} for line in invoiced]
    discount = f"di_{invoice['id'].rpartition('_')[2]}"
    _share_discount(data, discount_minor, discount)
    subtotal = sum(line["amount"] for line in data)
    total = subtotal - discount_minor
    due = max(0, total + invoice["starting_balance"])
    url = f"/v1/invoices/{invoice['id']}/lines"
    invoice.update(
        amount_due=due,
        amount_remaining=due,
        discounts=[discount] if discount_minor else [],
        lines={"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url},
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=total,
        total_discount_amounts=[{"amount": discount_minor, "discount": discount}] if discount_minor else [],
        total_excluding_tax=total,
        total_pretax_credit_amounts=[],
        total_taxes=[],
    )


def _share_discount(data: list[Thing], discount_minor: int, discount: str) -> None:
    """Stripe leaves the lines' amounts and states the discount beside them."""
    left, price_left = discount_minor, sum(max(0, line["amount"]) for line in data)
    for line in data:
        if left and line["amount"] > 0:
            part = left * line["amount"] // price_left
            line["discount_amounts"] = [{"amount": part, "discount": discount}]
            left, price_left = left - part, price_left - line["amount"]


def finalize(account: Account, invoice: Thing) -> Thing:
    """Finalize a draft. The customer's credit balance is applied, except to a purchase that has been paid.

    Raises Refused unless it is a draft.
    """
    expect(invoice, "draft")
    customer = account.need("customer", invoice["customer"])
    before: int = 0 if invoice["parent"] is None else customer["balance"]
    after = min(0, before + invoice["total"])
    if invoice["parent"] is not None:
        set_balance(account, customer, after, invoice["currency"])
    due = max(0, invoice["total"] + before)
    invoice["status_transitions"]["finalized_at"] = account.now
    invoice.update(
        status="open",
        number=f"SANDBOX-{invoice['id'][-6:].upper()}",
        hosted_invoice_url=f"{account.url}/invoice/{invoice['id']}",
        starting_balance=before,
        ending_balance=after,
        amount_due=due,
        amount_remaining=due,
    )
    account.emit("invoice.finalized", account.save(invoice))
    return invoice


def set_balance(account: Account, customer: Thing, balance: int, currency: str) -> None:
    """Set the customer's balance; credit is negative."""
    if customer["balance"] != balance:
        before = copy.deepcopy(customer)
        customer.update(balance=balance, currency=currency)
        account.emit("customer.updated", account.save(customer), before)


def undo_credit(account: Account, invoice: Thing) -> None:
    """Restore the customer's balance that the invoice used."""
    customer = account.need("customer", invoice["customer"])
    moved = (invoice["ending_balance"] or 0) - (invoice["starting_balance"] or 0)
    set_balance(account, customer, customer["balance"] - moved, invoice["currency"])


def subscription_id_of(invoice: Thing) -> str | None:
    """The subscription of an invoice, or None."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return details["subscription"] if details else None


def expect(invoice: Thing, *states: str) -> None:
    """Raises Refused unless the invoice has one of the states."""
    if invoice["status"] not in states:
        raise Refused(f"This invoice is {invoice['status']}.", code="invoice_not_open")
