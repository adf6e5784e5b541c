"""Who paid for what a plan granted, and what is owed back of it: the views `plan_share` and `plan_target`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models import arrays
from models.database import Connection

RETURNED = """
SELECT DISTINCT subscription_id FROM payment
WHERE subscription_id = ANY(%s::bigint[]) AND (refunded_minor + disputed_minor > 0 OR frozen)
"""
OFF_TARGET = """
SELECT t.subscription_id, t.entry_id, t.target, t.frozen, t.payments, t.states
FROM plan_target t JOIN lot l ON l.id = t.lot_id
WHERE t.subscription_id = ANY(%s::bigint[]) AND (t.frozen <> l.frozen OR t.target <> (
    SELECT coalesce(-sum(e.amount), 0) FROM entry e
    WHERE e.reverses_id = t.entry_id AND e.type IN ('clawback', 'reinstatement')))
ORDER BY t.entry_id
"""
BACK = """
SELECT coalesce(sum(div(s.units::numeric * (p.refunded_minor + p.disputed_minor), p.amount_minor)), 0)::bigint
FROM plan_share s JOIN payment p ON p.id = s.payment_id
WHERE s.subscription_id = %s AND p.id = %s AND p.amount_minor > 0
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What a grant of a plan should come to: so many units of it clawed back, and its lot frozen or not.

    `payments` are the references of those who paid for it, `states` their states.
    """

    subscription_id: int
    entry_id: int
    units: int
    frozen: bool
    payments: list[str]
    states: list[str]


def returned(conn: Connection, subscription_ids: Iterable[int]) -> set[int]:
    """Those of the subscriptions of which any payment went back, or is asked about."""
    return {id_ for (id_,) in conn.execute(RETURNED, [arrays.ints(subscription_ids)], prepare=True)}


def off_target(conn: Connection, subscription_ids: Iterable[int]) -> list[Target]:
    """Grants that are not clawed back or frozen as their payments say, in the order of their posting."""
    return [Target(*row) for row in conn.execute(OFF_TARGET, [arrays.ints(subscription_ids)])]


def units_back(conn: Connection, subscription_id: int, payment_id: int) -> int:
    """The units that a payment's returned money stands for."""
    row = conn.execute(BACK, [subscription_id, payment_id]).fetchone()
    return int(row[0]) if row else 0
