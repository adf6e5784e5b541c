"""Charging: quotes, charges and holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scrip_client.base import Answer, Base, Lines, new_id, path_of, priced


class Charging(Base):
    def quote(self, customer: str, rate: str, quantity: int = 1) -> Answer:
        """The current price of the quantity, and whether it is available: `{"units", "available", "enough"}`."""
        return self._get(path_of("customers", customer, "quote"), rate=rate, quantity=quantity)

    def has_credits(
        self, customer: str, units: int | None = None, *, rate: str | None = None, quantity: int | None = None
    ) -> bool:
        """Whether the amount is available now. Only `hold` and `reserve` guarantee it later."""
        amount = priced(units, rate, quantity)
        if units is None:
            return bool(self.quote(customer, amount["rate"], amount["quantity"])["enough"])
        balance: Answer = self._get(path_of("customers", customer, "balance"))
        return bool(balance["available"] >= units)

    def charge(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        lines: Lines | None = None,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
        patience: float | None = None,
    ) -> Answer:
        """Deduct units now, all or none: `{"id", "units", "balance", "entry"}`.

        The amount is `units`, a `rate` and its `quantity` (1 by default), or up to 20 `lines` of both.

        Raises:
            InsufficientCredits: fewer units are available; nothing was deducted.
        """
        charge = {**priced(units, rate, quantity, lines), "reason": reason, "metadata": metadata}
        return self._post("/v1/charges", id=id or new_id(), customer=customer, patience=patience, **charge)

    def hold(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        lines: Lines | None = None,
        expires_in: int | None = None,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Answer:
        """Reserve units for `expires_in` seconds: `{"id", "units", "state", "expires_at", "available"}`."""
        hold = {
            **priced(units, rate, quantity, lines),
            "reason": reason,
            "metadata": metadata,
            "expires_in": expires_in,
        }
        return self._post("/v1/holds", id=id or new_id(), customer=customer, **hold)

    def capture(self, hold_id: str, units: int | None = None, *, patience: float | None = None) -> Answer:
        """Capture a hold, fully or with fewer or more `units`: `{"id", "state", "units", "balance"}`."""
        return self._post(path_of("holds", hold_id, "capture"), units=units, patience=patience)

    def release(self, hold_id: str) -> Answer:
        """Release a hold: `{"id", "state", "units", "balance"}`."""
        return self._post(path_of("holds", hold_id, "release"))
