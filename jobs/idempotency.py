"""Idempotent create: return the stored response, else run the operation and store its response, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from models import database
from models.access import idempotency
from models.catalog.apps import App
from models.database import Connection
from models.errors import InsufficientBalance, Invalid, ScripError
from models.operations.errors import log_error
from models.planning.movements import Outcome

NOT_CONTENT = ("id", "metadata", "occurred_at")


def once(
    app: App,
    resource: str,
    operation: str,
    body: dict[str, Any],
    work: Callable[[Connection, str], dict[str, Any]],
    *,
    now: datetime,
) -> tuple[dict[str, Any], bool]:
    """Run `work(conn, id)` once for the id in `body`, or for a new id. Returns (response, whether it is new).

    A refused request stores only an ERROR row of the operation log, in a commit of its own.

    Raises:
        Conflict: the id is stored with other content.
    """
    request_id = body.get("id") or uuid.uuid4().hex
    content = {name: value for name, value in body.items() if name not in NOT_CONTENT and value is not None}

    def attempt(conn: Connection) -> tuple[dict[str, Any], bool]:
        stored = idempotency.recall(conn, app.slug, resource, request_id, content)
        if stored is not None:
            return stored, False
        response = work(conn, request_id)
        idempotency.remember(conn, app.slug, resource, request_id, body["customer"], content, response, now=now)
        return response, True

    try:
        return idempotency.transaction(attempt)
    except ScripError as refusal:
        details = {"key": f"{resource}:{request_id}", "id": request_id, **content}
        log_refusal(app.slug, operation, body.get("customer"), details, refusal, now)
        raise


def log_refusal(
    app: str, operation: str, customer: str | None, details: dict[str, Any], refusal: ScripError, now: datetime
) -> None:
    """Insert an ERROR row for a refused request into the operation log, in a commit of its own."""
    error = {"type": type(refusal).__name__, "message": refusal.detail, **refusal.extra}
    database.transaction(lambda conn: log_error(conn, app, operation, customer, details, error, now))


def refused(outcome: Outcome) -> ScripError:
    """Return the error for a movement that needs more than is available, or that exceeds what an account can hold."""
    if outcome.refusal == "beyond":
        return Invalid([("units", "would carry the balance beyond what an account can hold")])
    return InsufficientBalance(available=outcome.available, required=outcome.shortfall)
