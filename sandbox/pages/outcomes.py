"""The state of a shop's payment, for the page that the buyer returns to."""

from __future__ import annotations

from sandbox import formatting
from sandbox.paypal.objects import CAPTURE, ORDER
from sandbox.store.account import Account
from sandbox.store.store import Thing

# The page reloads in these states, because they can change by themselves.
MOVING = ("paid", "waiting", "later")
UNPAID_ORDERS = ("CREATED", "PAYER_ACTION_REQUIRED")


def of(account: Account, id_: str) -> tuple[str, Thing | None]:
    """The state of a checkout session or an order, and its details: settlement time, payment page and price.

    "open", "expired", "waiting" (approved, not captured yet), "paid", "later" (on its way), "failed" (transfer or
    eCheck failed), "declined"; "unknown" if the account has no such object.
    """
    session = account.get("checkout.session", id_)
    if session:
        return _of_session(session), _details_of_session(session)
    order = account.get(ORDER, id_)
    if order:
        return _of_order(account, order)
    return "unknown", None


def _details_of_session(session: Thing) -> Thing:
    """`price` is what is paid now: reduced by a promotion, nothing during a trial."""
    is_trial = session["mode"] == "subscription" and session["_trial_days"]
    minor = 0 if is_trial else session["amount_total"]
    return {
        "settles_at": session.get("_settles_at"),
        "pay": f"/checkout/{session['id']}",
        "price": formatting.price(minor, session["currency"]),
        "is_whole": minor == session["amount_subtotal"],
        "is_free": minor == 0,
    }


def _of_session(session: Thing) -> str:
    if session["status"] != "complete":
        return str(session["status"])
    if session["payment_status"] != "unpaid":
        return "paid"
    return "later" if "_settles_at" in session else "failed"


def _of_order(account: Account, order: Thing) -> tuple[str, Thing]:
    amount = order["purchase_units"][0]["amount"]
    price = formatting.decimal_price(amount["value"], amount["currency_code"])
    details: Thing = {"pay": f"/paypal/approve/{order['id']}", "settles_at": None, "price": price, "is_whole": True}
    if order["status"] in UNPAID_ORDERS:
        return "open", details
    if order["status"] == "APPROVED":
        return "declined" if order["_outcome"] == "INSTRUMENT" else "waiting", details
    listed = order["purchase_units"][0]["payments"]["captures"][0]
    capture = account.need(CAPTURE, listed["id"])
    details["settles_at"] = capture.get("_settles_at")
    return _of_capture(capture["status"], order["_outcome"]), details


def _of_capture(status: str, outcome: str) -> str:
    if status == "PENDING":
        return "later"
    if status == "DECLINED":
        return "failed" if outcome == "PENDING" else "declined"
    return "paid"
