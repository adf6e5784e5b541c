"""Stripe's API as far as Scrip uses it: one table of calls, answered from the account that the key belongs to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from flask import Blueprint, Response, current_app, request

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.shapes import rendered
from sandbox.store.store import Thing
from sandbox.stripe import billing, checkout, forms, lines, lists, payments, plan_changes, prices, subscriptions
from sandbox.stripe.forms import flag, metadata, whole

blueprint = Blueprint("stripe", __name__, url_prefix="/stripe")
KEY = re.compile(r"sk_sandbox_([a-z0-9-]{1,63})")
Handler = Callable[..., Thing]
STATES_OF_REFUNDS = {"fail": "failed", "pending": "pending"}


def _answer(handler: Handler, **ids: str) -> Response:
    """One call: who asks, what was answered to this key before, the answer, the error as Stripe words it."""
    sandbox = current_app.config["SANDBOX"]
    try:
        name = _account_name(sandbox.has_app)
        params = forms.nested([*request.args.items(multi=True), *request.form.items(multi=True)])
        with sandbox.account(name) as account:
            return _kept_answer(account, lambda: handler(account, params, **ids))
    except Refused as error:
        return _json(error.status, _error(error))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return _json(400, _error(Refused(f"Invalid parameters: {type(error).__name__} {error}")))


def _account_name(is_app: Callable[[str], bool]) -> str:
    """The app whose key is given. Raises Refused with 401."""
    given = request.authorization
    key = (given.token or given.username or "") if given else ""
    found = KEY.fullmatch(key)
    if found is None:
        raise Refused("Invalid API Key provided: the sandbox takes sk_sandbox_<app>.", status=401)
    if not is_app(found[1]):
        raise Refused(f"Invalid API Key provided: there is no app {found[1]}.", status=401)
    return found[1]


def _kept_answer(account: Account, handle: Callable[[], Thing]) -> Response:
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    if not key:
        return _json(200, rendered(handle(), account.ways.shape))
    asked = json.dumps([request.path, sorted(request.form.items(multi=True))])
    known = account.store.answer(account.name, key)
    if known is None:
        answer = _json(200, rendered(handle(), account.ways.shape))
        account.store.keep_answer(account.name, key, asked, 200, answer.get_data(as_text=True))
        return answer
    if known[0] != asked:
        message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        return _json(400, {"error": {"type": "idempotency_error", "message": message}})
    replayed = Response(known[2], known[1], content_type="application/json")
    replayed.headers["Idempotent-Replayed"] = "true"
    return replayed


def _error(error: Refused) -> Thing:
    said = {"code": error.code, "message": error.message, "param": error.param, "type": "invalid_request_error"}
    return {"error": {name: value for name, value in said.items() if value is not None}}


def _json(status: int, body: Thing) -> Response:
    answer = Response(json.dumps(body), status, content_type="application/json")
    answer.headers["Request-Id"] = new_id("req")
    return answer


# --- checkout


def _create_session(account: Account, params: Thing) -> Thing:
    return _expanded(checkout.create(account, params, current_app.config["SANDBOX"].url), params)


def _get_session(account: Account, params: Thing, id_: str) -> Thing:
    return _expanded(account.need("checkout.session", id_), params)


def _expanded(session: Thing, params: Thing) -> Thing:
    if "line_items" not in params.get("expand", []):
        return session
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    items = checkout.line_items(session)
    return {**session, "line_items": {"object": "list", "data": items, "has_more": False, "url": url}}


def _get_line_items(account: Account, params: Thing, id_: str) -> Thing:
    session = account.need("checkout.session", id_)
    return lists.page(checkout.line_items(session), params, request.path)


def _expire_session(account: Account, params: Thing, id_: str) -> Thing:
    return checkout.expire(account, account.need("checkout.session", id_))


# --- refunds


def _create_refund(account: Account, params: Thing) -> Thing:
    named = params.get("charge") or params.get("payment_intent")
    if not named:
        raise Refused("One of the following params should be provided: payment_intent or charge.")
    amount = whole(params, "amount", least=1) if "amount" in params else None
    meta = metadata(params)
    return payments.refund(
        account,
        payments.charge_of(account, str(named)),
        amount,
        reason=params.get("reason"),
        metadata=meta,
        status=STATES_OF_REFUNDS.get(meta.get("sandbox", ""), "succeeded"),
    )


# --- subscriptions, invoices, customers, prices


def _update_subscription(account: Account, params: Thing, id_: str) -> Thing:
    it = account.need("subscription", id_)
    if metadata(params):
        subscriptions.change(account, it, metadata={**it["metadata"], **metadata(params)})
    if "cancel_at_period_end" in params:
        subscriptions.cancel_at_period_end(account, it, flag(params, "cancel_at_period_end"))
    if "pause_collection" in params:
        paused = params["pause_collection"]
        subscriptions.pause(account, it, paused["behavior"] if isinstance(paused, dict) else None)
    for item in params.get("items", []):
        _change_price(account, it, item, params.get("proration_behavior", plan_changes.USUAL))
    return it


def _change_price(account: Account, it: Thing, given: Thing, proration: str) -> None:
    present = lines.item_of(it)
    is_named = "price" in given or "price_data" in given
    price = prices.chosen(account, given, "items[0]") if is_named else present["price"]
    quantity = whole(given, "quantity", present["quantity"], 1)
    plan_changes.change_price(account, it, price, quantity, proration)


def _cancel_subscription(account: Account, params: Thing, id_: str) -> Thing:
    return subscriptions.end(account, account.need("subscription", id_))


def _pay_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return billing.pay_open_invoice(account, account.need("invoice", id_))


def _void_invoice(account: Account, params: Thing, id_: str) -> Thing:
    return billing.void_invoice(account, account.need("invoice", id_))


def _mark_uncollectible(account: Account, params: Thing, id_: str) -> Thing:
    return billing.mark_uncollectible(account, account.need("invoice", id_))


def _create_customer(account: Account, params: Thing) -> Thing:
    return subscriptions.new_customer(account, {**params, "metadata": metadata(params)})


def _list_prices(account: Account, params: Thing) -> Thing:
    prices.know_catalog(account)
    filters = ("active", "currency", "product", "type")
    return lists.things(account, "price", _with_flags(params, "active"), filters, request.path)


def _list_products(account: Account, params: Thing) -> Thing:
    wanted = _with_flags(params, "active")
    ids = params.get("ids")
    found = [it for it in prices.products(account) if not ids or it["id"] in ids]
    if not wanted.get("active", True):
        found = []  # nothing is ever withdrawn
    return lists.page(found, params, request.path)


def _with_flags(params: Thing, *names: str) -> Thing:
    return {**params, **{name: flag(params, name) for name in names if name in params}}


def _create_price(account: Account, params: Thing) -> Thing:
    return prices.create(account, params, "price")


# --- the table


def _getter(kind: str) -> Handler:
    return lambda account, params, id_: account.need(kind, id_)


def _lister(kind: str, *filters: str) -> Handler:
    return lambda account, params: lists.things(account, kind, params, filters, request.path)


CALLS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/checkout/sessions", _create_session),
    (
        "GET",
        "/v1/checkout/sessions",
        _lister("checkout.session", "payment_intent", "subscription", "customer", "status"),
    ),
    ("GET", "/v1/checkout/sessions/<id_>", _get_session),
    ("GET", "/v1/checkout/sessions/<id_>/line_items", _get_line_items),
    ("POST", "/v1/checkout/sessions/<id_>/expire", _expire_session),
    ("GET", "/v1/payment_intents", _lister("payment_intent", "customer")),
    ("GET", "/v1/payment_intents/<id_>", _getter("payment_intent")),
    ("GET", "/v1/charges", _lister("charge", "payment_intent", "customer")),
    ("GET", "/v1/charges/<id_>", _getter("charge")),
    ("POST", "/v1/refunds", _create_refund),
    ("GET", "/v1/refunds", _lister("refund", "charge", "payment_intent")),
    ("GET", "/v1/refunds/<id_>", _getter("refund")),
    ("GET", "/v1/disputes", _lister("dispute", "charge", "payment_intent")),
    ("GET", "/v1/disputes/<id_>", _getter("dispute")),
    ("GET", "/v1/events", lambda account, params: lists.events(account, params, request.path)),
    ("GET", "/v1/events/<id_>", lambda account, params, id_: lists.event(account, id_)),
    ("GET", "/v1/subscriptions", _lister("subscription", "customer", "status")),
    ("GET", "/v1/subscriptions/<id_>", _getter("subscription")),
    ("POST", "/v1/subscriptions/<id_>", _update_subscription),
    ("DELETE", "/v1/subscriptions/<id_>", _cancel_subscription),
    ("GET", "/v1/invoices", _lister("invoice", "customer", "subscription", "status")),
    ("GET", "/v1/invoices/<id_>", _getter("invoice")),
    ("POST", "/v1/invoices/<id_>/pay", _pay_invoice),
    ("POST", "/v1/invoices/<id_>/void", _void_invoice),
    ("POST", "/v1/invoices/<id_>/mark_uncollectible", _mark_uncollectible),
    ("GET", "/v1/invoice_payments", _lister("invoice_payment", "invoice", "payment", "status")),
    ("GET", "/v1/invoice_payments/<id_>", _getter("invoice_payment")),
    ("POST", "/v1/customers", _create_customer),
    ("GET", "/v1/customers", _lister("customer", "email")),
    ("GET", "/v1/customers/<id_>", _getter("customer")),
    ("POST", "/v1/prices", _create_price),
    ("GET", "/v1/prices", _list_prices),
    ("GET", "/v1/prices/<id_>", lambda account, params, id_: prices.known(account, id_)),
    ("GET", "/v1/products", _list_products),
    ("GET", "/v1/products/<id_>", lambda account, params, id_: prices.product(account, id_)),
)


def _publish(method: str, rule: str, handler: Handler) -> None:
    def view(**ids: str) -> Response:
        return _answer(handler, **ids)

    blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", "_"), view, methods=[method])


for _call in CALLS:
    _publish(*_call)


@blueprint.route("/<path:rest>", methods=["GET", "POST", "DELETE"])
def unknown(rest: str) -> Response:
    """What the sandbox does not have is said as Stripe says it."""
    message = f"Unrecognized request URL ({request.method}: /{rest}): the sandbox does not have it."
    return _json(404, {"error": {"type": "invalid_request_error", "message": message}})
