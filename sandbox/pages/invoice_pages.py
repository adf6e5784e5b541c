"""The page of a Stripe invoice (`hosted_invoice_url`): its lines, and the ways to pay an open one."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import formatting
from sandbox.context import current
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe.billing import invoices, unpaid

blueprint = Blueprint("invoices", __name__)


@blueprint.get("/invoice/<id_>")
def invoice(id_: str) -> str:
    """An invoice: what is billed, and how it can be paid."""
    return _page(id_)


def _page(id_: str, refusal: Refused | None = None) -> str:
    app = _app_of(id_)
    with current().account(app) as account:
        found = account.need("invoice", id_)
        return render_template(
            "invoice.html",
            app=app,
            invoice=found,
            lines=[_line(line) for line in found["lines"]["data"]],
            is_open=found["status"] in invoices.UNPAID,
            refusal=refusal,
            back=_back(),
        )


def _line(line: Thing) -> Thing:
    period = line["period"]
    is_period = period["start"] != period["end"]
    when = f"{formatting.day(period['start'])} to {formatting.day(period['end'])}" if is_period else ""
    return {"sold": line["description"], "minor": line["amount"], "when": when}


def _app_of(id_: str) -> str:
    name = current().store.owner("invoice", id_)
    if name is None:
        abort(404)
    return name


def _back() -> str | None:
    """The billing page that linked here, or None."""
    session = request.args.get("session", "")
    known = session and current().store.owner("billing_portal.session", session)
    return f"/billing/{session}" if known else None


@blueprint.post("/invoice/<id_>")
def pay(id_: str) -> AnyResponse | tuple[str, int]:
    """Pay the invoice, or let the card be declined. An error is shown on the page."""
    how = request.form.get("how", "pay")
    refusal: Refused | None = None
    try:
        with current().account(_app_of(id_)) as account:
            found = account.need("invoice", id_)
            if how == "decline":
                unpaid.decline(account, found)
                refusal = unpaid.Declined()
            else:
                refusal = _pay(account, found)
    except Refused as error:
        refusal = error
    if refusal:
        return _page(id_, refusal), refusal.status
    return redirect(_back() or request.path, 303)


def _pay(account: Account, found: Thing) -> Refused | None:
    """Pay the invoice. A declined card is returned, not raised: its events are kept."""
    try:
        unpaid.pay(account, found)
    except unpaid.Declined as error:
        return error
    return None
