"""ERROR rows of the operation log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from models.database import Connection

INSERT = """
INSERT INTO operation_error (app, operation, customer, details, error, created_at)
VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, %s)
"""


def log_error(
    conn: Connection,
    app: str,
    operation: str,
    customer: str | None,
    details: dict[str, Any],
    error: str | dict[str, Any],
    now: datetime,
) -> None:
    """Insert an ERROR row into the operation log. `error`: a message, or an object that contains `message`."""
    content = error if isinstance(error, dict) else {"message": error}
    conn.execute(
        INSERT, [app, operation, customer, orjson.dumps(details).decode(), orjson.dumps(content).decode(), now]
    )
