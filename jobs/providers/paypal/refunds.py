"""Refunds at PayPal."""

from __future__ import annotations

from jobs.providers.paypal import client, fields
from models import money
from models.catalog.apps import App
from models.payments.refund_requests import RefundablePayment, State
from models.tables import RefundRequest

STATES: dict[str, State] = {"COMPLETED": "succeeded", "FAILED": "failed", "CANCELLED": "failed"}


def refund(app: App, payment: RefundablePayment, request: RefundRequest) -> tuple[str, State, int | None]:
    """Request the refund of a capture, or of a plan's sale. Returns its id, its state and its minor units.

    Repeating the request is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = f"{app.slug}:{payment.id}:{request.external_id}"
    if payment.pack is None:
        return _refund_sale(app, payment, request, key)
    made = client.client(app).refund_capture(
        payment.reference,
        key=key,
        amount_minor=request.amount_minor,
        currency=payment.currency,
        note=request.reason,
    )
    return str(made.get("id", "")), STATES.get(str(made.get("status")), "pending"), _minor(made)


def _refund_sale(
    app: App, payment: RefundablePayment, request: RefundRequest, key: str
) -> tuple[str, State, int | None]:
    amount = client.sale_amount(request.amount_minor, payment.currency or "") if request.amount_minor else None
    made = client.client(app).refund_sale(payment.reference, key=key, amount=amount, note=request.reason)
    try:
        amount_minor = fields.money_of_sale(made.get("amount"))[0]
    except (KeyError, ValueError):
        amount_minor = None
    return str(made.get("id", "")), STATES.get(str(made.get("state")).upper(), "pending"), amount_minor


def _minor(made: client.Object) -> int | None:
    amount = made.get("amount")
    if not isinstance(amount, dict):
        return None
    try:
        return money.to_minor(str(amount.get("value")), str(amount.get("currency_code")))
    except ValueError:
        return None
