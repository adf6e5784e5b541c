"""The sandbox's pages: the start, the providers' payment pages, and the clock.

Plain forms: they work without JavaScript. Every page says that no money moves.
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
from sandbox.stripe import checkout as stripe_checkout

blueprint = Blueprint("pages", __name__)
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)


@blueprint.app_context_processor
def common() -> dict[str, Any]:
    """What every page shows."""
    sandbox = current()
    return {"sandbox_time": clock.now().timestamp(), "scrip": sandbox.receiver, "app_name": sandbox.name_of}


@blueprint.get("/")
def index() -> str:
    """Where to begin."""
    return render_template("index.html", apps=current().apps())


# --- Stripe's checkout page


@blueprint.get("/checkout/<id_>")
def checkout(id_: str) -> str:
    """What is bought, and the ways to pay."""
    return _checkout_page(id_)


def _checkout_page(id_: str, refusal: Refused | None = None) -> str:
    """The page; after a refusal with what it said, and with what had been typed."""
    with _account_of("checkout.session", id_) as account:
        session = account.need("checkout.session", id_)
        return render_template(
            "checkout.html",
            app=account.name,
            session=session,
            lines=[_worded(line) for line in session["_lines"]],
            said=request.args.get("said"),
            refusal=refusal,
            typed=request.form,
        )


def _worded(line: Thing) -> Thing:
    """A line for people: what it is, what it costs, how often."""
    recurring = line["price"]["recurring"]
    often = formatting.every(recurring["interval"], recurring["interval_count"]) if recurring else ""
    return {"sold": stripe_checkout.worded_line(line), "minor": line["amount_total"], "often": often}


@blueprint.post("/checkout/<id_>")
def pay(id_: str) -> AnyResponse | tuple[str, int]:
    """What the buyer chose. What does not do is said on the page, which stays."""
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
            stripe_checkout.decline(account, session)
            return redirect(f"{request.path}?said=declined", 303)
        if request.form.get("code", "").strip():
            stripe_checkout.promote(account, session, request.form["code"])
        email = request.form.get("email", "").strip()[:200] or None
        (stripe_checkout.pay_later if how == "later" else stripe_checkout.pay)(account, session, email)
        return _leave(session["success_url"], id_)


def _leave(address: str | None, session_id: str) -> AnyResponse:
    """Back to the app's site; only to where a browser may be sent."""
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
    """What is bought, and whether the buyer agrees."""
    with _account_of(ORDER, id_) as account:
        order = account.need(ORDER, id_)
        back = _paypal_address(order["_return_url"], {"token": id_})
        return render_template("approve.html", app=account.name, order=order, back=back)


@blueprint.post("/paypal/approve/<id_>")
def approve(id_: str) -> AnyResponse:
    """What the buyer chose."""
    how = request.form.get("how", "COMPLETED")
    with _account_of(ORDER, id_) as account:
        order = account.need(ORDER, id_)
        if how == "cancel":
            return _leave_paypal(order["_cancel_url"], {"token": id_})
        if how not in ("COMPLETED", "PENDING", "DECLINED", "INSTRUMENT"):
            raise Refused(f"There is no way to pay called {how}.")
        orders.approve(account, order, how)
        return _leave_paypal(order["_return_url"], {"token": id_, "PayerID": order["payer"]["payer_id"]})


def _leave_paypal(address: str | None, told: dict[str, str]) -> AnyResponse:
    return _leave(_paypal_address(address, told), "")


def _paypal_address(address: str | None, told: dict[str, str]) -> str | None:
    """The app's address with what PayPal adds to it."""
    joint = "&" if address and urlsplit(address).query else "?"
    return f"{address}{joint}{urlencode(told)}" if address else None


# --- the clock


@blueprint.post("/clock")
def move_clock() -> AnyResponse:
    """Move the sandbox's time forward, as `manage.py sandbox clock` does."""
    _advance(request.form.get("advance", ""))
    return redirect(errors.came_from(), 303)


def _advance(text: str) -> datetime:
    if text.startswith("-"):
        raise Refused("The clock never goes back.", param="advance")
    try:
        by: timedelta = durations.parse(text.lstrip("+"))
    except ValueError as error:
        raise Refused(f"The duration {error}.", param="advance") from None
    if clock.now() + by > LATEST:
        raise Refused(f"The clock moves up to the year {LATEST.year}.", param="advance")
    return clock.advance(by)
