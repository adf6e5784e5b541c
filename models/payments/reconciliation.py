"""What is stored of the objects that a provider lists. Read-only, except that `confirm` marks payments as listed.

Statements over sets of ids, and those that look into arrays of ids, are SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from models import database
from models.payments.amounts import DECIDED
from models.tables import PaymentReturn, Subscription

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
    """A credited payment that the provider has not listed yet."""

    id: int
    customer: str
    reference: str
    aliases: list[str]
    units: int
    plan: str | None

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that the provider uses for it."""
        return (self.reference, *self.aliases)


def known_events(app: str, provider: str, ids: Sequence[str]) -> set[str]:
    """Which of these events are stored."""
    return {event_id for (event_id,) in database.read(KNOWN_EVENTS, [app, provider, list(ids)])}


def first_trace(app: str) -> datetime | None:
    """When the app's first customer or checkout was created, or its last import if that was later; None before that.

    Payments from before are in no balance, or are part of the import.
    """
    return database.read(FIRST_TRACE, {"app": app})[0][0]


def payment_state(app: str, provider: str, ids: Iterable[str]) -> str | None:
    """The state of the payment with one of these ids; None if there is none. A settled one precedes pending ones."""
    rows = database.read(PAYMENT_STATES, {"app": app, "provider": provider, "ids": list(ids)})
    states = [state for (state,) in rows]
    return next((state for state in states if state not in ("pending", "failed")), states[0] if states else None)


def has_refund(app: str, provider: str, reference: str, *, failed: bool) -> bool:
    """Whether the refund is stored; with `failed`, whether it is stored as failed."""
    refund = _reversal(app, provider, "refund", reference)
    return refund is not None and (refund.failed or not failed)


def has_dispute(app: str, provider: str, reference: str, stage: int, moves: Iterable[str]) -> bool:
    """Whether the dispute is stored with this decision, or at `stage` or a later one, and with all of these moves."""
    dispute = _reversal(app, provider, "dispute", reference)
    if dispute is None or not set(moves) <= set(dispute.moves):
        return False
    return bool(dispute.stage == stage or stage < min(dispute.stage, DECIDED))


def subscription(app: str, provider: str, reference: str) -> Subscription | None:
    """The subscription with this id at the provider."""
    return Subscription.get_or_none(
        Subscription.app == app, Subscription.provider == provider, Subscription.provider_id == reference
    )


def confirm(app: str, provider: str, ids: Iterable[str], *, now: datetime) -> None:
    """Mark the payments with these ids: the provider lists them as paid."""
    listed = list(ids)
    if listed:
        database.write(CONFIRM, {"app": app, "provider": provider, "ids": listed, "now": now})


def unconfirmed(app: str, provider: str, *, since: datetime, after: int, limit: int) -> list[Unconfirmed]:
    """Payments credited since then that the provider has not listed, after the row `after`."""
    rows = database.read(UNCONFIRMED, [app, provider, since, after, limit])
    return [Unconfirmed(*row) for row in rows]


def dead_events(app: str, provider: str, ids: Sequence[str]) -> list[tuple[str, str | None]]:
    """(event id, error) of the dead ones among these events."""
    return [(event_id, error) for event_id, error in database.read(DEAD_EVENTS, [app, provider, list(ids)])]


def dead_since(
    app: str, provider: str, *, since: datetime, after: int, limit: int
) -> list[tuple[int, str, str | None]]:
    """(row, event id, error) of the dead events received since then, after the row `after`."""
    rows = database.read(DEAD_SINCE, [app, provider, since, after, limit])
    return [(row, event_id, error) for row, event_id, error in rows]


def has_dead_event_about(app: str, provider: str, reference: str, *, since: datetime) -> bool:
    """Whether a dead event received since then contains the object's id."""
    return bool(database.read(DEAD_ABOUT, [app, provider, since, reference]))


def _reversal(app: str, provider: str, kind: str, reference: str) -> PaymentReturn | None:
    return PaymentReturn.get_or_none(
        PaymentReturn.app == app,
        PaymentReturn.provider == provider,
        PaymentReturn.kind == kind,
        PaymentReturn.reference == reference,
    )
