"""The lots that a subscription was granted, with what was clawed back of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.database import Connection

OF_SUBSCRIPTION = """
SELECT l.entry_id, l.account_id, a.customer, substr(l.source, 6), l.granted, l.lapsed, l.frozen, l.period_start,
       p.reference,
       (SELECT coalesce(-sum(e.amount), 0) FROM entry e
        WHERE e.reverses_id = l.entry_id AND e.type IN ('clawback', 'reinstatement'))::bigint
FROM lot l JOIN account a ON a.id = l.account_id LEFT JOIN payment p ON p.id = l.payment_id
WHERE l.subscription_id = %s ORDER BY l.id
"""


@dataclass(frozen=True, slots=True)
class PlanLot:
    """A lot of a plan. `expired`: units that expired unused, which count as clawed back."""

    entry_id: int
    account_id: int
    customer: str
    plan: str
    granted: int
    expired: int
    is_frozen: bool
    start: datetime
    payment: str | None
    clawed: int

    def is_at(self, target: int) -> bool:
        """Whether as many units are clawed back as should be."""
        return max(0, target - self.expired) <= self.clawed <= target


def of_subscription(conn: Connection, subscription_id: int) -> list[PlanLot]:
    """The lots of the subscription, in the order of their posting."""
    return [PlanLot(*row) for row in conn.execute(OF_SUBSCRIPTION, [subscription_id], prepare=True)]
