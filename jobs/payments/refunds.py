"""Refunds from our side: the provider is asked to give money back. The clawback comes with its webhook, as for a refund
that was made at the provider.

As with checkouts the row is committed first and the provider asked under an idempotency key of the row's own, outside
of any transaction: the same request again asks for the same refund.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobs import idempotency
from jobs.providers.paypal import refunds
from jobs.providers.stripe import refunds as stripe_refunds
from models import database, money
from models.catalog.apps import App
from models.errors import Conflict, Invalid, NotFound, ProviderRefused, ScripError
from models.payments import checkouts, refund_requests
from models.payments.refund_requests import Payment, Request, State
from runtime.crashpoints import crashpoint

OPERATION = "PAYMENT_REVERSAL"
# Asks for the refund: (the refund's id there, its state, minor units or None).
REFUNDERS: dict[str, Callable[[App, Payment, Request], tuple[str, State, int | None]]] = {
    "stripe": stripe_refunds.refund,
    "paypal": refunds.refund,
}


def refund(
    app: App, payment_id: int, body: dict[str, Any], *, actor: str = "operator", now: datetime
) -> tuple[dict[str, Any], bool]:
    """Ask the provider to refund `amount` (absent: all that is left). Returns (`{"id", "payment", "money", "state",
    "reference"}`, whether it is new). `actor` is who asks, for the operation log.

    Raises:
        NotFound: the app has no such payment.
        Conflict: it was sold as not refundable, is not settled, or less is left; or the id is stored with other
            content; or the provider refuses.
        Invalid: an amount that the currency cannot have.
        ProviderAway: the same request again is right.
    """
    payment = refund_requests.payment(app.slug, payment_id)
    try:
        wanted = Request(body["id"], payment_id, _amount_minor(payment, body.get("amount")), body["reason"], None)
        stored = _stored(app, wanted) or _judged(app, payment, wanted, actor, now)
        if stored.answer is not None:
            return stored.answer, False
        return _ask(app, payment, stored, now)
    except NotFound:
        raise
    except ScripError as refusal:
        details = {"key": f"payment-refund:{body['id']}", "payment": payment_id, "actor": actor, **body}
        idempotency.log_refusal(app.slug, OPERATION, payment.customer, details, refusal, now)
        raise


def _amount_minor(payment: Payment, amount: str | None) -> int | None:
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


def _stored(app: App, wanted: Request) -> Request | None:
    known = refund_requests.find(app.slug, wanted.id)
    if known is None:
        return None
    same = (known.payment_id, known.amount_minor, known.reason) == (
        wanted.payment_id,
        wanted.amount_minor,
        wanted.reason,
    )
    if not same:
        raise Conflict(f"refund {wanted.id!r} is stored with other content", id=wanted.id)
    return known


def _judged(app: App, payment: Payment, wanted: Request, actor: str, now: datetime) -> Request:
    """The request, stored, once nothing that we know speaks against it."""
    if payment.state in ("pending", "failed"):
        raise Conflict(f"payment {payment.id} is {payment.state}: no money has come", state=payment.state)
    if not _is_refundable(app, payment):
        raise Conflict(f"{payment.pack} was sold as not refundable", refundable=False)
    _check_left(payment, wanted.amount_minor)
    refund_requests.store(app.slug, wanted, customer=payment.customer, actor=actor, now=now)
    crashpoint("refund-stored")
    return _stored(app, wanted) or wanted


def _is_refundable(app: App, payment: Payment) -> bool:
    """What was promised when it was sold; without a checkout of ours, what the catalog says."""
    promise = checkouts.of_payment(payment.id)
    if promise is not None:
        return promise.refundable
    pack = app.packs.get(payment.pack or "")
    return pack is None or pack.refundable


def _check_left(payment: Payment, amount_minor: int | None) -> None:
    if payment.amount_minor is None:
        return
    left = _left_minor(payment)
    if left <= 0 or (amount_minor or 0) > left:
        told = money.as_json(max(left, 0), payment.currency or "usd")
        raise Conflict(f"of payment {payment.id} {told['amount']} {told['currency']} is left to refund", left=told)


def _left_minor(payment: Payment) -> int:
    return (payment.amount_minor or 0) - payment.refunded_minor - payment.disputed_minor


def _ask(app: App, payment: Payment, wanted: Request, now: datetime) -> tuple[dict[str, Any], bool]:
    database.release()
    if wanted.amount_minor is None and payment.disputed_minor:
        # All that is left: the provider's own idea of that leaves the dispute out.
        wanted = replace(wanted, amount_minor=_left_minor(payment))
    try:
        reference, state, amount_minor = REFUNDERS[payment.provider](app, payment, wanted)
    except ProviderRefused as refusal:
        refund_requests.forget(app.slug, wanted.id)
        if 400 <= refusal.status < 500 and refusal.status not in (401, 403):
            raise Conflict(refusal.detail) from refusal
        raise
    crashpoint("refund-asked")
    told = None if amount_minor is None or payment.currency is None else money.as_json(amount_minor, payment.currency)
    answer = {"id": wanted.id, "payment": payment.id, "money": told, "state": state, "reference": reference}
    return answer, refund_requests.answered(app.slug, wanted.id, answer, now=now)
