"""Stripe's credit notes: before its payment they reduce an invoice, afterwards they return money of it."""

from __future__ import annotations

import copy

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import refunds
from sandbox.stripe.billing import collection, invoices, unpaid
from sandbox.stripe.forms import choice, metadata, whole

REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
PARTS = ("refund_amount", "credit_amount", "out_of_band_amount")


def create(account: Account, params: Thing) -> Thing:
    """Create a credit note from the API's parameters. Raises Refused."""
    invoice = account.need("invoice", params.get("invoice", ""), "invoice")
    credited = _lines(invoice, params)
    amount = sum(line["amount"] for line in credited)
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise Refused(f"You cannot issue a credit note for an invoice that is {invoice['status']}.", param="invoice")
    left = invoice["total"] - sum(note["amount"] for note in of_invoice(account, invoice["id"]))
    if not 0 < amount <= left:
        message = f"The amount of the credit note ({amount}) must be above zero and at most what is left ({left})."
        raise Refused(message, param="amount")
    note = _note(account, invoice, params, credited)
    if invoice["status"] == "paid":
        _return(account, invoice, note, params)
    else:
        _reduce(account, invoice, note, params)
    return note


def of_invoice(account: Account, invoice_id: str) -> list[Thing]:
    """The credit notes of an invoice, the oldest first."""
    return account.store.parts(account.name, "credit_note", "invoice", invoice_id)


def _lines(invoice: Thing, params: Thing) -> list[Thing]:
    given = params.get("lines")
    if isinstance(given, list) and given:
        return [_line(invoice, line, number) for number, line in enumerate(given)]
    if "amount" not in params:
        raise Refused("You must pass either amount or lines.", code="parameter_missing", param="amount")
    return [_new_line("custom_line_item", whole(params, "amount", least=1), "Credit", None, 1)]


def _line(invoice: Thing, given: Thing, number: int) -> Thing:
    type_ = choice(given, "type", ("invoice_line_item", "custom_line_item"))
    if type_ == "custom_line_item":
        times = whole(given, "quantity", 1, 1)
        amount = whole(given, "unit_amount", least=1) * times
        return _new_line(type_, amount, str(given.get("description", "Credit")), None, times)
    credited = {line["id"]: line for line in invoice["lines"]["data"]}.get(str(given.get("invoice_line_item")))
    if credited is None:
        message = f"No such invoice line item: '{given.get('invoice_line_item')}'"
        raise Refused(message, code="resource_missing", param=f"lines[{number}][invoice_line_item]")
    quantity = None if "amount" in given else whole(given, "quantity", credited["quantity"], 1)
    amount = whole(given, "amount", credited["amount"] * (quantity or 0) // credited["quantity"], 1)
    if amount > credited["amount"]:
        raise Refused("The credited amount exceeds the line's.", param=f"lines[{number}][amount]")
    return _new_line(type_, amount, credited["description"], credited["id"], quantity)


def _new_line(type_: str, amount: int, description: str, line: str | None, quantity: int | None) -> Thing:
    return {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": line,
        "livemode": False,
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": type_,
        "unit_amount": None,
        "unit_amount_decimal": None,
    }


def _note(account: Account, invoice: Thing, params: Thing, credited: list[Thing]) -> Thing:
    id_, amount = new_id("cn"), sum(line["amount"] for line in credited)
    number = len(of_invoice(account, invoice["id"])) + 1
    reason = choice(params, "reason", REASONS) if "reason" in params else None
    listed = {"object": "list", "data": credited, "has_more": False, "url": f"/v1/credit_notes/{id_}/lines"}
    return {
        "id": id_,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": account.now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": account.now,
        "invoice": invoice["id"],
        "lines": listed,
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": metadata(params),
        "number": f"{invoice['number']}-CN-{number:02}",
        "out_of_band_amount": None,
        "pdf": f"{invoice['hosted_invoice_url']}#{id_}",
        "pretax_credit_amounts": [],
        "reason": reason,
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "voided_at": None,
    }


def _reduce(account: Account, invoice: Thing, note: Thing, params: Thing) -> None:
    """Reduce an unpaid invoice. When nothing remains to be paid, it is paid. Raises Refused."""
    for name in (*PARTS, "refunds"):
        if name in params:
            raise Refused(f"You cannot pass {name} for an invoice that is not paid.", param=name)
    amount = note["amount"]
    if amount > invoice["amount_remaining"]:
        message = f"The credit note exceeds what remains to be paid ({invoice['amount_remaining']})."
        raise Refused(message, param="amount")
    note.update(type="pre_payment", pre_payment_amount=amount, post_payment_amount=0)
    account.emit("credit_note.created", account.save(note))
    before = copy.deepcopy(invoice)
    invoice["amount_due"] -= amount
    invoice["amount_remaining"] -= amount
    invoice["pre_payment_credit_notes_amount"] += amount
    account.emit("invoice.updated", account.save(invoice), before)
    if not invoice["amount_remaining"]:
        collection.settle(account, invoice)
        unpaid.resolve(account, invoice)


def _return(account: Account, invoice: Thing, note: Thing, params: Thing) -> None:
    """Return money of a paid invoice: as refunds, as customer balance, or outside of Stripe. Raises Refused."""
    amount = note["amount"]
    refunded, credited, outside = (whole(params, name, 0) for name in PARTS)
    linked = [_linked(account, invoice, given) for given in params.get("refunds") or []]
    if refunded + credited + outside + sum(part["amount_refunded"] for part in linked) != amount:
        message = (
            "The sum of credit amount, refund amount, out of band amount and refunds must equal the credit note "
            f"amount ({amount})."
        )
        raise Refused(message, param="amount")
    note.update(type="post_payment", pre_payment_amount=0, post_payment_amount=amount)
    note["out_of_band_amount"] = outside or None
    if refunded:
        charge = account.need("charge", invoice["_charge"], "refund_amount")
        refund = refunds.create(account, charge, refunded)
        linked = [*linked, _part(refund["id"], refunded)]
    note["refunds"] = linked
    if credited:
        customer = account.need("customer", invoice["customer"])
        invoices.set_balance(account, customer, customer["balance"] - credited, invoice["currency"])
        note["customer_balance_transaction"] = new_id("cbtxn")
    account.emit("credit_note.created", account.save(note))
    before = copy.deepcopy(invoice)
    invoice["post_payment_credit_notes_amount"] += amount
    account.emit("invoice.updated", account.save(invoice), before)


def _linked(account: Account, invoice: Thing, given: Thing) -> Thing:
    """A refund that was made before, and is linked to the credit note. Raises Refused."""
    refund = account.need("refund", given.get("refund", ""), "refunds[0][refund]")
    if refund["charge"] != invoice["_charge"]:
        raise Refused("The refund is not one of the invoice's payment.", param="refunds[0][refund]")
    amount = whole(given, "amount_refunded", refund["amount"], 1)
    if amount > refund["amount"]:
        raise Refused("The amount exceeds the refund.", param="refunds[0][amount_refunded]")
    return _part(refund["id"], amount)


def _part(refund: str, amount: int) -> Thing:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": refund, "type": "refund"}
