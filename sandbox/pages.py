"""The sandbox's pages: the start, the providers' payment pages, and the portal where things go wrong.

Plain forms: they work without JavaScript. Every page says that no money moves.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from models import clock, durations, money
from sandbox import paypal_payments, stripe_checkout
from sandbox.account import DELIVERIES, Account, Refused
from sandbox.actions import act, offered
from sandbox.control import SHAPES, send_event_again, set_ways
from sandbox.paypal_payments import CAPTURE, DISPUTE, ORDER

if TYPE_CHECKING:
    from sandbox.server import Sandbox

blueprint = Blueprint("pages", __name__)
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)
MOST_SHOWN = 50
KINDS = ("charge", "subscription", "invoice", "refund", "dispute", CAPTURE, DISPUTE)


def _sandbox() -> Sandbox:
    sandbox: Sandbox = current_app.config["SANDBOX"]
    return sandbox


@blueprint.app_template_filter("price")
def price(minor: int, currency: str) -> str:
    """9.99 USD"""
    return f"{money.to_amount(minor, currency)} {currency.upper()}"


@blueprint.app_template_filter("moment")
def moment(seconds: float) -> str:
    """A time of the sandbox as people read it."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y, %H:%M} UTC"


@blueprint.app_context_processor
def common() -> dict[str, Any]:
    """What every page shows."""
    return {"sandbox_time": clock.now().timestamp(), "scrip": _sandbox().receiver, "offered": offered}


@blueprint.app_errorhandler(Refused)
def refused(error: Refused) -> tuple[str, int]:
    """What cannot be done is said on a page of its own."""
    return render_template("message.html", title="That did not work", text=error.message), error.status


@blueprint.get("/")
def index() -> str:
    """Where to begin."""
    return render_template("index.html", apps=_sandbox().apps())


# --- Stripe's checkout page


@blueprint.get("/checkout/<id_>")
def checkout(id_: str) -> str:
    """What is bought, and the ways to pay."""
    with _account_of("checkout.session", id_) as account:
        session = account.need("checkout.session", id_)
        return render_template("checkout.html", app=account.name, session=session, said=request.args.get("said"))


@blueprint.post("/checkout/<id_>")
def pay(id_: str) -> AnyResponse:
    """What the buyer chose."""
    how = request.form.get("how", "pay")
    with _account_of("checkout.session", id_) as account:
        session = account.need("checkout.session", id_)
        if how == "cancel":
            return _leave(session["cancel_url"], id_)
        if how == "decline":
            stripe_checkout.decline(account, session)
            return redirect(f"{request.path}?said=declined", 303)
        if request.form.get("code"):
            stripe_checkout.promote(account, session, request.form["code"])
        email = request.form.get("email", "").strip()[:200] or None
        (stripe_checkout.pay_later if how == "later" else stripe_checkout.pay)(account, session, email)
        return _leave(session["success_url"], id_)


def _leave(address: str | None, session_id: str) -> AnyResponse:
    """Back to the app's site; only to where a browser may be sent."""
    if not address or urlsplit(address).scheme not in ("http", "https"):
        return Response(render_template("message.html", title="Done", text="You can close this page."))
    return redirect(address.replace("{CHECKOUT_SESSION_ID}", session_id), 303)


def _account_of(kind: str, id_: str) -> Any:
    name = _sandbox().store.owner(kind, id_)
    if name is None:
        abort(404)
    return _sandbox().account(name)


# --- PayPal's approval page


@blueprint.get("/paypal/approve/<id_>")
def approval(id_: str) -> str:
    """What is bought, and whether the buyer agrees."""
    with _account_of(ORDER, id_) as account:
        return render_template("approve.html", app=account.name, order=account.need(ORDER, id_))


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
        paypal_payments.approve(account, order, how)
        return _leave_paypal(order["_return_url"], {"token": id_, "PayerID": order["payer"]["payer_id"]})


def _leave_paypal(address: str | None, told: dict[str, str]) -> AnyResponse:
    joint = "&" if address and urlsplit(address).query else "?"
    return _leave(f"{address}{joint}{urlencode(told)}" if address else None, "")


# --- the portal


@blueprint.get("/portal")
def portals() -> str:
    """The accounts."""
    return render_template("portals.html", apps=_sandbox().apps())


@blueprint.get("/portal/<app>")
def portal(app: str) -> str:
    """All of an account, and what can happen to it."""
    with _sandbox().account(app) as account:
        shown = {kind: account.each(kind)[:MOST_SHOWN] for kind in KINDS}
        transfers = [it for it in account.each("checkout.session") if "_settles_at" in it]
        events = _events(account)
        return render_template(
            "portal.html",
            app=app,
            shown=shown,
            transfers=transfers,
            events=events,
            ways=account.ways,
            deliveries=DELIVERIES,
            shapes=SHAPES,
        )


def _events(account: Account) -> list[dict[str, Any]]:
    columns = ("number", "id", "type", "created", "state", "tries", "answer")
    rows = account.store.rows(
        f"SELECT {', '.join(columns)} FROM event WHERE account = ? ORDER BY number DESC LIMIT ?",
        *(account.name, MOST_SHOWN),
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


@blueprint.post("/portal/<app>")
def do(app: str) -> AnyResponse:
    """One button of the portal."""
    form = request.form
    with _sandbox().account(app) as account:
        act(account, form.get("action", ""), form.get("id", ""), form.get("amount", "").strip())
    return redirect(f"/portal/{quote(app)}", 303)


@blueprint.post("/portal/<app>/deliver")
def deliver(app: str) -> AnyResponse:
    """How the account's events go out from now on."""
    set_ways(app, request.form.to_dict())
    return redirect(f"/portal/{quote(app)}", 303)


@blueprint.post("/portal/<app>/send")
def send_again(app: str) -> AnyResponse:
    """Send an event again, or one that was swallowed."""
    with _sandbox().account(app) as account:
        send_event_again(account, request.form.get("id", ""))
    return redirect(f"/portal/{quote(app)}", 303)


@blueprint.post("/clock")
def move_clock() -> AnyResponse:
    """Move the sandbox's time forward, as `manage.py sandbox clock` does."""
    _advance(request.form.get("advance", ""))
    back = request.form.get("back", "/")
    return redirect(back if back.startswith("/") and not back.startswith("//") else "/", 303)


def _advance(text: str) -> datetime:
    try:
        by: timedelta = durations.parse(text.lstrip("+"))
    except ValueError as error:
        raise Refused(f"The duration {error}.", param="advance") from None
    if clock.now() + by > LATEST:
        raise Refused(f"The clock moves up to the year {LATEST.year}.", param="advance")
    return clock.advance(by)
