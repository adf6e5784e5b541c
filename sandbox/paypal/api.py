"""PayPal's REST API, as far as Scrip uses it: a table of calls on the account of the access token."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from sandbox.context import current
from sandbox.paypal import captures, orders
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


def _handle(handler: Handler, **ids: str) -> Response:
    sandbox = current()
    try:
        with sandbox.account(_account_name()) as account:
            return _idempotent(account, lambda: handler(account, **ids))
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


def _idempotent(account: Account, handle: Callable[[], Thing]) -> Response:
    """Replay the stored response of a PayPal-Request-Id, whatever the body, as PayPal does."""
    key = request.headers.get("PayPal-Request-Id") if request.method == "POST" else None
    known = account.store.answer(account.name, f"paypal:{request.path}:{key}") if key else None
    if known:
        return Response(known[2], known[1], content_type="application/json")
    response = _json(200 if request.method == "GET" or request.path.endswith(VERIFY) else 201, rendered(handle()))
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


def _body() -> Thing:
    if not request.get_data():
        return {}
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refused("Request is not well-formed, syntactically incorrect, or violates schema.", code="MALFORMED")
    return body


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
    return orders.create(account, _body(), current().url)


def _capture_order(account: Account, id_: str) -> Thing:
    return orders.capture(account, need(account, ORDER, id_))


def _refund(account: Account, id_: str) -> Thing:
    body = _body()
    note = str(body.get("note_to_payer") or "")
    return captures.refund(account, need(account, CAPTURE, id_), body.get("amount"), note=note)


def _verify(account: Account) -> Thing:
    """Verify the signature of an event's bytes."""
    body = _body()
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
    since, until = _time("start_time", 0), _time("end_time", 2**53)
    rows = account.store.events.created_between(account.name, "paypal", since, until + 1)
    found = [json.loads(body) for body, _ in rows]
    type_ = request.args.get("event_type")
    return _page([event for event in found if type_ in (None, event["event_type"])], "events", 10)


def _list_disputes(account: Account) -> Thing:
    since = _time("update_time_after", 0)
    found = [dispute for dispute in account.each(DISPUTE) if _seconds(dispute["update_time"]) >= since]
    capture = request.args.get("disputed_transaction_id")
    chosen = [dispute for dispute in found if capture in (None, dispute["_capture"])]
    # PayPal's list does not contain the transactions.
    short = [
        {name: value for name, value in dispute.items() if name not in ("disputed_transactions", "id")}
        for dispute in chosen
    ]
    return _page(short, "items", 10)


def _get_dispute(account: Account, id_: str) -> Thing:
    return {name: value for name, value in need(account, DISPUTE, id_).items() if name != "id"}


def _page(found: list[Thing], name: str, default: int) -> Thing:
    size = min(int(request.args.get("page_size", default)), 300)
    start = int(request.args.get("next_page_token", 0))
    links = [{"href": request.url, "rel": "self", "method": "GET"}]
    if start + size < len(found):
        query = urlencode({**request.args.to_dict(), "next_page_token": start + size})
        links.append({"href": f"{request.base_url}?{query}", "rel": "next", "method": "GET"})
    return {name: found[start : start + size], "count": len(found), "links": links}


def _time(name: str, default: int) -> int:
    given = request.args.get(name)
    try:
        return _seconds(given) if given else default
    except ValueError:
        raise Refused(f"{name} must be an ISO 8601 time.", code="INVALID_PARAMETER_SYNTAX") from None


def _seconds(text: str) -> int:
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp())


def _getter(kind: str) -> Handler:
    return lambda account, id_: need(account, kind, id_)


CALLS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v2/checkout/orders", _create_order),
    ("GET", "/v2/checkout/orders/<id_>", _getter(ORDER)),
    ("POST", "/v2/checkout/orders/<id_>/capture", _capture_order),
    ("GET", "/v2/payments/captures/<id_>", _getter(CAPTURE)),
    ("POST", "/v2/payments/captures/<id_>/refund", _refund),
    ("GET", "/v2/payments/refunds/<id_>", _getter(REFUND)),
    ("GET", "/v1/notifications/webhooks-events", _list_events),
    ("POST", VERIFY, _verify),
    ("GET", "/v1/customer/disputes", _list_disputes),
    ("GET", "/v1/customer/disputes/<id_>", _get_dispute),
)


def _publish(method: str, rule: str, handler: Handler) -> None:
    def view(**ids: str) -> Response:
        return _handle(handler, **ids)

    blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", "_"), view, methods=[method])


for _call in CALLS:
    _publish(*_call)


@blueprint.route("/v1/<path:rest>", methods=["GET", "POST", "PATCH", "DELETE"])
@blueprint.route("/v2/<path:rest>", methods=["GET", "POST", "PATCH", "DELETE"])
def unknown(rest: str) -> Response:
    """Reject an unknown address in PayPal's format."""
    return _error(Refused(f"The sandbox does not implement {request.method} {request.path}.", status=404))
