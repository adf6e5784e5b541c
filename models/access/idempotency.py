"""The answers that creating requests got, by the id their client gave: the same request again gets the same answer.

The answer is stored in the transaction that did the work. Two requests with one id at once: the second one's insert
waits for the first one's commit, finds the id taken, and the whole transaction runs again and recalls.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from psycopg.errors import SerializationFailure

from models.database import Connection
from models.errors import Conflict


def recall(
    conn: Connection, app: str, resource: str, request_id: str, content: dict[str, Any]
) -> dict[str, Any] | None:
    """The stored answer, or None for an id that is new.

    Raises:
        Conflict: the id is stored with other content.
    """
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
    """Store the answer.

    Raises:
        SerializationFailure: another transaction stored the id first; running this one again will recall it.
    """
    stored = conn.execute(
        """INSERT INTO request (app, resource, id, customer, content, answer, created_at)
        VALUES (%s, %s, %s, %s, %s::jsonb, %s::json, %s) ON CONFLICT DO NOTHING""",
        [app, resource, request_id, customer, orjson.dumps(content).decode(), orjson.dumps(answer).decode(), now],
        prepare=True,
    ).rowcount
    if not stored:
        raise SerializationFailure(f"{resource} {request_id} was stored meanwhile")
