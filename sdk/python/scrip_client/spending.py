"""Spending credit: reservations and usage reports, in addition to charges and holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from scrip_client.base import Answer, Lines, Time, new_id, priced, written
from scrip_client.charging import Charging
from scrip_client.reservation import DEFAULT_EXPIRY_SECONDS, Reservation

MOST_REPORTS = 1000


class Spending(Charging):
    def reserve(
        self,
        customer: str,
        units: int | None = None,
        *,
        rate: str | None = None,
        quantity: int | None = None,
        lines: Lines | None = None,
        expires_in: int = DEFAULT_EXPIRY_SECONDS,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Reservation:
        """A reservation for a block of work: held at its start, captured at its end, released if it raises.

        with scrip.reserve("ada", rate="song_generation") as hold:
            song = generate()
        """
        terms = priced(units, rate, quantity, lines)
        return Reservation(
            self, customer, terms, expires_in=expires_in, reason=reason, metadata=metadata, id=id or new_id()
        )

    def report_usage(
        self,
        customer: str,
        rate: str | None = None,
        quantity: int | None = None,
        *,
        lines: Lines | None = None,
        occurred_at: Time | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> str:
        """Report past usage. Scrip deducts its units within moments. Returns the id of the report.

        The usage is a `rate` and its `quantity` (1 by default), or up to 20 `lines` of both. It is priced now, by the
        current catalog. Pass an `id` if the same usage may be reported again: reports with the same id are counted
        once.
        """
        report_id = id or new_id()
        usage = {**priced(None, rate, quantity, lines), "metadata": metadata}
        self._post("/v1/usage", id=report_id, customer=customer, occurred_at=written(occurred_at), **usage)
        return report_id

    def report_usages(self, reports: Iterable[Mapping[str, Any]]) -> Answer:
        """Report usage in bulk. Returns `{"accepted", "duplicates"}`.

        Each report is `{"customer", "rate", "quantity"}` or `{"customer", "lines"}`, with optional `id`, `occurred_at`
        and `metadata`. Reports are sent in batches of 1000; of each batch all are stored or none.
        """
        total = {"accepted": 0, "duplicates": 0}
        remaining = iter(reports)
        while batch := [_identified(report) for report in islice(remaining, MOST_REPORTS)]:
            answer = self._post("/v1/usage", reports=batch)
            total = {name: count + answer[name] for name, count in total.items()}
        return total


def _identified(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": new_id(), **report, **({"occurred_at": written(when)} if (when := report.get("occurred_at")) else {})}
