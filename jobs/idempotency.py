"""The shape of every creating request: recall, else do and remember, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation

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
    """Do `work(conn, id)` once for the id in `body` (made here where it has none). Returns (answer, whether it is new).

    A refusal stores nothing but a line in the operation log, in a commit of its own.

    Raises:
        Conflict: the id is stored with other content.
    """
    request_id = body.get("id") or uuid.uuid4().hex
    content = {name: value for name, value in body.items() if name not in NOT_CONTENT and value is not None}

    def attempt(conn: Connection) -> tuple[dict[str, Any], bool]:
        known = idempotency.recall(conn, app.slug, resource, request_id, content)
        if known is not None:
            return known, False
        answer = work(conn, request_id)
        idempotency.remember(conn, app.slug, resource, request_id, body["customer"], content, answer, now=now)
        return answer, True

    try:
        try:
            return database.transaction(attempt)
        except UniqueViolation:
            return database.transaction(attempt)
    except ScripError as refusal:
        details = {"key": f"{resource}:{request_id}", "id": request_id, **content}
        log_refusal(app.slug, operation, body.get("customer"), details, refusal, now)
        raise


def log_refusal(
    app: str, operation: str, customer: str | None, details: dict[str, Any], refusal: ScripError, now: datetime
) -> None:
    """An ERROR row for what was refused; it outlives the rollback."""
    error = {"type": type(refusal).__name__, "message": refusal.detail, **refusal.extra}
    database.transaction(lambda conn: log_error(conn, app, operation, customer, details, error, now))


def refused(outcome: Outcome) -> ScripError:
    """The refusal of a movement that wanted more than is available, or than an account can hold."""
    if outcome.refusal == "beyond":
        return Invalid([("units", "would carry the balance beyond what an account can hold")])
    return InsufficientBalance(available=outcome.available, required=outcome.shortfall)
