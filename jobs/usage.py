"""Usage reports: accepted at the door, priced and settled by a drain.

Accepting stores the report and queues it in one commit. Settling takes up to a batch of one lane, posts one deduction a
report and writes the outcome, in one transaction: a crash is a rollback, and no report can be stuck half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jobs import dead_letters
from jobs.ledger import pricing
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


def accept(app: App, reports: Sequence[dict[str, Any]], *, now: datetime) -> tuple[int, int]:
    """Store the reports; returns (accepted, duplicates). All or none are stored.

    Raises:
        Invalid: a rate is not in the catalog, or a price is absurd; every such report is named.
        Conflict: an id was seen with other content, in the batch or before.
    """
    refused = unknown_rates(app, reports) or _absurd_prices(app, reports)
    if refused:
        raise Invalid(refused)
    fresh = _distinct(reports)
    accepted = stored_reports.accept(app.slug, fresh, now=now) if fresh else 0
    return accepted, len(reports) - accepted


def unknown_rates(app: App, reports: Sequence[Any]) -> list[tuple[str, str]]:
    """(field, reason) of each report whose rate is none of the catalog's; items that are no reports are passed over."""
    known = ", ".join(app.rates) or "none"
    return [
        (f"reports[{index}].rate", f"unknown rate {report['rate']!r}; the app has {known}")
        for index, report in enumerate(reports)
        if isinstance(report, dict) and isinstance(report.get("rate"), str) and report["rate"] not in app.rates
    ]


def _absurd_prices(app: App, reports: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (f"reports[{index}].quantity", f"comes to more than {pricing.MOST_UNITS} units")
        for index, report in enumerate(reports)
        if app.rates[report["rate"]].price(report["quantity"]) > pricing.MOST_UNITS
    ]


def _distinct(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: dict[str, dict[str, Any]] = {}
    for report in reports:
        first = seen.setdefault(report["id"], report)
        if any(first[name] != report[name] for name in ("customer", "rate", "quantity")):
            raise Conflict(
                f"usage report {report['id']!r} stands twice in the batch, with other content", id=report["id"]
            )
    return list(seen.values())


def replay(app: App, report_id: str, *, now: datetime) -> dict[str, Any]:
    """Queue a dead or refused report again, judged as received now; returns it as the API shows it.

    Raises:
        NotFound: the app has no such report.
        Conflict: it is pending or settled.
    """
    stored_reports.replay(app.slug, report_id, now=now)
    return stored_reports.get(app.slug, report_id)


def settle(*, now: datetime, limit: int = BATCH) -> int:
    """Settle up to `limit` due reports of one lane that no other drain has. Returns how many; 0 when none is left."""
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
        # Read after the lock: what was due before it may be settled by now.
        ids = queue.due_ids(conn, lane, now, limit)
        if ids:
            return lane, attempts.begin(conn, "usage", ids), ids
    return None


def _lane(conn: Connection, now: datetime) -> int | None:
    free = queue.claim_lane(conn, now)
    return free if free is not None else queue.wait_for_lane(conn, now)


def _settle(conn: Connection, lane: int, ids: Sequence[int], now: datetime) -> int:
    """Settle these reports in one transaction. Returns how many were still to settle; none while the lane is taken."""
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
    """An ERROR of the operation log for each report that its app's rule refused; it outlives a replay."""
    for report, outcome in zip(reports, outcomes, strict=True):
        if outcome.status == "refused":
            details = {"report": report.external_id, "rate": report.rate, "quantity": report.quantity, "dead": False}
            error = {"message": f"{outcome.shortfall} required, {outcome.available} available"}
            log_error(conn, report.app, "TRACK_USAGE", report.customer, details, error, now)


def _movement(report: Report) -> Take:
    app = catalog.current()[report.app]
    rate = app.rates.get(report.rate)
    if rate is None:
        raise Unprocessable(f"the catalog of {report.app} has no rate {report.rate!r} any more")
    return Take(
        app=report.app,
        customer=report.customer,
        key=f"usage:{report.external_id}",
        units=rate.price(report.quantity),
        reason=report.rate,
        meta={
            "rate": report.rate,
            "quantity": report.quantity,
            "price": [rate.units, rate.per, rate.minimum],
            **({"metadata": report.metadata} if report.metadata else {}),
        },
        actor="usage",
        occurred_at=report.occurred_at,
        received_at=report.received_at,
    )


def _settlement(report: Report, outcome: Outcome) -> Settlement:
    if outcome.status == "refused":
        return Settlement(report.id, "refused", 0, outcome.shortfall, None)
    return Settlement(report.id, "settled", outcome.units, outcome.shortfall, outcome.entry_id)
