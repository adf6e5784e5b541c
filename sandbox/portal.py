"""The portal: the payments and subscriptions of an account, what can happen to each, and how its events go out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from flask import Blueprint, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import cards, errors, scrip
from sandbox.account import DELIVERIES, Account, Refused
from sandbox.actions import act
from sandbox.control import SHAPES, send_event_again, set_ways
from sandbox.paypal_payments import CAPTURE
from sandbox.store import Thing

if TYPE_CHECKING:
    from sandbox.server import Sandbox

blueprint = Blueprint("portal", __name__)
# The sections that are shown page by page, and how many of each a page has.
SECTIONS = {"payments": 10, "subscriptions": 10, "events": 10}
LAST_PAGE = 10**6


def _sandbox() -> Sandbox:
    sandbox: Sandbox = current_app.config["SANDBOX"]
    return sandbox


@blueprint.get("/portal")
def portals() -> str:
    """The accounts."""
    return render_template("portals.html", apps=_sandbox().apps())


@blueprint.get("/portal/<app>")
def portal(app: str) -> str:
    """A page of all that an account has, and what can happen to it."""
    expect_app(app)
    with _sandbox().account(app) as account:
        pages = {name: _page(account, name) for name in SECTIONS}
        ways = account.ways
    shown = [card for name in ("payments", "subscriptions") for card in pages[name]["found"]]
    customers = dict.fromkeys(card["customer"] for card in shown if card["customer"])
    return render_template(
        "portal.html",
        app=app,
        pages=pages,
        balances=scrip.balances(_sandbox().receiver, app, customers),
        ways=ways,
        deliveries=DELIVERIES,
        shapes=SHAPES,
    )


def expect_app(app: str) -> None:
    """Raises Refused unless the catalog or an account has the app."""
    apps = _sandbox().apps()
    if app not in apps:
        raise Refused(f"There is no app called “{app}”.", status=404, hint=f"There are {', '.join(apps)}.")


# --- page by page


def _page(account: Account, name: str) -> Thing:
    """One page of a section: `found`, `number`, `last`, `total`, and the addresses of its neighbours."""
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
    others = {other: request.args[other] for other in SECTIONS if other in request.args and other != name}
    return f"?{urlencode({**others, name: number})}#{name}"


def _payments(account: Account, start: int, size: int) -> list[Thing]:
    return [cards.of(account, kind, it) for kind, it in account.store.payments(account.name, CAPTURE, start, size)]


def _subscriptions(account: Account, start: int, size: int) -> list[Thing]:
    found = account.each("subscription")[start : start + size]
    return [cards.of(account, "subscription", it) for it in found]


def _events(account: Account, start: int, size: int) -> list[Thing]:
    columns = ("number", "provider", "id", "type", "created", "state", "tries", "answer")
    rows = account.store.rows(
        f"SELECT {', '.join(columns)} FROM event WHERE account = ? ORDER BY number DESC LIMIT ? OFFSET ?",
        *(account.name, size, start),
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _count_of_events(account: Account) -> int:
    ((number,),) = account.store.rows("SELECT count(*) FROM event WHERE account = ?", account.name)
    return int(number)


COUNTS = {
    "payments": lambda account: account.store.count_payments(account.name, CAPTURE),
    "subscriptions": lambda account: len(account.each("subscription")),
    "events": _count_of_events,
}
FINDERS = {"payments": _payments, "subscriptions": _subscriptions, "events": _events}


# --- the buttons


@blueprint.post("/portal/<app>")
def do(app: str) -> AnyResponse:
    """One button of the portal."""
    form = request.form
    with _sandbox().account(app) as account:
        act(account, form.get("action", ""), form.get("id", ""), form.get("amount", "").strip())
    return _back(app, form.get("place", ""))


@blueprint.post("/portal/<app>/deliver")
def deliver(app: str) -> AnyResponse:
    """How the account's events go out from now on."""
    set_ways(app, request.form.to_dict())
    return _back(app, "delivery")


@blueprint.post("/portal/<app>/send")
def send_again(app: str) -> AnyResponse:
    """Send an event again, or one that was swallowed."""
    with _sandbox().account(app) as account:
        send_event_again(account, request.form.get("id", ""))
    return _back(app, "events")


def _back(app: str, place: str) -> AnyResponse:
    """To the page that the button was on, and the place on it."""
    came_from = errors.came_from()
    here = f"/portal/{quote(app)}"
    page = came_from if came_from.partition("?")[0] == here else here
    return redirect(f"{page}#{quote(place)}", 303)
