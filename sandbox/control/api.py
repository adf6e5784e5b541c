"""POST /control, the portal's API: delivery modes, and actions on payments and subscriptions."""

from __future__ import annotations

import json
from dataclasses import replace

from flask import Blueprint, Response, request

from sandbox.context import current
from sandbox.control import actions
from sandbox.control.actions import act
from sandbox.store.account import DELIVERIES, Account, Refused
from sandbox.store.shapes import rendered
from sandbox.store.store import Thing

blueprint = Blueprint("control", __name__)
SHAPES = ("new", "old")
FIELDS = ("app", "deliver", "late_seconds", "shape", "action", "id", *actions.FIELDS, "send")


@blueprint.get("/healthz")
def healthz() -> Response:
    """Report that the process runs."""
    return _json(200, {"status": "ok", "sandbox": True})


@blueprint.post("/control")
def control() -> Response:
    """Change an account: {"app", "deliver"?, "late_seconds"?, "shape"?, "action"?, "id"?, "send"?}.

    Some actions take "amount", or "price" or "plan" with "proration". "send" is the id of an event to send again.
    """
    try:
        return _json(200, _control(_body(request.get_data())))
    except Refused as error:
        return _json(error.status, {"error": error.message, "param": error.param})


def _body(raw: bytes) -> Thing:
    """The parsed body of a call. Raises Refused."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise Refused('The body must be a JSON object such as {"app": "songs", "deliver": "late"}.')
    for name in body:
        if name not in FIELDS:
            raise Refused(f"Unknown field {name[:50]}. The fields are {', '.join(FIELDS)}.", param=name[:50])
    return body


def _named(body: Thing, name: str, what: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} must be {what}.", param=name)
    return value


def _control(body: Thing) -> Thing:
    app = _named(body, "app", "the slug of an app")
    if not current().has_app(app):
        message = f"There is no app {app[:50]!r}. There are {', '.join(current().apps())}."
        raise Refused(message, status=404, param="app")
    action = _named(body, "action", "the name of an action") if "action" in body else None
    id_ = _named(body, "id", "the id of an object") if action else ""
    sent = _named(body, "send", "the id of an event") if "send" in body else ""
    set_ways(app, body)
    with current().account(app) as account:
        done = act(account, action, id_, body) if action else None
        if sent:
            send_event_again(account, sent)
        return {"app": app, **vars(account.ways), "done": rendered(done, account.ways.shape)}


def _json(status: int, body: Thing) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def send_event_again(account: Account, id_: str) -> None:
    """Send an event again, or a swallowed one for the first time. Raises Refused if it is unknown."""
    if not account.store.events.resend(account.name, id_):
        raise Refused(f"No such event: '{id_}'", status=404, param="send")


def set_ways(app: str, body: Thing) -> None:
    """Change the delivery and the shape of an account's future events. Raises Refused."""
    with current().account(app) as account:
        ways = account.ways
        mode, shape = body.get("deliver", ways.deliver), body.get("shape", ways.shape)
        late = body.get("late_seconds", ways.late_seconds)
        if mode not in DELIVERIES:
            raise Refused(f"deliver must be one of {', '.join(DELIVERIES)}.", param="deliver")
        if shape not in SHAPES:
            raise Refused(f"shape must be one of {', '.join(SHAPES)}.", param="shape")
        late = _seconds(late)
        account.store.set_ways(app, replace(ways, deliver=mode, shape=shape, late_seconds=late))


def _seconds(given: object) -> float:
    try:
        seconds = float(given)  # type: ignore[arg-type]
        assert seconds == seconds  # not NaN
    except (TypeError, ValueError, OverflowError, AssertionError):
        raise Refused("late_seconds must be a number of seconds.", param="late_seconds") from None
    return min(max(seconds, 0.0), 86400.0)
