"""What we know of what a provider tells: read-only, but for the note that a payment was seen there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import database

KNOWN_EVENTS = "SELECT event_id FROM inbox_event WHERE app = %s AND provider = %s AND event_id = ANY(%s::text[])"
DEAD_EVENTS = """
SELECT event_id, error FROM inbox_event
WHERE app = %s AND provider = %s AND event_id = ANY(%s::text[]) AND state = 'dead'
"""
DEAD_SINCE = """
SELECT id, event_id, error FROM inbox_event
WHERE app = %s AND provider = %s AND state = 'dead' AND received_at >= %s AND id > %s ORDER BY id LIMIT %s
"""
DEAD_ABOUT = """
SELECT 1 FROM inbox_event WHERE app = %s AND provider = %s AND state = 'dead' AND received_at >= %s
AND strpos(payload, to_json(%s::text)::text) > 0 LIMIT 1
"""
FIRST_TRACE = """
SELECT greatest(
    least((SELECT created_at FROM account WHERE app = %(app)s ORDER BY id LIMIT 1),
          (SELECT created_at FROM checkout WHERE app = %(app)s ORDER BY id LIMIT 1)),
    (SELECT max(created_at) FROM request WHERE app = %(app)s AND resource = 'import'))
"""
PAYMENT_STATES = """
SELECT state FROM payment
WHERE app = %(app)s AND provider = %(provider)s AND (reference = ANY(%(ids)s::text[]) OR aliases && %(ids)s::text[])
"""
REFUND = """
SELECT failed FROM payment_return WHERE app = %s AND provider = %s AND kind = 'refund' AND reference = %s
"""
DISPUTE = """
SELECT stage, moves FROM payment_return WHERE app = %s AND provider = %s AND kind = 'dispute' AND reference = %s
"""
SUBSCRIPTION = """
SELECT plan, status, current_period_end FROM subscription WHERE app = %s AND provider = %s AND provider_id = %s
"""
CONFIRM = """
UPDATE payment SET confirmed_at = %(now)s
WHERE app = %(app)s AND provider = %(provider)s AND confirmed_at IS NULL
  AND (reference = ANY(%(ids)s::text[]) OR aliases && %(ids)s::text[])
"""
UNCONFIRMED = """
SELECT p.id, a.customer, p.reference, p.aliases, p.units_granted, p.plan
FROM payment p JOIN account a ON a.id = p.account_id
WHERE p.app = %s AND p.provider = %s AND p.state NOT IN ('pending', 'failed') AND p.confirmed_at IS NULL
  AND p.created_at >= %s AND p.id > %s
ORDER BY p.id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A payment that was credited and that no list of the provider's has shown yet."""

    id: int
    customer: str
    reference: str
    aliases: list[str]
    units: int
    plan: str | None

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that it goes by."""
        return (self.reference, *self.aliases)


def known_events(app: str, provider: str, ids: Sequence[str]) -> set[str]:
    """Those of the provider's event ids that are stored."""
    return {event_id for (event_id,) in database.read(KNOWN_EVENTS, [app, provider, list(ids)])}


def first_trace(app: str) -> datetime | None:
    """When the app's first customer or checkout came to be, or its last import if that was later; None before that.

    What was paid before is in no balance of ours, or came with the import.
    """
    return database.read(FIRST_TRACE, {"app": app})[0][0]


def payment_state(app: str, provider: str, ids: Iterable[str]) -> str | None:
    """The state of the payment that goes by one of these ids; None where there is none."""
    rows = database.read(PAYMENT_STATES, {"app": app, "provider": provider, "ids": list(ids)})
    states = [state for (state,) in rows]
    return next((state for state in states if state not in ("pending", "failed")), states[0] if states else None)


def knows_refund(app: str, provider: str, reference: str, *, failed: bool) -> bool:
    """Whether the refund is stored, and, if it failed, that too."""
    rows = database.read(REFUND, [app, provider, reference])
    return bool(rows) and (rows[0][0] or not failed)


def knows_dispute(app: str, provider: str, reference: str, stage: int, moves: Iterable[str]) -> bool:
    """Whether the dispute is stored, as far along as `stage` and with all these moves of money."""
    rows = database.read(DISPUTE, [app, provider, reference])
    return bool(rows) and rows[0][0] >= stage and set(moves) <= set(rows[0][1])


def subscription(app: str, provider: str, reference: str) -> tuple[Any, ...] | None:
    """(plan, status, current period's end) as stored."""
    rows = database.read(SUBSCRIPTION, [app, provider, reference])
    return rows[0] if rows else None


def confirm(app: str, provider: str, ids: Iterable[str], *, now: datetime) -> None:
    """The provider shows the payments of these ids as paid."""
    wanted = list(ids)
    if wanted:
        database.write(CONFIRM, {"app": app, "provider": provider, "ids": wanted, "now": now})


def unconfirmed(app: str, provider: str, *, since: datetime, after: int, limit: int) -> list[Unconfirmed]:
    """Credited payments since then that the provider has not shown, beyond the row `after`."""
    rows = database.read(UNCONFIRMED, [app, provider, since, after, limit])
    return [Unconfirmed(*row) for row in rows]


def dead_events(app: str, provider: str, ids: Sequence[str]) -> list[tuple[str, str | None]]:
    """(event id, why) of those of these events that ended dead."""
    return [(event_id, error) for event_id, error in database.read(DEAD_EVENTS, [app, provider, list(ids)])]


def dead_since(
    app: str, provider: str, *, since: datetime, after: int, limit: int
) -> list[tuple[int, str, str | None]]:
    """(row, event id, why) of the events that came since then and are dead, beyond the row `after`."""
    rows = database.read(DEAD_SINCE, [app, provider, since, after, limit])
    return [(row, event_id, error) for row, event_id, error in rows]


def has_dead_event_about(app: str, provider: str, reference: str, *, since: datetime) -> bool:
    """Whether an event that came since then and is dead names the object."""
    return bool(database.read(DEAD_ABOUT, [app, provider, since, reference]))
