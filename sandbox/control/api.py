"""The portal for programs: how events are sent, and what happens to payments and subscriptions."""

from __future__ import annotations

import json
from dataclasses import replace

from flask import Blueprint, Response, request

from sandbox.context import current
from sandbox.control.actions import SAID, act
from sandbox.store.account import DELIVERIES, Account, Refused
from sandbox.store.shapes import rendered
from sandbox.store.store import Thing

blueprint = Blueprint("control", __name__)
SHAPES = ("new", "old")
FIELDS = ("app", "deliver", "late_seconds", "shape", "action", "id", *SAID, "send")


@blueprint.get("/healthz")
def healthz() -> Response:
    """Tell that the process is up."""
    return _json(200, {"status": "ok", "sandbox": True})


@blueprint.post("/control")
def control() -> Response:
    """The portal for programs: {"app", "deliver"?, "late_seconds"?, "shape"?, "action"?, "id"?, "send"?}.

    An action may have "amount", or "price" or "plan" with "proration", besides.
    """
    try:
        return _json(200, _control(_asked(request.get_data())))
    except Refused as error:
        return _json(error.status, {"error": error.message, "param": error.param})


def _asked(body: bytes) -> Thing:
    """The body of a call. Raises Refused, with what is wrong with it."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"The body is not JSON: {error}.") from None
    if not isinstance(asked, dict):
        raise Refused('The body must be a JSON object such as {"app": "songs", "deliver": "late"}.')
    for name in asked:
        if name not in FIELDS:
            raise Refused(f"There is no {name[:50]}. There are {', '.join(FIELDS)}.", param=name[:50])
    return asked


def _named(asked: Thing, name: str, what: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} names {what}.", param=name)
    return value


def _control(asked: Thing) -> Thing:
    app = _named(asked, "app", "the account")
    if not current().has_app(app):
        message = f"There is no app {app[:50]!r}. There are {', '.join(current().apps())}."
        raise Refused(message, status=404, param="app")
    action = _named(asked, "action", "what is to happen") if "action" in asked else None
    id_ = _named(asked, "id", "what it happens to") if action else ""
    sent = _named(asked, "send", "the event that is sent again") if "send" in asked else ""
    set_ways(app, asked)
    with current().account(app) as account:
        done = act(account, action, id_, asked) if action else None
        if sent:
            send_event_again(account, sent)
        return {"app": app, **vars(account.ways), "done": rendered(done, account.ways.shape)}


def _json(status: int, body: Thing) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def send_event_again(account: Account, id_: str) -> None:
    """Have an event sent again, or one that was swallowed for the first time. Raises Refused for an unknown one."""
    if not account.store.events.resend(account.name, id_):
        raise Refused(f"No such event: '{id_}'", status=404, param="send")


def set_ways(app: str, asked: Thing) -> None:
    """How the events of an account go out from now on. Raises Refused."""
    with current().account(app) as account:
        ways = account.ways
        mode, shape = asked.get("deliver", ways.deliver), asked.get("shape", ways.shape)
        late = asked.get("late_seconds", ways.late_seconds)
        if mode not in DELIVERIES:
            raise Refused(f"deliver is one of {', '.join(DELIVERIES)}", param="deliver")
        if shape not in SHAPES:
            raise Refused(f"shape is one of {', '.join(SHAPES)}", param="shape")
        late = _seconds(late)
        account.store.set_ways(app, replace(ways, deliver=mode, shape=shape, late_seconds=late))


def _seconds(given: object) -> float:
    try:
        seconds = float(given)  # type: ignore[arg-type]
        assert seconds == seconds  # not NaN, which is no number of seconds
    except (TypeError, ValueError, OverflowError, AssertionError):
        raise Refused("late_seconds is a number of seconds", param="late_seconds") from None
    return min(max(seconds, 0.0), 86400.0)
