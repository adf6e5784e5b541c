"""The payments of a subscription's bills, as stored."""

from __future__ import annotations

from models.database import Connection

OF_SUBSCRIPTION = "SELECT id, reference, aliases FROM payment WHERE subscription_id = %s ORDER BY id DESC"
# `aliases` are written only if a report has any.
UNRECORDED = """
SELECT f.bill, coalesce(f.content -> 'aliases', '[]') FROM plan_fact f
WHERE f.app = %(app)s AND f.provider = %(provider)s AND f.subscription = %(subscription)s AND f.kind = 'bill'
  AND f.content ->> 'state' = 'paid' AND NOT EXISTS (
    SELECT 1 FROM payment p WHERE p.app = f.app AND p.provider = f.provider AND p.subscription_id IS NOT NULL
      AND (p.reference = f.bill OR p.aliases @> ARRAY[f.bill]))
"""


def of_subscription(conn: Connection, subscription_id: int) -> dict[str, tuple[int, str]]:
    """(Id, reference) of the payments of a subscription, by each of their ids."""
    found: dict[str, tuple[int, str]] = {}
    for id_, reference, aliases in conn.execute(OF_SUBSCRIPTION, [subscription_id], prepare=True):
        found.update(dict.fromkeys([*aliases, reference], (id_, reference)))
    return found


def unrecorded(conn: Connection, app: str, provider: str, subscription: str) -> list[str]:
    """All ids of the bills that are reported as paid and have no payment yet."""
    values = {"app": app, "provider": provider, "subscription": subscription}
    rows = conn.execute(UNRECORDED, values, prepare=True)
    return sorted({name for bill, aliases in rows for name in (bill, *aliases)})
