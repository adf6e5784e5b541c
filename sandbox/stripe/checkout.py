"""Stripe's Checkout Sessions: created by the API, completed on the checkout page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import payments, prices, subscriptions
from sandbox.stripe.forms import flag, metadata, whole

LIFE_SECONDS = 24 * 3600
TRANSFER_SECONDS = 3 * 86400
# The promotion codes of the page, and their discounts in percent.
PROMOTIONS = {"HALF": 50, "FREE": 100}


def create(account: Account, params: Thing, url: str) -> Thing:
    """Create a session from the API's parameters; its page is below `url`. Raises Refused."""
    mode = params.get("mode")
    if mode not in ("payment", "subscription"):
        raise Refused(f"Invalid mode: must be payment or subscription, not {mode}", param="mode")
    lines = [_line(account, given, mode, number) for number, given in enumerate(_lines(params))]
    if params.get("customer"):
        account.need("customer", params["customer"], "customer")
    id_ = new_id("cs_test")
    return account.save(
        {
            **_session(account, id_, lines),
            **_chosen(params),
            "mode": mode,
            "url": f"{url}/checkout/{id_}",
            "_lines": lines,
        }
    )


def _session(account: Account, id_: str, lines: list[Thing]) -> Thing:
    """An open session for the lines."""
    amount = sum(line["amount_total"] for line in lines)
    return {
        "id": id_,
        "object": "checkout.session",
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "created": account.now,
        "currency": lines[0]["currency"],
        "customer_details": None,
        "expires_at": account.now + LIFE_SECONDS,
        "invoice": None,
        "livemode": False,
        "locale": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "setup_intent": None,
        "status": "open",
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }


def _chosen(params: Thing) -> Thing:
    """The fields of a session that the API's parameters set. Raises Refused."""
    return {
        "allow_promotion_codes": flag(params, "allow_promotion_codes"),
        "cancel_url": _address(params, "cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "customer": params.get("customer"),
        "customer_email": params.get("customer_email"),
        "metadata": metadata(params),
        "success_url": _address(params, "success_url"),
        "_payment_metadata": metadata(params, "payment_intent_data"),
        "_subscription_metadata": metadata(params, "subscription_data"),
        "_trial_days": whole(params.get("subscription_data") or {}, "trial_period_days", 0),
    }


def _lines(params: Thing) -> list[Thing]:
    lines = params.get("line_items")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
        raise Refused("You must pass line_items.", code="parameter_missing", param="line_items")
    return lines


def _line(account: Account, given: Thing, mode: str, number: int) -> Thing:
    param = f"line_items[{number}]"
    quantity = whole(given, "quantity", 1, 1)
    price = prices.chosen(account, given, param)
    if (mode == "subscription") != (price["type"] == "recurring"):
        raise Refused(f"A {price['type']} price does not fit mode {mode}.", param=f"{param}[price]")
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": price["_name"],
        "price": price,
        "quantity": quantity,
    }


def _address(params: Thing, name: str) -> str | None:
    """An HTTP or HTTPS address to redirect the browser to, or None. Raises Refused."""
    address = params.get(name)
    if address is None:
        return None
    if (
        not isinstance(address, str)
        or urlsplit(address).scheme not in ("http", "https")
        or not urlsplit(address).netloc
    ):
        raise Refused("Not a valid URL", code="url_invalid", param=name)
    return address


def describe(line: Thing) -> str:
    """What a line sells; with the quantity if it is more than one."""
    return str(line["description"]) if line["quantity"] == 1 else f"{line['quantity']} × {line['description']}"


def line_items(session: Thing) -> list[Thing]:
    """The session's line items."""
    return list(session["_lines"])


# --- the actions of the page


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
    elif session["amount_total"]:
        payments.succeed(account, _intent(account, session))
    account.emit("checkout.session.completed", account.save(session))


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
        payments.succeed(account, intent)
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
    address = session["customer_email"] or email or None
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
    intent["_sold"] = ", ".join(describe(line) for line in session["_lines"])
    session["payment_intent"] = intent["id"]
    account.save(session)
    return account.save(intent)
