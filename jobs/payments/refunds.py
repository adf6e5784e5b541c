"""Refunds that the operator requests from the payment provider.

The clawback follows with the provider's webhook, as for a refund made in the provider's dashboard. As with checkouts,
the row is committed first; the provider is then called outside of any transaction, under an idempotency key made of the
request's id. So the same request again never makes a second refund.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from jobs import idempotency
from jobs.providers.paypal import refunds
from jobs.providers.stripe import refunds as stripe_refunds
from models import database, money
from models.catalog.apps import App
from models.errors import Conflict, Invalid, NotFound, ProviderRefused, ScripError
from models.payments import checkouts, refund_requests
from models.payments.refund_requests import RefundablePayment, State
from models.tables import RefundRequest
from runtime.crashpoints import crashpoint

OPERATION = "PAYMENT_REVERSAL"
# Requests the refund. Returns its id at the provider, its state, and its minor units or None.
REFUNDERS: dict[str, Callable[[App, RefundablePayment, RefundRequest], tuple[str, State, int | None]]] = {
    "stripe": stripe_refunds.refund,
    "paypal": refunds.refund,
}


def refund(
    app: App, payment_id: int, body: dict[str, Any], *, actor: str = "operator", now: datetime
) -> tuple[dict[str, Any], bool]:
    """Request a refund of `amount` (absent: all that is left) from the provider.

    Returns (`{"id", "payment", "money", "state", "reference"}`, whether it is new). `actor`: who requests it, for the
    operation log.

    Raises:
        NotFound: the app has no such payment.
        Conflict: the payment was sold as not refundable, is not settled, or less is left; or the id is stored with
            other content; or the provider refuses.
        Invalid: an amount that the currency cannot have.
        ProviderAway: the provider is unavailable; the same request can be sent again.
    """
    payment = refund_requests.payment(app.slug, payment_id)
    try:
        request = RefundRequest(
            external_id=body["id"],
            payment_id=payment_id,
            amount_minor=_amount_minor(payment, body.get("amount")),
            reason=body["reason"],
        )
        stored = _stored(app, request) or _store(app, payment, request, actor, now)
        answer: Any = stored.answer
        if answer is not None:
            return answer, False
        return _send(app, payment, stored, now)
    except NotFound:
        raise
    except ScripError as refusal:
        details = {"key": f"payment-refund:{body['id']}", "payment": payment_id, "actor": actor, **body}
        idempotency.log_refusal(app.slug, OPERATION, payment.customer, details, refusal, now)
        raise


def _amount_minor(payment: RefundablePayment, amount: str | None) -> int | None:
    if amount is None:
        return None
    if payment.currency is None:
        raise Invalid([("amount", "the payment's currency is not known: leave the amount out to refund all of it")])
    try:
        minor = money.to_minor(amount, payment.currency)
        money.check_chargeable(minor, payment.currency, payment.provider)
    except ValueError as reason:
        raise Invalid([("amount", str(reason))]) from None
    if minor <= 0:
        raise Invalid([("amount", "must be more than zero")])
    return minor


def _stored(app: App, request: RefundRequest) -> RefundRequest | None:
    """The stored request of this id. Raises Conflict if it has other content."""
    stored = refund_requests.find(app.slug, request.external_id)
    if stored is not None and _content(stored) != _content(request):
        raise Conflict(f"refund {request.external_id!r} is stored with other content", id=request.external_id)
    return stored


def _content(request: RefundRequest) -> tuple[int, int | None, str]:
    return request.payment_id, request.amount_minor, request.reason


def _store(app: App, payment: RefundablePayment, request: RefundRequest, actor: str, now: datetime) -> RefundRequest:
    """Store the request. Raises Conflict if the payment cannot be refunded, or not by that much."""
    if payment.state in ("pending", "failed"):
        raise Conflict(f"payment {payment.id} is {payment.state}: no money was received", state=payment.state)
    if not _is_refundable(app, payment):
        raise Conflict(f"{payment.pack} was sold as not refundable", refundable=False)
    _check_left(payment, request.amount_minor)
    refund_requests.store(app.slug, request, customer=payment.customer, actor=actor, now=now)
    crashpoint("refund-stored")
    return _stored(app, request) or request


def _is_refundable(app: App, payment: RefundablePayment) -> bool:
    """What its checkout promised; without a checkout, what the catalog says."""
    checkout = checkouts.of_payment(payment.id)
    if checkout is not None:
        return bool(checkout.refundable)
    pack = app.packs.get(payment.pack or "")
    return pack is None or pack.refundable


def _check_left(payment: RefundablePayment, amount_minor: int | None) -> None:
    if payment.amount_minor is None:
        return
    left_minor = _left_minor(payment)
    if left_minor <= 0 or (amount_minor or 0) > left_minor:
        left = money.as_json(max(left_minor, 0), payment.currency or "usd")
        raise Conflict(f"of payment {payment.id} {left['amount']} {left['currency']} is left to refund", left=left)


def _left_minor(payment: RefundablePayment) -> int:
    return (payment.amount_minor or 0) - payment.refunded_minor - payment.disputed_minor


def _send(app: App, payment: RefundablePayment, request: RefundRequest, now: datetime) -> tuple[dict[str, Any], bool]:
    """Request the refund from the provider and store the response."""
    database.release()
    if request.amount_minor is None and payment.disputed_minor:
        # Without an amount the provider would refund what is disputed too. The row keeps what was requested.
        request.amount_minor = _left_minor(payment)
    try:
        reference, state, amount_minor = REFUNDERS[payment.provider](app, payment, request)
    except ProviderRefused as refusal:
        refund_requests.delete_refused(app.slug, request.external_id)
        if 400 <= refusal.status < 500 and refusal.status not in (401, 403):
            raise Conflict(refusal.detail) from refusal
        raise
    crashpoint("refund-asked")
    paid = None if amount_minor is None or payment.currency is None else money.as_json(amount_minor, payment.currency)
    answer = {
        "id": request.external_id,
        "payment": payment.id,
        "money": paid,
        "state": state,
        "reference": reference,
    }
    return answer, refund_requests.store_answer(app.slug, request.external_id, answer, now=now)
