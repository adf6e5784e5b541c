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
    """Ask for the refund: its id, its state, its minor units. The same request again is the same one.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("refund", app.slug, payment.id, request.external_id)
    params: dict[str, Any] = {
        **_what(app, payment),
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


def _what(app: App, payment: RefundablePayment) -> dict[str, str]:
    """What Stripe can refund, among the ids that the payment goes by."""
    for start, name in (("pi_", "payment_intent"), ("ch_", "charge"), ("py_", "charge")):
        for known in payment.ids:
            if known.startswith(start):
                return {name: known}
    for known in payment.ids:
        if known.startswith("in_"):
            for intent in refetch.payment_intents(app, known):
                return {"payment_intent": intent}
    raise ProviderRefused(f"Stripe knows no money of {payment.reference}: nothing was paid", status=404)
