"""Usage reports: priced and stored when they are received, settled by the usage worker.

Accepting stores the reports with their prices and queues them, in one commit. A later catalog changes no price.
Settling takes up to a batch of one lane from the queue, posts one deduction per report and stores the outcomes, in one
transaction: a crash rolls all of it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from jobs import dead_letters
from jobs.ledger import pricing
from jobs.ledger.pricing import MOST_UNITS, Price
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, Invalid, Unprocessable
from models.inbox import attempts
from models.ledger.post import post
from models.operations.errors import log_error
from models.planning.movements import Outcome, Take
from models.usage import queue
from models.usage import reports as stored_reports
from models.usage.queue import Report, Settlement
from runtime.crashpoints import crashpoint

BATCH = 1000
CONTENT = ("customer", "rate", "quantity", "lines")


def accept(app: App, reports: Sequence[dict[str, Any]], *, now: datetime) -> tuple[int, int]:
    """Store and queue the reports, all or none. Returns (accepted, duplicates).

    Raises:
        Invalid: rates are not in the catalog, or prices exceed the limit. All such reports are named.
        Conflict: an id is repeated with other content, in the batch or in storage.
    """
    refused = unknown_rates(app, reports)
    if refused:
        raise Invalid(refused)
    fresh = _distinct(reports, _prices(app, reports))
    accepted = stored_reports.accept(app.slug, fresh, now=now) if fresh else 0
    return accepted, len(reports) - accepted


def unknown_rates(app: App, reports: Sequence[Any]) -> list[tuple[str, str]]:
    """(field, reason) of each rate that is not in the catalog. Items that are not reports are skipped."""
    single = [
        (f"reports[{index}].rate", pricing.unknown(app, report["rate"]))
        for index, report in enumerate(reports)
        if isinstance(report, dict) and isinstance(report.get("rate"), str) and report["rate"] not in app.rates
    ]
    return single + [
        (f"reports[{index}].lines[{position}].rate", pricing.unknown(app, line["rate"]))
        for index, report in enumerate(reports)
        if isinstance(report, dict) and isinstance(report.get("lines"), list)
        for position, line in enumerate(report["lines"])
        if isinstance(line, dict) and isinstance(line.get("rate"), str) and line["rate"] not in app.rates
    ]


def _prices(app: App, reports: Sequence[dict[str, Any]]) -> list[str]:
    """The stored price of each report, by the current catalog."""
    priced = [pricing.stored(app, report) for report in reports]
    excessive = [
        (f"reports[{index}].{'lines' if 'lines' in report else 'quantity'}", f"costs more than {MOST_UNITS} units")
        for index, (report, (_, units)) in enumerate(zip(reports, priced, strict=True))
        if units > MOST_UNITS
    ]
    if excessive:
        raise Invalid(excessive)
    return [price for price, _ in priced]


def _distinct(reports: Sequence[dict[str, Any]], prices: Sequence[str]) -> list[tuple[dict[str, Any], str]]:
    """Each report once, with its price."""
    seen: dict[str, tuple[dict[str, Any], str]] = {}
    for report, price in zip(reports, prices, strict=True):
        first, _ = seen.setdefault(report["id"], (report, price))
        if first is not report and any(first.get(name) != report.get(name) for name in CONTENT):
            raise Conflict(
                f"usage report {report['id']!r} is in the batch twice, with different content", id=report["id"]
            )
    return list(seen.values())


def replay(app: App, report_id: str, *, now: datetime) -> dict[str, Any]:
    """Queue a dead or refused report again, as if it were received now. Returns the report as JSON.

    Raises:
        NotFound: the app has no such report.
        Conflict: the report is pending or settled.
    """
    stored_reports.replay(app.slug, report_id, now=now)
    return stored_reports.get(app.slug, report_id)


def settle(*, now: datetime, limit: int = BATCH) -> int:
    """Settle up to `limit` due reports of one lane. Returns how many were attempted; 0 when none is due."""
    dead_letters.recover_crashed_attempts("usage", now=now)
    begun = database.transaction(lambda conn: _begin(conn, now, limit))
    if begun is None:
        return 0
    lane, attempt_id, ids = begun
    dead_letters.apply_or_split(
        ids,
        apply=lambda part: database.transaction(lambda conn: _settle(conn, lane, part, now)),
        on_failure=lambda report_id, error: dead_letters.count_failure("usage", report_id, error, now=now),
    )
    attempts.end(attempt_id)
    return len(ids)


def _begin(conn: Connection, now: datetime, limit: int) -> tuple[int, int, list[int]] | None:
    while (lane := _lane(conn, now)) is not None:
        # Read after the lock is taken: reports that were due before may have been settled meanwhile.
        ids = queue.due_ids(conn, lane, now, limit)
        if ids:
            return lane, attempts.begin(conn, "usage", ids), ids
    return None


def _lane(conn: Connection, now: datetime) -> int | None:
    free = queue.claim_lane(conn, now)
    return free if free is not None else queue.wait_for_lane(conn, now)


def _settle(conn: Connection, lane: int, ids: Sequence[int], now: datetime) -> int:
    """Settle these reports in the transaction. Returns how many were still due; 0 if another drain keeps the lane."""
    if not queue.lock_lane(conn, lane):
        return 0
    crashpoint("usage-before-take")
    reports = queue.take(conn, ids, now=now)
    crashpoint("usage-before-post")
    outcomes = post(conn, [_movement(report) for report in reports], now=now)
    crashpoint("usage-after-post")
    if reports:
        queue.settle(conn, [_settlement(*pair) for pair in zip(reports, outcomes, strict=True)], now=now)
        _log_refusals(conn, reports, outcomes, now)
    crashpoint("usage-before-commit")
    return len(reports)


def _log_refusals(conn: Connection, reports: Sequence[Report], outcomes: Sequence[Outcome], now: datetime) -> None:
    """Log an ERROR for each report that was refused for lack of balance. The row stays when the report is replayed."""
    for report, outcome in zip(reports, outcomes, strict=True):
        if outcome.status == "refused":
            usage = {"lines": report.lines} if report.lines else {"rate": report.rate, "quantity": report.quantity}
            details = {"report": report.external_id, **usage, "dead": False}
            error = {"message": f"{outcome.shortfall} required, {outcome.available} available"}
            log_error(conn, report.app, "TRACK_USAGE", report.customer, details, error, now)


def _movement(report: Report) -> Take:
    price = report.price or _price_now(report)
    each = pricing.rounded_each(price) if report.lines is None else None
    if each is None:
        return _carried_movement(report, pricing.restored(price, report.rate, report.quantity, report.lines))
    units, terms = each
    return _take(report, units, report.rate, {"rate": report.rate, "quantity": report.quantity, "price": terms})


def _carried_movement(report: Report, price: Price) -> Take:
    take = _take(report, price.units, price.reason, price.meta)
    take.carried, take.has_row = price.carried, True
    return take


def _take(report: Report, units: int, reason: str | None, meta: dict[str, Any]) -> Take:
    if report.metadata:
        meta["metadata"] = report.metadata
    return Take(
        app=report.app,
        customer=report.customer,
        key=f"usage:{report.external_id}",
        units=units,
        reason=reason or "",
        meta=meta,
        actor="usage",
        occurred_at=report.occurred_at,
        received_at=report.received_at,
    )


def _price_now(report: Report) -> str:
    """The price of a report that an earlier version accepted: by the current catalog, rounded up by itself."""
    assert report.rate is not None
    assert report.quantity is not None
    rate = catalog.current()[report.app].rates.get(report.rate)
    if rate is None:
        raise Unprocessable(f"the catalog of {report.app} no longer has the rate {report.rate!r}")
    return orjson.dumps(pricing.current(rate, report.quantity, carry=False)).decode()


def _settlement(report: Report, outcome: Outcome) -> Settlement:
    if outcome.status == "refused":
        return Settlement(report.id, "refused", 0, outcome.shortfall, None)
    return Settlement(report.id, "settled", outcome.units, outcome.shortfall, outcome.entry_id)
