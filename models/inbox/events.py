"""Providers' events as stored: the raw signed text, what became of it, and the queue of those that are pending."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models import database, pagination
from models.database import Connection
from models.errors import NotFound

# The next step where it is the catalog's fault that an event is dead.
MEND = "mend the catalog, restart, and replay the event (POST /v1/events/{id}/replay)"

STORE = """
INSERT INTO inbox_event (app, provider, event_id, type, payload, received_at, next_attempt_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (app, provider, event_id) DO NOTHING
"""
DUE = """
SELECT id, solo FROM inbox_event WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY id LIMIT %s
"""
READ = """
SELECT id, app, provider, event_id, type, payload, received_at, attempts FROM inbox_event
WHERE id = ANY(%s) AND state = 'pending' AND next_attempt_at <= %s ORDER BY id
"""
LEASE = """
UPDATE inbox_event SET next_attempt_at = %s WHERE id = ANY(%s) AND state = 'pending' AND next_attempt_at <= %s
RETURNING id
"""
CLAIM = "SELECT id FROM inbox_event WHERE id = %s AND state = 'pending' AND attempts = %s FOR UPDATE SKIP LOCKED"
# Whoever has one of them locked is trying it, or counts its failure, and looks for itself (`wake_late`).
WAKE = """
UPDATE inbox_event SET next_attempt_at = %(now)s, state = 'pending', processed_at = NULL,
    attempts = CASE WHEN state = 'dead' THEN 0 ELSE attempts END,
    excused = CASE WHEN state = 'dead' THEN 0 ELSE excused END
WHERE id IN (
    SELECT id FROM inbox_event WHERE app = %(app)s AND provider = %(provider)s AND waits_for = ANY(%(known)s::text[])
    AND state IN ('pending', 'dead') FOR UPDATE SKIP LOCKED)
"""
WAKE_LATE = """
UPDATE inbox_event AS e SET next_attempt_at = %s WHERE e.id = %s AND e.state = 'pending' AND (
    EXISTS (SELECT 1 FROM provider_customer AS c
            WHERE (c.app, c.provider, c.provider_id) = (e.app, e.provider, e.waits_for))
    OR EXISTS (SELECT 1 FROM subscription AS s
               WHERE (s.app, s.provider, s.provider_id) = (e.app, e.provider, e.waits_for)))
"""
FINISH = """
UPDATE inbox_event SET state = %s, error = %s, customer = %s, processed_at = %s, attempts = attempts + 1 WHERE id = %s
"""


@dataclass(slots=True)
class Event:
    """An event as the drain reads it. `attempts`: how often it was tried before; `is_fetched`: its object is as the
    provider has it now, not as it was signed.
    """

    id: int
    app: str
    provider: str
    event_id: str
    type: str
    payload: dict[str, Any]
    received_at: datetime
    attempts: int = 0
    is_fetched: bool = False


def store(app: str, provider: str, event_id: str, type_: str, payload: str, *, now: datetime) -> bool:
    """Store the event in one commit; False if the provider's id is known already."""
    return database.write(STORE, [app, provider, event_id, type_, payload, now, now]).rowcount == 1


def due_ids(now: datetime, limit: int) -> list[int]:
    """The oldest pending events, up to one that has to be tried alone; that one alone when it is the first."""
    ids: list[int] = []
    for event_id, solo in database.read(DUE, [now, limit]):
        if solo and ids:
            break
        ids.append(event_id)
        if solo:
            break
    return ids


def read(ids: list[int], *, now: datetime) -> list[Event]:
    """Those of the events that are due still, oldest first; nothing is locked."""
    return [
        Event(id_, app, provider, provider_id, type_, orjson.loads(payload), received_at, attempts)
        for id_, app, provider, provider_id, type_, payload, received_at, attempts in database.read(READ, [ids, now])
    ]


def lease(ids: list[int], *, now: datetime, until: datetime) -> set[int]:
    """Keep the events from other drains until then. Returns those that no other drain took before."""
    taken = database.write(LEASE, [until, ids, now]).fetchall()
    return {id_ for (id_,) in taken}


def claim(conn: Connection, event: Event) -> bool:
    """Lock the event until the end of the transaction; False if another worker has it, or has tried it meanwhile."""
    database.require_transaction(conn)
    return conn.execute(CLAIM, [event.id, event.attempts], prepare=True).fetchone() is not None


def wake(app: str, provider: str, known: Collection[str], *, now: datetime) -> None:
    """What waits for one of these ids of the provider's, or died of waiting, is due at once: they are known now."""
    if known:
        database.write(WAKE, {"app": app, "provider": provider, "known": sorted(known), "now": now})


def wake_late(event_id: int, *, now: datetime) -> None:
    """The event is due at once where what it waits for became known while its failure was being counted."""
    database.write(WAKE_LATE, [now, event_id])


def finish(
    conn: Connection, event_id: int, state: str, *, now: datetime, customer: str | None, error: str | None
) -> None:
    """Mark what became of the event: `done`, maybe with a note of what could not be, or `ignored` with the reason."""
    conn.execute(FINISH, [state, error, customer, now, event_id], prepare=True)


SHOWN = (
    "SELECT id, event_id, provider, type, state, attempts, error, received_at, processed_at, customer FROM inbox_event"
)
GET = """
SELECT id, event_id, provider, type, state, attempts, error, received_at, processed_at, customer, payload
FROM inbox_event WHERE app = %s AND id = %s
"""
ENTRIES = """
SELECT id, amount, type, key, created_at FROM entry
WHERE app = %s AND meta ? 'event' AND meta ->> 'event' = %s ORDER BY id
"""
REPLAY = """
UPDATE inbox_event SET state = 'pending', attempts = 0, excused = 0, waits_for = NULL, solo = false, error = NULL,
    next_attempt_at = %s, processed_at = NULL
WHERE app = %s AND id = %s
"""


def get(app: str, event_id: int) -> dict[str, Any]:
    """One event with its payload and the entries that came of it.

    Raises:
        NotFound: the app has no such event.
    """
    rows = database.read(GET, [app, event_id])
    if not rows:
        raise NotFound(f"no event {event_id}")
    to_json = _to_json(rows[0][:10])
    entries = database.read(ENTRIES, [app, to_json["event_id"]])
    to_json["payload"] = orjson.Fragment(rows[0][10])  # as it came: reading it would round numbers beyond 64 bits
    to_json["entries"] = [
        dict(zip(("id", "amount", "type", "key", "created_at"), entry, strict=True)) for entry in entries
    ]
    return to_json


def list_page(
    app: str,
    *,
    state: str | None = None,
    provider: str | None = None,
    type: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Events of the app, newest first, and the cursor of the next page."""
    filters = {"app = %s": app, "state = %s": state, "provider = %s": provider, "type = %s": type}
    return pagination.by_id("events", SHOWN, "id", filters, limit, cursor, _to_json)


def replay(app: str, event_id: int, *, now: datetime) -> None:
    """Make the event pending again, whatever became of it: applying it twice changes nothing.

    Raises:
        NotFound: the app has no such event.
    """
    if database.write(REPLAY, [now, app, event_id]).rowcount == 0:
        raise NotFound(f"no event {event_id}")


def _to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    names = (
        "id",
        "event_id",
        "provider",
        "type",
        "state",
        "attempts",
        "error",
        "received_at",
        "processed_at",
        "customer",
    )
    return dict(zip(names, row, strict=True))
