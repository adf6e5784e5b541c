"""What happens on Stripe's checkout page: promotion codes, payment, declined cards, bank transfers and expiry."""

from __future__ import annotations

from typing import Any

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import customers, payments
from sandbox.stripe.billing import collection, invoices, lines, subscriptions
from sandbox.stripe.checkout import sessions

TRANSFER_SECONDS = 3 * 86400
# The promotion codes of the page, and their discounts in percent.
PROMOTIONS = {"HALF": 50, "FREE": 100}


def promote(account: Account, session: Thing, code: str) -> None:
    """Apply a promotion code. Raises Refused if it is unknown."""
    percent = PROMOTIONS.get(code.strip().upper())
    if percent is None or not session["allow_promotion_codes"]:
        known = " and ".join(PROMOTIONS)
        raise Refused(f"Unknown promotion code: {code[:50]}. The sandbox accepts {known}.", param="code")
    discount = session["amount_subtotal"] * percent // 100
    session["total_details"]["amount_discount"] = discount
    session["amount_total"] = session["amount_subtotal"] - discount
    account.save(session)


def pay(account: Account, session: Thing, email: str | None = None) -> None:
    """Complete the session as paid by card. Raises Refused if it is not open."""
    _expect_open(session)
    _complete(account, session, email)
    session["payment_status"] = "paid" if session["amount_total"] else "no_payment_required"
    if session["mode"] == "subscription":
        subscriptions.begin(account, session)
    else:
        _pay_once(account, session)
    account.emit("checkout.session.completed", account.save(session))


def _pay_once(account: Account, session: Thing) -> None:
    """Charge the buyer of packs; the customer and the invoice are created if the session asks for them."""
    if session["customer_creation"] == "always":
        session["customer"] = customers.of_session(account, session)["id"]
    charge = payments.succeed(account, _intent(account, session)) if session["amount_total"] else None
    _invoice_once(account, session, charge)


def _invoice_once(account: Account, session: Thing, charge: Thing | None) -> None:
    """Create the paid invoice of a session with `invoice_creation`."""
    wanted = session["invoice_creation"]
    if not wanted["enabled"]:
        return
    customer = customers.of_session(account, session)
    sold = [lines.sold_once(line, None, account.now) for line in session["_lines"]]
    discount = session["total_details"]["amount_discount"]
    invoice = invoices.draft_of_purchase(account, customer, session["currency"], sold, discount)
    data = wanted["invoice_data"]
    invoice.update(metadata=data["metadata"], description=data["description"])
    session.update(customer=customer["id"], invoice=invoice["id"])
    account.emit("invoice.created", account.save(invoice))
    invoices.finalize(account, invoice)
    if charge:
        invoice.update(_intent=charge["payment_intent"], _charge=charge["id"])
        charge["_invoice"] = invoice["id"]
        account.save(charge)
    collection.settle(account, invoice)


def pay_later(account: Account, session: Thing, email: str | None = None) -> None:
    """Complete the session by bank transfer, which is due three days of sandbox time later. Raises Refused."""
    _expect_open(session)
    if session["mode"] != "payment" or not session["amount_total"]:
        raise Refused("Only packs with a price above zero can be paid by bank transfer.")
    _complete(account, session, email)
    intent = _intent(account, session)
    intent["status"] = "processing"
    account.save(intent)
    session["_settles_at"] = account.now + TRANSFER_SECONDS
    account.emit("payment_intent.processing", intent)
    account.emit("checkout.session.completed", account.save(session))


def settle(account: Account, session: Thing, *, arrived: bool = True) -> None:
    """Settle a pending bank transfer: it arrived, or it failed. Raises Refused if none is pending."""
    if "_settles_at" not in session:
        raise Refused("No bank transfer is pending.")
    del session["_settles_at"]
    intent = account.need("payment_intent", session["payment_intent"])
    if arrived:
        _invoice_once(account, session, payments.succeed(account, intent))
        session["payment_status"] = "paid"
    else:
        payments.fail(account, intent, "bank_transfer_failed")
    outcome = "succeeded" if arrived else "failed"
    account.emit(f"checkout.session.async_payment_{outcome}", account.save(session))


def decline(account: Account, session: Thing) -> None:
    """Decline the card. The session stays open. Raises Refused if it is not open."""
    _expect_open(session)
    if session["mode"] == "payment" and session["amount_total"]:
        payments.fail(account, _intent(account, session))
        session["_intent"], session["payment_intent"] = session["payment_intent"], None
        account.save(session)


def expire(account: Account, session: Thing) -> Thing:
    """Expire the session. Raises Refused if it is not open."""
    _expect_open(session)
    session.update(status="expired", url=None)
    account.emit("checkout.session.expired", account.save(session))
    return session


def _expect_open(session: Thing) -> None:
    if session["status"] != "open":
        raise Refused(f"This checkout session is {session['status']}.")


def _complete(account: Account, session: Thing, email: str | None) -> None:
    customer = account.need("customer", session["customer"]) if session["customer"] else {}
    address = session["customer_email"] or customer.get("email") or email or None
    details: Thing = {
        "address": None,
        "email": address,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    session.update(status="complete", url=None, customer_details=details)
    account.save(session)


def _intent(account: Account, session: Thing) -> Thing:
    """The session's payment intent; the one of a declined card is reused."""
    if session.get("_intent"):
        intent = account.need("payment_intent", session["_intent"])
    else:
        meta: dict[str, Any] = session["_payment_metadata"]
        intent = payments.new_intent(account, session["amount_total"], session["currency"], meta)
    email = (session["customer_details"] or {}).get("email")
    intent.update(amount=session["amount_total"], customer=session["customer"], receipt_email=email)
    intent["_sold"] = ", ".join(sessions.describe(line) for line in session["_lines"])
    session["payment_intent"] = intent["id"]
    account.save(session)
    return account.save(intent)
