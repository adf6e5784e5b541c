"""Operator methods, for keys with the scope `admin`: adjustments and refunds."""

from __future__ import annotations

from typing import Any

from scrip_client.base import Answer, Base, new_id, path_of


class Operating(Base):
    def adjust(
        self,
        customer: str,
        units: int,
        reason: str,
        *,
        type: str | None = None,
        expires_after: str | None = None,
        allow_debt: bool = False,
        id: str | None = None,
    ) -> Answer:
        """Credit units, or debit them if negative: `{"id", "units", "balance", "entry"}`.

        `type` is `bonus` or `admin_adjustment` (default). `expires_after` is a duration such as `30d`. With
        `allow_debt`, a debit may exceed the available units.
        """
        adjustment: dict[str, Any] = {"units": units, "reason": reason, "type": type, "expires_after": expires_after}
        return self._post(
            "/v1/adjustments", id=id or new_id(), customer=customer, allow_debt=allow_debt or None, **adjustment
        )

    def refund(self, entry: int, reason: str, *, units: int | None = None, id: str | None = None) -> Answer:
        """Refund a deduction, or `units` of it, to its lots: `{"id", "units", "balance", "entry"}`."""
        return self._post("/v1/refunds", id=id or new_id(), entry=entry, units=units, reason=reason)

    def refund_payment(
        self, payment_id: str | int, reason: str, *, amount: str | None = None, id: str | None = None
    ) -> Answer:
        """Refund a payment at the provider: the remaining amount, or `amount`, such as `"4.99"`.

        The units are clawed back when the provider reports the refund.
        """
        return self._post(path_of("payments", payment_id, "refund"), id=id or new_id(), amount=amount, reason=reason)
