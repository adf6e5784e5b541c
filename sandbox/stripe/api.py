"""Stripe's API, as far as Scrip uses it: authentication, idempotency and errors around the calls of `calls.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from flask import Blueprint, Response, request

from sandbox.context import current
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.shapes import rendered
from sandbox.store.store import Thing
from sandbox.stripe import expansion, forms, parameters
from sandbox.stripe.billing.unpaid import Declined
from sandbox.stripe.calls import ALL_CALLS
from sandbox.stripe.lists import Handler

blueprint = Blueprint("stripe", __name__, url_prefix="/stripe")
KEY = re.compile(r"sk_sandbox_([a-z0-9-]{1,63})")


def _handle(handler: Handler, accepted: str, **ids: str) -> Response:
    """Handle a call: authenticate, replay a stored response, else call the handler; errors in Stripe's format."""
    sandbox = current()
    try:
        name = _account_name(sandbox.has_app)
        params = forms.nested([*request.args.items(multi=True), *request.form.items(multi=True)])
        with sandbox.account(name) as account:
            return _idempotent(account, lambda: _answer(account, handler, accepted, params, ids))
    except Refused as error:
        return _json(error.status, _error(error))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return _json(400, _error(Refused(f"Invalid parameters: {type(error).__name__} {error}")))


def _answer(account: Account, handler: Handler, accepted: str, params: Thing, ids: dict[str, str]) -> tuple[int, Thing]:
    """The status and the body of a call. A declined card is an answer: what happened before it is kept."""
    parameters.check(params, accepted)
    try:
        thing = expansion.expand(account, handler(account, params, **ids), params.get("expand"))
    except Declined as error:
        return error.status, _error(error)
    return 200, rendered(thing, account.ways.shape)


def _account_name(is_app: Callable[[str], bool]) -> str:
    """The app of the request's API key. Raises Refused with 401."""
    credentials = request.authorization
    key = (credentials.token or credentials.username or "") if credentials else ""
    match = KEY.fullmatch(key)
    if match is None:
        raise Refused("Invalid API Key provided: the sandbox accepts sk_sandbox_<app>.", status=401)
    if not is_app(match[1]):
        raise Refused(f"Invalid API Key provided: there is no app {match[1]}.", status=401)
    return match[1]


def _idempotent(account: Account, answer: Callable[[], tuple[int, Thing]]) -> Response:
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    if not key:
        return _json(*answer())
    fingerprint = json.dumps([request.path, sorted(request.form.items(multi=True))])
    known = account.store.answer(account.name, key)
    if known is None:
        response = _json(*answer())
        body = response.get_data(as_text=True)
        account.store.keep_answer(account.name, key, fingerprint, response.status_code, body)
        return response
    if known[0] != fingerprint:
        message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        return _json(400, {"error": {"type": "idempotency_error", "message": message}})
    replayed = Response(known[2], known[1], content_type="application/json")
    replayed.headers["Idempotent-Replayed"] = "true"
    return replayed


def _error(error: Refused) -> Thing:
    type_ = "card_error" if error.status == 402 else "invalid_request_error"
    fields = {"code": error.code, "message": error.message, "param": error.param, "type": type_}
    return {"error": {name: value for name, value in fields.items() if value is not None}}


def _json(status: int, body: Thing) -> Response:
    response = Response(json.dumps(body), status, content_type="application/json")
    response.headers["Request-Id"] = new_id("req")
    return response


def _publish(method: str, rule: str, handler: Handler, accepted: str) -> None:
    def view(**ids: str) -> Response:
        return _handle(handler, accepted, **ids)

    blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", "_"), view, methods=[method])


for _call in ALL_CALLS:
    _publish(*_call)


@blueprint.route("/<path:rest>", methods=["GET", "POST", "DELETE"])
def unknown(rest: str) -> Response:
    """Reject an unknown address in Stripe's format."""
    message = f"Unrecognized request URL ({request.method}: /{rest}): the sandbox does not implement it."
    return _json(404, {"error": {"type": "invalid_request_error", "message": message}})
