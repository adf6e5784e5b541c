"""A shop to begin with: what an app's own site and back end would do, by Scrip's API with the app's sandbox key."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Blueprint, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.account import Refused
from sandbox.delivery import DIRECT
from sandbox.store import Thing

if TYPE_CHECKING:
    from sandbox.server import Sandbox

blueprint = Blueprint("shop", __name__)


def _sandbox() -> Sandbox:
    sandbox: Sandbox = current_app.config["SANDBOX"]
    return sandbox


@blueprint.get("/shop/<app>")
def shop(app: str) -> str:
    """What the app sells, from its catalog."""
    status, catalog = _ask_scrip(app, "GET", "/v1/catalog")
    if status != 200:
        raise Refused(f"Scrip does not tell what {app} sells: {_reason(catalog)}", status=404)
    return render_template("shop.html", app=app, catalog=catalog, customer=request.args.get("customer", "demo"))


@blueprint.post("/shop/<app>")
def buy(app: str) -> AnyResponse:
    """Start a checkout as the app's back end would: POST /v1/checkout with the app's key."""
    kind, _, key = request.form.get("item", "").partition(":")
    customer, url = request.form.get("customer", ""), _sandbox().url
    here = f"{url}/shop/{quote(app)}?{urlencode({'customer': customer})}"
    thanks = f"{url}/thanks/{quote(app)}?{urlencode({'customer': customer})}"
    body = {"customer": customer, kind: key, "success_url": thanks, "cancel_url": here}
    if request.form.get("provider"):
        body["provider"] = request.form["provider"]
    status, answer = _ask_scrip(app, "POST", "/v1/checkout", body)
    if status not in (200, 201):
        raise Refused(f"Scrip refused the checkout: {_reason(answer)}")
    return redirect(answer["url"], 303)


@blueprint.get("/thanks/<app>")
def thanks(app: str) -> str:
    """Where the shop's buyers come back to: the balance, fresh every two seconds."""
    customer = request.args.get("customer", "")
    status, balance = _ask_scrip(app, "GET", f"/v1/customers/{quote(customer, safe='')}/balance")
    if status != 200:
        raise Refused(f"Scrip does not tell the balance: {_reason(balance)}")
    return render_template("thanks.html", app=app, customer=customer, balance=balance)


def _ask_scrip(app: str, method: str, path: str, body: Thing | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer sk_sandbox_{app}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    asked = urllib.request.Request(_sandbox().receiver + path, data=data, headers=headers, method=method)  # noqa: S310
    try:
        with DIRECT.open(asked, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, str(error)


def _reason(answer: Any) -> str:
    try:
        problem = json.loads(answer)
        reasons = [f"{error['field']} {error['reason']}" for error in problem.get("errors", [])]
        return "; ".join(reasons) or str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return str(answer)[:300]
