"""Read methods: the catalog, balances, ledger entries, payments and usage reports."""

from __future__ import annotations

from collections.abc import Iterator

from scrip_client.base import Answer, Base, Time, path_of, written


class Reading(Base):
    def catalog(self) -> Answer:
        """The app's unit, packs, rates and plans."""
        return self._get("/v1/catalog")

    def balance(self, customer: str, *, as_of: Time | None = None) -> Answer:
        """`{"balance", "held", "available", "debt", "lots", "expiring_next", …}`; zeros for an unknown customer."""
        return self._get(path_of("customers", customer, "balance"), as_of=written(as_of))

    def entries(
        self,
        customer: str | None = None,
        *,
        type: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Iterator[Answer]:
        """The ledger entries of the customer, newest first.

        Without a customer, the entries of all customers, which requires the scope `admin`. `since` is inclusive,
        `until` exclusive.
        """
        path = "/v1/entries" if customer is None else path_of("customers", customer, "entries")
        period = {"from": written(since), "to": written(until)}
        return self._pages(path, "entries", type=type, **period)

    def entry(self, entry_id: int) -> Answer:
        """A ledger entry, with the lots that it credited or debited."""
        return self._get(path_of("entries", entry_id))

    def stats(self, customer: str) -> Answer:
        """The customer's statistics: `{"total_purchased", "total_spent", "monthly_usage", "by_rate", …}`."""
        return self._get(path_of("customers", customer, "stats"))

    def explain(self, customer: str) -> Answer:
        """The balance explained: all lots, with the entries that used them."""
        return self._get(path_of("customers", customer, "explain"))

    def payments(self, customer: str) -> Iterator[Answer]:
        """The customer's payments, newest first, with the state of their credit."""
        return self._pages(path_of("customers", customer, "payments"), "payments")

    def payment(self, payment_id: str | int) -> Answer:
        """A payment."""
        return self._get(path_of("payments", payment_id))

    def usage_report(self, report_id: str) -> Answer:
        """A usage report: `{"state": "pending" or "settled" …, "units", "shortfall", "entry", …}`."""
        return self._get(path_of("usage", report_id))

    def usage_reports(self, customer: str | None = None, *, state: str | None = None) -> Iterator[Answer]:
        """The usage reports, newest first; optionally of one customer or state."""
        return self._pages("/v1/usage", "reports", customer=customer, state=state)
