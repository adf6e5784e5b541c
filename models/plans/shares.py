"""Which payments paid for a plan's grants, and how much is clawed back: the views `plan_share` and `plan_target`."""

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
    """The target of a plan's grant: the units clawed back of it, and whether its lot is frozen.

    `payments` are the references of the payments for it, `states` their states.
    """

    subscription_id: int
    entry_id: int
    units: int
    frozen: bool
    payments: list[str]
    states: list[str]


def returned(conn: Connection, subscription_ids: Iterable[int]) -> set[int]:
    """The subscriptions with any payment that is reversed or frozen by an inquiry."""
    return {id_ for (id_,) in conn.execute(RETURNED, [arrays.ints(subscription_ids)], prepare=True)}


def off_target(conn: Connection, subscription_ids: Iterable[int]) -> list[Target]:
    """Grants whose clawback or freeze differs from their target, in the order of their posting."""
    return [Target(*row) for row in conn.execute(OFF_TARGET, [arrays.ints(subscription_ids)])]


def units_back(conn: Connection, subscription_id: int, payment_id: int) -> int:
    """The units that the reversed amount of a payment stands for."""
    row = conn.execute(BACK, [subscription_id, payment_id]).fetchone()
    return int(row[0]) if row else 0
