"""The sandbox's start page, the providers' payment pages, and the clock.

Forms work without JavaScript. Every page says that no money moves.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from models import clock, durations
from sandbox import formatting
from sandbox.context import current
from sandbox.pages import errors
from sandbox.paypal import orders
from sandbox.paypal.objects import ORDER
from sandbox.store.account import Refused
from sandbox.store.store import Thing
from sandbox.stripe.checkout import completion, sessions

blueprint = Blueprint("pages", __name__)
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)


@blueprint.app_context_processor
def common() -> dict[str, Any]:
    """Variables of every page."""
    sandbox = current()
    return {"sandbox_time": clock.now().timestamp(), "scrip": sandbox.receiver, "app_name": sandbox.name_of}


@blueprint.get("/")
def index() -> str:
    """The start page."""
    return render_template("index.html", apps=current().apps())


# --- Stripe's checkout page


@blueprint.get("/checkout/<id_>")
def checkout(id_: str) -> str:
    """Stripe's checkout page: what is bought, and the ways to pay."""
    return _checkout_page(id_)


def _checkout_page(id_: str, refusal: Refused | None = None) -> str:
    """The page; after a rejected action with its error and the values that were typed."""
    with _account_of("checkout.session", id_) as account:
        session = account.need("checkout.session", id_)
        return render_template(
            "checkout.html",
            app=account.name,
            session=session,
            lines=[_line(line) for line in session["_lines"]],
            said=request.args.get("said"),
            refusal=refusal,
            typed=request.form,
        )


def _line(line: Thing) -> Thing:
    """A line of the page: what is sold, the price, the interval."""
    recurring = line["price"]["recurring"]
    often = formatting.every(recurring["interval"], recurring["interval_count"]) if recurring else ""
    return {"sold": sessions.describe(line), "minor": line["amount_total"], "often": often}


@blueprint.post("/checkout/<id_>")
def pay(id_: str) -> AnyResponse | tuple[str, int]:
    """Do what the buyer chose. An error is shown on the checkout page."""
    try:
        return _pay(id_)
    except Refused as error:
        return _checkout_page(id_, error), error.status


def _pay(id_: str) -> AnyResponse:
    how = request.form.get("how", "pay")
    with _account_of("checkout.session", id_) as account:
        session = account.need("checkout.session", id_)
        if how == "cancel":
            return _leave(session["cancel_url"], id_)
        if how == "decline":
            completion.decline(account, session)
            return redirect(f"{request.path}?said=declined", 303)
        if request.form.get("code", "").strip():
            completion.promote(account, session, request.form["code"])
        email = request.form.get("email", "").strip()[:200] or None
        (completion.pay_later if how == "later" else completion.pay)(account, session, email)
        return _leave(session["success_url"], id_)


def _leave(address: str | None, session_id: str) -> AnyResponse:
    """Redirect to the app's site; to HTTP and HTTPS addresses only."""
    if not address or urlsplit(address).scheme not in ("http", "https"):
        return Response(render_template("message.html", title="Done", text="You can close this page.", back="/"))
    return redirect(address.replace("{CHECKOUT_SESSION_ID}", session_id), 303)


def _account_of(kind: str, id_: str) -> Any:
    name = current().store.owner(kind, id_)
    if name is None:
        abort(404)
    return current().account(name)


# --- PayPal's approval page


@blueprint.get("/paypal/approve/<id_>")
def approval(id_: str) -> str:
    """PayPal's approval page: what is bought, and the ways to pay."""
    with _account_of(ORDER, id_) as account:
        order = account.need(ORDER, id_)
        back = paypal_address(order["_return_url"], {"token": id_})
        return render_template("approve.html", app=account.name, order=order, back=back)


@blueprint.post("/paypal/approve/<id_>")
def approve(id_: str) -> AnyResponse:
    """Do what the buyer chose."""
    how = request.form.get("how", "COMPLETED")
    with _account_of(ORDER, id_) as account:
        order = account.need(ORDER, id_)
        if how == "cancel":
            return leave_paypal(order["_cancel_url"], {"token": id_})
        if how not in ("COMPLETED", "PENDING", "DECLINED", "INSTRUMENT"):
            raise Refused(f"Unknown payment method: {how[:50]}.")
        orders.approve(account, order, how)
        return leave_paypal(order["_return_url"], {"token": id_, "PayerID": order["payer"]["payer_id"]})


def leave_paypal(address: str | None, query: dict[str, str]) -> AnyResponse:
    """Redirect to the app's site with the parameters that PayPal adds."""
    return _leave(paypal_address(address, query), "")


def paypal_address(address: str | None, query: dict[str, str]) -> str | None:
    """The app's address with the parameters that PayPal adds."""
    joint = "&" if address and urlsplit(address).query else "?"
    return f"{address}{joint}{urlencode(query)}" if address else None


# --- the clock


@blueprint.post("/clock")
def move_clock() -> AnyResponse:
    """Move the sandbox clock forward, as `manage.py sandbox clock` does."""
    _advance(request.form.get("advance", ""))
    return redirect(errors.came_from(), 303)


def _advance(text: str) -> datetime:
    if text.startswith("-"):
        raise Refused("The clock only moves forward.", param="advance")
    try:
        by: timedelta = durations.parse(text.lstrip("+"))
    except ValueError as error:
        raise Refused(f"The duration {error}.", param="advance") from None
    if clock.now() + by > LATEST:
        raise Refused(f"The clock cannot move past the year {LATEST.year}.", param="advance")
    return clock.advance(by)
