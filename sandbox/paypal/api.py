"""PayPal's REST API, as far as Scrip uses it: a table of calls on the account of the access token."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from sandbox.context import current
from sandbox.paypal import captures, orders, requests
from sandbox.paypal.billing import calls as billing_calls
from sandbox.paypal.objects import CAPTURE, DISPUTE, ORDER, REFUND, need
from sandbox.store.account import Account, Refused
from sandbox.store.shapes import rendered
from sandbox.store.store import Thing

blueprint = Blueprint("paypal", __name__, url_prefix="/paypal")
CLIENT_ID = re.compile(r"sandbox_([a-z0-9-]{1,63})")
TOKEN = re.compile(r"A21-sandbox_([a-z0-9-]{1,63})")
SECRET = "sandbox"
TOKEN_SECONDS = 32400
VERIFY = "/v1/notifications/verify-webhook-signature"
Handler = Callable[..., Any]


def _handle(handler: Handler, status: int, **ids: str) -> Response:
    sandbox = current()
    try:
        with sandbox.account(_account_name()) as account:
            return _idempotent(account, status, lambda: handler(account, **ids))
    except Refused as error:
        return _error(error)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        return _error(Refused(f"Invalid request: {type(error).__name__} {error}", code="INVALID_REQUEST"))


def _account_name() -> str:
    given = request.authorization
    found = TOKEN.fullmatch(given.token or "") if given and given.type == "bearer" else None
    if found is None or not _has_app(found[1]):
        raise Refused("Authentication failed due to invalid authentication credentials.", status=401)
    return found[1]


def _has_app(name: str) -> bool:
    is_known: bool = current().has_app(name)
    return is_known


def _idempotent(account: Account, status: int, handle: Callable[[], Thing | None]) -> Response:
    """Replay the stored response of a PayPal-Request-Id, whatever the body, as PayPal does."""
    key = request.headers.get("PayPal-Request-Id") if request.method == "POST" else None
    known = account.store.answer(account.name, f"paypal:{request.path}:{key}") if key else None
    if known:
        return Response(known[2], known[1], content_type="application/json")
    thing = handle()
    response = _json(status, rendered(thing)) if thing is not None else Response(status=status)
    if key:
        body = response.get_data(as_text=True)
        account.store.keep_answer(account.name, f"paypal:{request.path}:{key}", "", response.status_code, body)
    return response


NAMES = {400: "INVALID_REQUEST", 401: "AUTHENTICATION_FAILURE", 404: "RESOURCE_NOT_FOUND", 422: "UNPROCESSABLE_ENTITY"}


def _error(error: Refused) -> Response:
    details = [{"issue": error.code, "description": error.message}] if error.code else []
    problem = {
        "name": NAMES[error.status],
        "message": error.message,
        "debug_id": secrets.token_hex(7),
        "details": details,
    }
    return _json(error.status, problem)


def _json(status: int, body: Any) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


@blueprint.post("/v1/oauth2/token")
def token() -> Response:
    """Issue an access token for a client id and secret."""
    given = request.authorization
    found = CLIENT_ID.fullmatch(given.username or "") if given and given.type == "basic" else None
    if found is None or given is None or given.password != SECRET or not _has_app(found[1]):
        return _json(401, {"error": "invalid_client", "error_description": "Client Authentication failed"})
    granted = {"access_token": f"A21-{given.username}", "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
    return _json(200, {"scope": "", "app_id": "APP-SANDBOX", **granted})


@blueprint.get("/v1/notifications/certs/<name>")
def certificate(name: str) -> Response:
    """The signing certificate as PEM. Public."""
    from sandbox.paypal import ca

    settings = current().settings
    pem = ca.certificate_pem(settings.data_dir, name)
    return Response(pem, 200 if pem else 404, content_type="application/x-pem-file")


def _create_order(account: Account) -> Thing:
    return orders.create(account, requests.body(), current().url)


def _capture_order(account: Account, id_: str) -> Thing:
    return orders.capture(account, need(account, ORDER, id_))


def _refund(account: Account, id_: str) -> Thing:
    body = requests.body()
    note = str(body.get("note_to_payer") or "")
    return captures.refund(account, need(account, CAPTURE, id_), body.get("amount"), note=note)


def _verify(account: Account) -> Thing:
    """Verify the signature of an event's bytes."""
    body = requests.body()
    raw = request.get_data().partition(b'"webhook_event":')[2][:-1]
    headers = {f"PAYPAL-{name.upper().replace('_', '-')}": str(body.get(name, "")) for name in TRANSMISSION_FIELDS}
    genuine = _is_genuine(headers, raw, str(body.get("webhook_id")))
    return {"verification_status": "SUCCESS" if genuine else "FAILURE"}


TRANSMISSION_FIELDS = ("transmission_id", "transmission_time", "transmission_sig", "cert_url", "auth_algo")


def _is_genuine(headers: dict[str, str], raw: bytes, webhook_id: str) -> bool:
    from sandbox.paypal import ca

    return ca.is_genuine(current().settings.data_dir, headers, raw, webhook_id=webhook_id)


# --- lists


def _list_events(account: Account) -> Thing:
    since, until = requests.time_of("start_time", 0), requests.time_of("end_time", 2**53)
    rows = account.store.events.created_between(account.name, "paypal", since, until + 1)
    found = [json.loads(body) for body, _ in rows]
    type_ = request.args.get("event_type")
    return requests.page([event for event in found if type_ in (None, event["event_type"])], "events", 10)


def _list_disputes(account: Account) -> Thing:
    since = requests.time_of("update_time_after", 0)
    found = [dispute for dispute in account.each(DISPUTE) if requests.seconds(dispute["update_time"]) >= since]
    capture = request.args.get("disputed_transaction_id")
    chosen = [dispute for dispute in found if capture in (None, dispute["_capture"])]
    # PayPal's list does not contain the transactions.
    short = [
        {name: value for name, value in dispute.items() if name not in ("disputed_transactions", "id")}
        for dispute in chosen
    ]
    return requests.page(short, "items", 10)


def _get_dispute(account: Account, id_: str) -> Thing:
    return {name: value for name, value in need(account, DISPUTE, id_).items() if name != "id"}


def _getter(kind: str) -> Handler:
    return lambda account, id_: need(account, kind, id_)


# Method, address, function and the status of success.
CALLS: tuple[tuple[str, str, Handler, int], ...] = (
    ("POST", "/v2/checkout/orders", _create_order, 201),
    ("GET", "/v2/checkout/orders/<id_>", _getter(ORDER), 200),
    ("POST", "/v2/checkout/orders/<id_>/capture", _capture_order, 201),
    ("GET", "/v2/payments/captures/<id_>", _getter(CAPTURE), 200),
    ("POST", "/v2/payments/captures/<id_>/refund", _refund, 201),
    ("GET", "/v2/payments/refunds/<id_>", _getter(REFUND), 200),
    ("GET", "/v1/notifications/webhooks-events", _list_events, 200),
    ("POST", VERIFY, _verify, 200),
    ("GET", "/v1/customer/disputes", _list_disputes, 200),
    ("GET", "/v1/customer/disputes/<id_>", _get_dispute, 200),
)


def _publish(method: str, rule: str, handler: Handler, status: int) -> None:
    def view(**ids: str) -> Response:
        return _handle(handler, status, **ids)

    blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", "_"), view, methods=[method])


for _call in (*CALLS, *billing_calls.CALLS):
    _publish(*_call)


@blueprint.route("/v1/<path:rest>", methods=["GET", "POST", "PATCH", "DELETE"])
@blueprint.route("/v2/<path:rest>", methods=["GET", "POST", "PATCH", "DELETE"])
def unknown(rest: str) -> Response:
    """Reject an unknown address in PayPal's format."""
    return _error(Refused(f"The sandbox does not implement {request.method} {request.path}.", status=404))
