"""The inbox: providers' events as received (the signed text), their state, and the queue of pending events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import orjson
from peewee import SQL

from models import database, pagination
from models.database import Connection
from models.errors import NotFound
from models.tables import Entry, InboxEvent

# The next step for an operator where an event is dead because of the catalog.
MEND = "correct the catalog, restart, and replay the event (POST /v1/events/{id}/replay)"

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
# A locked event is being processed, or its failure is being counted; `wake_late` covers it.
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
    """A pending event. `attempts`: its attempts so far.

    `is_fetched`: its object was refetched from the provider, at `fetched_at` by the provider's clock.
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
    fetched_at: datetime | None = None


def store(app: str, provider: str, event_id: str, type_: str, payload: str, *, now: datetime) -> bool:
    """Store the event, in a commit of its own. False if an event of this id is stored already."""
    return database.write(STORE, [app, provider, event_id, type_, payload, now, now]).rowcount == 1


def due_ids(now: datetime, limit: int) -> list[int]:
    """The oldest due events, up to the first isolated one; if that is the oldest, it alone."""
    ids: list[int] = []
    for event_id, solo in database.read(DUE, [now, limit]):
        if solo and ids:
            break
        ids.append(event_id)
        if solo:
            break
    return ids


def read(ids: list[int], *, now: datetime) -> list[Event]:
    """Those of the events that are still due, oldest first. Nothing is locked."""
    return [
        Event(id_, app, provider, provider_id, type_, orjson.loads(payload), received_at, attempts)
        for id_, app, provider, provider_id, type_, payload, received_at, attempts in database.read(READ, [ids, now])
    ]


def lease(ids: list[int], *, now: datetime, until: datetime) -> set[int]:
    """Reserve the events for this drain until a time. Returns those that no other drain has reserved."""
    taken = database.write(LEASE, [until, ids, now]).fetchall()
    return {id_ for (id_,) in taken}


def claim(conn: Connection, event: Event) -> bool:
    """Lock the event until the end of the transaction. False if another worker has locked or attempted it."""
    database.require_transaction(conn)
    return conn.execute(CLAIM, [event.id, event.attempts], prepare=True).fetchone() is not None


def wake(app: str, provider: str, known: Collection[str], *, now: datetime) -> None:
    """Make events due that wait for one of these ids of the provider's, which are `known` now; dead ones too."""
    if known:
        database.write(WAKE, {"app": app, "provider": provider, "known": sorted(known), "now": now})


def wake_late(event_id: int, *, now: datetime) -> None:
    """Make the event due if the id that it waits for became known while its failure was being counted."""
    database.write(WAKE_LATE, [now, event_id])


def finish(
    conn: Connection, event_id: int, state: str, *, now: datetime, customer: str | None, error: str | None
) -> None:
    """Store the result: `done`, with a note in `error` if a part could not be applied, or `ignored` with the reason."""
    conn.execute(FINISH, [state, error, customer, now, event_id], prepare=True)


SHOWN = (
    InboxEvent.id,
    InboxEvent.event_id,
    InboxEvent.provider,
    InboxEvent.type,
    InboxEvent.state,
    InboxEvent.attempts,
    InboxEvent.error,
    InboxEvent.received_at,
    InboxEvent.processed_at,
    InboxEvent.customer,
)
OF_EVENT = (Entry.id, Entry.amount, Entry.type, Entry.key, Entry.created_at)
# As constants, so that the planner can use the partial index `entry_event`.
IS_OF_EVENT = "meta ? 'event' AND meta ->> 'event' = %s"
REPLAY = """
UPDATE inbox_event SET state = 'pending', attempts = 0, excused = 0, waits_for = NULL, solo = false, error = NULL,
    next_attempt_at = %s, processed_at = NULL
WHERE app = %s AND id = %s
"""


def get(app: str, event_id: int) -> dict[str, Any]:
    """One event as JSON, with its payload and the entries that it created.

    Raises:
        NotFound: the app has no such event.
    """
    query = InboxEvent.select(*SHOWN, InboxEvent.payload).where(InboxEvent.app == app, InboxEvent.id == event_id)
    event: dict[str, Any] | None = query.dicts().first()
    if event is None:
        raise NotFound(f"no event {event_id}")
    entries = Entry.select(*OF_EVENT).where(Entry.app == app, SQL(IS_OF_EVENT, [event["event_id"]])).order_by(Entry.id)
    # The text as received: decoding and encoding would round numbers beyond 64 bits.
    return {**event, "payload": orjson.Fragment(event["payload"]), "entries": list(entries.dicts())}


def list_page(
    app: str,
    *,
    state: str | None = None,
    provider: str | None = None,
    type: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the app's events as JSON, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is invalid or belongs to another list.
    """
    (below,) = pagination.decode("events", cursor)
    filters = ((InboxEvent.state, state), (InboxEvent.provider, provider), (InboxEvent.type, type))
    conditions = [column == value for column, value in filters if value is not None]
    query = InboxEvent.select(*SHOWN).where(InboxEvent.app == app, InboxEvent.id < below, *conditions)
    rows: Any = query.order_by(InboxEvent.id.desc()).limit(limit + 1).dicts()
    events, next_cursor = pagination.cut("events", list(rows), limit, itemgetter("id"))
    return list(events), next_cursor


def replay(app: str, event_id: int, *, now: datetime) -> None:
    """Make the event pending again, whatever its state. Applying it again changes nothing that it has done before.

    Raises:
        NotFound: the app has no such event.
    """
    if database.write(REPLAY, [now, app, event_id]).rowcount == 0:
        raise NotFound(f"no event {event_id}")


def dead_ids(app: str) -> list[int]:
    """The ids of all dead events of the app."""
    return [id_ for (id_,) in database.read("SELECT id FROM inbox_event WHERE app = %s AND state = 'dead'", [app])]
