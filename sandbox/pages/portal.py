"""The seller's portal: an account's payments and subscriptions, the actions on each, the delivery of its events.

The customers' page is another one (`billing`).
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import scrip
from sandbox.context import current
from sandbox.control.actions import act
from sandbox.control.api import SHAPES, send_event_again, set_ways
from sandbox.pages import cards, errors
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.paypal.objects import CAPTURE
from sandbox.store.account import DELIVERIES, Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import portal_sessions
from sandbox.stripe.billing.changes import PRORATIONS

blueprint = Blueprint("portal", __name__)
# The paginated sections, and the page size of each.
SECTIONS = {"payments": 10, "subscriptions": 10, "events": 10}
KEPT = ("customer", *SECTIONS)
LAST_PAGE = 10**6
ALL = -1
PRORATION_LABELS = {
    "create_prorations": "billed with the next invoice",
    "always_invoice": "billed at once",
    "none": "not billed for this period",
}


@blueprint.get("/portal")
def portals() -> str:
    """The list of accounts."""
    return render_template("portals.html", apps=current().apps())


@blueprint.get("/portal/<app>")
def portal(app: str) -> str:
    """An account's payments, subscriptions and events; with `customer`, that customer's only."""
    return _render(app)


def _render(app: str, refusal: Refused | None = None) -> str:
    """The portal; after a rejected action with its error on the card and the values that were typed."""
    expect_app(app)
    with current().account(app) as account:
        pages = {name: _page(account, name) for name in SECTIONS}
        ways = account.ways
    shown = [card for name in ("payments", "subscriptions") for card in pages[name]["found"]]
    customers = dict.fromkeys(card["customer"] for card in shown if card["customer"])
    return render_template(
        "portal.html",
        app=app,
        pages=pages,
        balances=scrip.balances(current().receiver, app, customers),
        ways=ways,
        deliveries=DELIVERIES,
        shapes=SHAPES,
        prorations=[(way, PRORATION_LABELS[way]) for way in PRORATIONS],
        customer=_customer(),
        here=f"/portal/{quote(app)}{_query()}",
        query=_query(),
        refusal=refusal,
        typed=request.form,
        is_shown=any(_has(card, request.form.get("id")) for card in shown),
    )


def _has(card: Thing, id_: str | None) -> bool:
    """Whether the card or one of its parts shows the object."""
    return card["id"] == id_ or any(_has(part, id_) for part in card["parts"])


def _customer() -> str | None:
    """The customer to show; None for all."""
    return request.args.get("customer", "").strip() or None


def _kept(*without: str) -> dict[str, str]:
    """The page's query parameters: page numbers and the customer."""
    return {name: request.args[name] for name in KEPT if request.args.get(name) and name not in without}


def expect_app(app: str) -> None:
    """Raises Refused unless the catalog or an account has the app."""
    apps = current().apps()
    if app not in apps:
        raise Refused(f"There is no app “{app}”.", status=404, hint=f"There are {', '.join(apps)}.")


def _query() -> str:
    return f"?{urlencode(_kept())}" if _kept() else ""


# --- page by page


def _page(account: Account, name: str) -> Thing:
    """One page of a section: `found`, `number`, `last`, `total`, and the addresses of the `newer` and `older` page."""
    size, total = SECTIONS[name], COUNTS[name](account)
    last = max(1, -(-total // size))
    number = min(_number(name), last)
    return {
        "found": FINDERS[name](account, (number - 1) * size, size),
        "number": number,
        "last": last,
        "total": total,
        "newer": _address(name, number - 1) if number > 1 else None,
        "older": _address(name, number + 1) if number < last else None,
    }


def _number(name: str) -> int:
    given = request.args.get(name, "1")
    return min(max(1, int(given)), LAST_PAGE) if given.isascii() and given.isdigit() and len(given) < 10 else 1


def _address(name: str, number: int) -> str:
    return f"?{urlencode({**_kept(name), name: number})}#{name}"


def _payments(account: Account, start: int, size: int) -> list[Thing]:
    if _customer() is None:
        found = account.store.payments(account.name, CAPTURE, start, size)
    else:
        found = _payments_of_customer(account)[start : start + size]
    return [cards.of(account, kind, thing) for kind, thing in found]


def _count_of_payments(account: Account) -> int:
    if _customer() is None:
        return account.store.count_payments(account.name, CAPTURE)
    return len(_payments_of_customer(account))


def _payments_of_customer(account: Account) -> list[tuple[str, Thing]]:
    """Reads all payments: each kind names its customer in another field."""
    found = account.store.payments(account.name, CAPTURE, 0, ALL)
    return [(kind, thing) for kind, thing in found if cards.customer_of(account, kind, thing) == _customer()]


def _subscriptions(account: Account, start: int, size: int) -> list[Thing]:
    found = _subscriptions_of_customer(account)[start : start + size]
    return [cards.of(account, kind, subscription) for kind, subscription in found]


def _subscriptions_of_customer(account: Account) -> list[tuple[str, Thing]]:
    """Stripe's subscriptions, then PayPal's, each the newest first."""
    customer = _customer()
    return [
        (kind, subscription)
        for kind in ("subscription", SUBSCRIPTION)
        for subscription in account.each(kind)
        if customer in (None, cards.customer_of(account, kind, subscription))
    ]


def _events(account: Account, start: int, size: int) -> list[Thing]:
    return account.store.events.page(account.name, start, size)


def _count_of_events(account: Account) -> int:
    return account.store.events.count(account.name)


COUNTS = {
    "payments": _count_of_payments,
    "subscriptions": lambda account: len(_subscriptions_of_customer(account)),
    "events": _count_of_events,
}
FINDERS = {"payments": _payments, "subscriptions": _subscriptions, "events": _events}


# --- the buttons


@blueprint.post("/portal/<app>")
def do(app: str) -> AnyResponse | tuple[str, int]:
    """Do an action of the portal. An error is shown on the object's card."""
    expect_app(app)
    fields = {name: value.strip() for name, value in request.form.items()}
    try:
        with current().account(app) as account:
            act(account, fields.get("action", ""), fields.get("id", ""), fields)
    except Refused as error:
        return _render(app, error), error.status
    return _back(app, fields.get("place", ""))


@blueprint.post("/portal/<app>/deliver")
def deliver(app: str) -> AnyResponse:
    """Set the delivery of the account's future events."""
    expect_app(app)
    set_ways(app, request.form.to_dict())
    return _back(app, "delivery")


@blueprint.post("/portal/<app>/billing")
def open_billing(app: str) -> AnyResponse:
    """Open the billing page of a customer, as an app does with a portal session."""
    expect_app(app)
    asked = {"customer": request.form.get("customer", ""), "return_url": f"{current().url}/portal/{quote(app)}"}
    with current().account(app) as account:
        session = portal_sessions.create(account, asked)
    return redirect(session["url"], 303)


@blueprint.post("/portal/<app>/send")
def send_again(app: str) -> AnyResponse:
    """Send an event again, or a swallowed one for the first time."""
    expect_app(app)
    with current().account(app) as account:
        send_event_again(account, request.form.get("id", ""))
    return _back(app, "events")


def _back(app: str, place: str) -> AnyResponse:
    """Redirect to the page of the button, at the object's card."""
    came_from, here = errors.came_from(), f"/portal/{quote(app)}"
    is_known = not _kept() and came_from.partition("?")[0] == here
    page = came_from if is_known else here + _query()
    return redirect(f"{page}#{quote(place)}", 303)
