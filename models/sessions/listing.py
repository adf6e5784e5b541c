"""Sessions in the form of the API: one, or a list of a customer's."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from models import database, pagination
from models.errors import NotFound

COLUMNS = """s.external_id, a.customer, s.state, s.free, s.created_at, s.started_at, s.ends_by, s.ended_at, s.ended_by,
s.units, s.shortfall, s.duration_seconds, s.entry_id, s.cooldown_until, s.summary, s.metadata, s.id"""
FIELDS = (
    "id customer state free created_at started_at ends_by ended_at ended_by units shortfall duration_seconds entry"
    " cooldown_until summary metadata"
).split()
ONE = f"SELECT {COLUMNS} FROM session s JOIN account a ON a.id = s.account_id WHERE s.app = %s AND s.external_id = %s"
MANY = f"""
SELECT {COLUMNS} FROM session s JOIN account a ON a.id = s.account_id
WHERE s.account_id = (SELECT id FROM account WHERE app = %(app)s AND customer = %(customer)s) AND s.id < %(below)s
  AND (%(state)s::text IS NULL OR s.state = %(state)s)
ORDER BY s.id DESC LIMIT %(limit)s
"""


def get(app: str, session_id: str) -> dict[str, Any]:
    """A session in the form of the API.

    Raises:
        NotFound: the app has no such session.
    """
    rows = database.read(ONE, [app, session_id])
    if not rows:
        raise NotFound(f"no session {session_id!r}")
    return _to_json(rows[0])


def list_page(
    app: str, customer: str, *, state: str | None = None, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A customer's sessions, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is not one that this list returned.
    """
    (below,) = pagination.decode("sessions", cursor)
    values = {"app": app, "customer": customer, "state": state, "below": below, "limit": limit + 1}
    rows, following = pagination.cut("sessions", database.read(MANY, values), limit, itemgetter(-1))
    return [_to_json(row) for row in rows], following


def _to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    session = dict(zip(FIELDS, row, strict=False))
    return {**session, "metadata": session["metadata"] or {}}
