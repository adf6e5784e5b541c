"""Refunds at Stripe."""

from __future__ import annotations

from typing import Any

from jobs.providers.stripe import client, refetch
from models.catalog.apps import App
from models.errors import ProviderRefused
from models.payments.refund_requests import RefundablePayment, State
from models.tables import RefundRequest

STATES: dict[str, State] = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}


def refund(app: App, payment: RefundablePayment, request: RefundRequest) -> tuple[str, State, int | None]:
    """Request a refund. Returns its id, its state and its amount in minor units. Repeating the request is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("refund", app.slug, payment.id, request.external_id)
    params: dict[str, Any] = {
        **_target(app, payment),
        "reason": "requested_by_customer",
        "metadata": {
            "app": app.slug,
            "customer": payment.customer,
            "refund": request.external_id,
            "reason": request.reason,
        },
    }
    if request.amount_minor is not None:
        params["amount"] = request.amount_minor
    made = client.call(app, lambda v1: v1.refunds.create(params, {"idempotency_key": key}))
    return made["id"], STATES.get(str(made.get("status")), "pending"), made.get("amount")


def _target(app: App, payment: RefundablePayment) -> dict[str, str]:
    """The charge or payment intent to refund, from the ids of the payment."""
    for start, name in (("pi_", "payment_intent"), ("ch_", "charge"), ("py_", "charge")):
        for known in payment.ids:
            if known.startswith(start):
                return {name: known}
    for known in payment.ids:
        if known.startswith("in_"):
            for intent in refetch.payment_intents(app, known):
                return {"payment_intent": intent}
    raise ProviderRefused(
        f"Stripe has no charge or payment intent of {payment.reference}, so it cannot be refunded: nothing was paid",
        status=404,
    )
