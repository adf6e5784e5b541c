"""The outgoing events about a payment."""

from __future__ import annotations

from typing import Any

from models import money
from models.outbox.messages import Message
from models.payments.payments import ReversiblePayment


def settled(
    app: str, customer: str, provider: str, payment_id: int, reference: str,
    amount_minor: int | None, currency: str | None, paid_for: dict[str, Any],
) -> Message:  # fmt: skip
    """`payment.settled`, once for a payment. `paid_for`: what it paid for."""
    paid = None if amount_minor is None or not currency else money.as_json(amount_minor, currency)
    content = {"payment": payment_id, "provider": provider, "reference": reference, "money": paid, **paid_for}
    return Message(app, "payment.settled", customer, content, key=f"payment.settled:{payment_id}")


def reversed_(app: str, customer: str, payment: ReversiblePayment, units: int) -> Message:
    """`payment.reversed`. `units`: those that the reversed amount stands for."""
    data = {
        "payment": payment.id,
        "provider": payment.provider,
        "reference": payment.reference,
        "state": payment.state,
        "refunded_minor": payment.refunded_minor,
        "disputed_minor": payment.disputed_minor,
        "units": units,
    }
    return Message(app, "payment.reversed", customer, data)
