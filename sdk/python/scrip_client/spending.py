"""Spending credit: asked for before, taken at once, held and captured, or reported after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from scrip_client.base import Answer, Base, Time, new_id, path_of, priced, written
from scrip_client.reservation import DEFAULT_EXPIRY_SECONDS, Reservation

MOST_REPORTS = 1000


class Spending(Base):
    def quote(self, customer: str, rate: str, quantity: int = 1) -> Answer:
        """What the quantity would cost now: `{"units", "available", "enough"}`."""
        return self._get(path_of("customers", customer, "quote"), rate=rate, quantity=quantity)

    def has_credits(
        self, customer: str, units: int | None = None, *, rate: str | None = None, quantity: int | None = None
    ) -> bool:
        """Whether so much is available now. It may be gone a moment later: `hold` or `reserve` keeps it."""
        wanted = priced(units, rate, quantity)
        if units is None:
            return bool(self.quote(customer, wanted["rate"], wanted["quantity"])["enough"])
        balance: Answer = self._get(path_of("customers", customer, "balance"))
        return bool(balance["available"] >= units)

    def charge(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
        patience: float | None = None,
    ) -> Answer:
        """Take units now, all or nothing: `{"id", "units", "balance", "entry"}`. Too little: InsufficientCredits."""
        what = {**priced(units, rate, quantity), "reason": reason, "metadata": metadata}
        return self._post("/v1/charges", id=id or new_id(), customer=customer, patience=patience, **what)

    def hold(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        expires_in: int | None = None,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Answer:
        """Set units aside for `expires_in` seconds: `{"id", "units", "state", "expires_at", "available"}`."""
        what = {**priced(units, rate, quantity), "reason": reason, "metadata": metadata, "expires_in": expires_in}
        return self._post("/v1/holds", id=id or new_id(), customer=customer, **what)

    def capture(self, hold_id: str, units: int | None = None, *, patience: float | None = None) -> Answer:
        """Spend a hold, or `units` of it, or more than it: `{"id", "state", "units", "balance"}`."""
        return self._post(path_of("holds", hold_id, "capture"), units=units, patience=patience)

    def release(self, hold_id: str) -> Answer:
        """Free a hold: `{"id", "state", "units", "balance"}`."""
        return self._post(path_of("holds", hold_id, "release"))

    def reserve(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        expires_in: int = DEFAULT_EXPIRY_SECONDS,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Reservation:
        """Credit for the time of a block: held at its start, taken at its end, free again if it raises.

        with scrip.reserve("ada", rate="song_generation") as hold:
            song = generate()
        """
        terms = priced(units, rate, quantity)
        return Reservation(
            self, customer, terms, expires_in=expires_in, reason=reason, metadata=metadata, id=id or new_id()
        )

    def report_usage(
        self,
        customer: str,
        rate: str,
        quantity: int,
        *,
        occurred_at: Time | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> str:
        """Report use that has happened; Scrip takes its units within moments. Returns the report's id.

        Give an `id` of your own where you might report the same use again: it is what keeps it from counting twice.
        """
        report_id = id or new_id()
        what: dict[str, Any] = {"rate": rate, "quantity": quantity, "metadata": metadata}
        self._post("/v1/usage", id=report_id, customer=customer, occurred_at=written(occurred_at), **what)
        return report_id

    def report_usages(self, reports: Iterable[Mapping[str, Any]]) -> Answer:
        """Report many: `{"accepted", "duplicates"}`. Each is `{"customer", "rate", "quantity"}`, with an `id`,
        `occurred_at` or `metadata` if you like. They are sent a thousand at a time; of each thousand all or none are
        stored.
        """
        total = {"accepted": 0, "duplicates": 0}
        waiting = iter(reports)
        while batch := [_identified(report) for report in islice(waiting, MOST_REPORTS)]:
            answer = self._post("/v1/usage", reports=batch)
            total = {name: count + answer[name] for name, count in total.items()}
        return total


def _identified(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": new_id(), **report, **({"occurred_at": written(when)} if (when := report.get("occurred_at")) else {})}
