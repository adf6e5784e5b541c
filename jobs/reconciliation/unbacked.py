"""Scrip to provider: credits without a payment at the provider are reported. They are never changed."""

from __future__ import annotations

from typing import Any

from jobs.reconciliation.findings import Finding, Page
from jobs.reconciliation.sources import Scope
from models.payments import reconciliation

CREDITS_AT_ONCE = 20


def check_credits(page: Page, scope: Scope, cursor: str | None) -> str | None:
    """Fetch credited payments that no list has shown, by their ids. Returns the cursor of the next page, or None.

    Raises:
        ProviderAway, ProviderRefused: the provider did not return a payment.
    """
    rows = reconciliation.unconfirmed(*scope.key, since=scope.since, after=int(cursor or 0), limit=CREDITS_AT_ONCE)
    for row in rows:
        reason = scope.source.why_unpaid(scope.app, row.ids)
        if reason is None:
            reconciliation.confirm(*scope.key, [row.reference], now=scope.now)
            continue
        page.counts["unbacked"] += 1
        detail = f"payment {row.id} of {row.customer!r} credited {row.units} units, but {reason}"
        credited: dict[str, Any] = {"customer": row.customer, "units": row.units, "payment": row.id}
        page.found.append(Finding(*scope.key, "unbacked", row.reference, detail, **credited))
    page.counts["looked_at"] += len(rows)
    return str(rows[-1].id) if len(rows) == CREDITS_AT_ONCE else None
