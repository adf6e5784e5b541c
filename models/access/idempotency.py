"""Idempotency keys: stored responses of creating requests, by the id that the client gave.

A response is stored in the transaction that did the work. Of two concurrent requests with one id, the second one's
INSERT waits for the first one's COMMIT and finds the id taken. Its whole transaction is then run again and recalls.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import orjson
from psycopg.errors import SerializationFailure, UniqueViolation

from models import database
from models.database import Connection
from models.errors import Conflict

T = TypeVar("T")


def transaction(work: Callable[[Connection], T]) -> T:
    """Run `work` in `database.transaction`, and once more after a unique violation.

    Another transaction has then inserted the same key meanwhile, which the second run finds.
    """
    try:
        return database.transaction(work)
    except UniqueViolation:
        return database.transaction(work)


def recall(
    conn: Connection, app: str, resource: str, request_id: str, content: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the stored response, or None if the id is new.

    Raises:
        Conflict: the id is stored with other content.
    """
    # SQL, not peewee: every creating request runs both statements of this module, and peewee adds 2 ms of CPU to them.
    row = conn.execute(
        "SELECT content, answer FROM request WHERE app = %s AND resource = %s AND id = %s",
        [app, resource, request_id],
        prepare=True,
    ).fetchone()
    if row is None:
        return None
    if row[0] != content:
        raise Conflict(f"{resource} {request_id!r} is stored with other content", id=request_id)
    answer: dict[str, Any] = row[1]
    return answer


def remember(
    conn: Connection,
    app: str,
    resource: str,
    request_id: str,
    customer: str,
    content: dict[str, Any],
    answer: dict[str, Any],
    *,
    now: datetime,
) -> None:
    """Store the response.

    Raises:
        SerializationFailure: another transaction stored the id first. Running this transaction again recalls it.
    """
    stored = conn.execute(
        """INSERT INTO request (app, resource, id, customer, content, answer, created_at)
        VALUES (%s, %s, %s, %s, %s::jsonb, %s::json, %s) ON CONFLICT DO NOTHING""",
        [app, resource, request_id, customer, orjson.dumps(content).decode(), orjson.dumps(answer).decode(), now],
        prepare=True,
    ).rowcount
    if not stored:
        raise SerializationFailure(f"{resource} {request_id} was stored by another transaction")
