"""Lots that expire soon and have no `lot.expiring` message yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from models.cycles import PERIOD_GRACE
from models.database import Connection

TYPE = "lot.expiring"
# The units of a period end with it if the next one is granted then, and some days later if not.
EXPIRING = f"""
SELECT l.expires_at, l.id, l.remaining, a.app, a.customer, ends.at
FROM lot l JOIN account a ON a.id = l.account_id
JOIN unnest(%(apps)s::text[], %(horizons)s::timestamptz[]) AS due(app, horizon) ON due.app = a.app
CROSS JOIN LATERAL (SELECT CASE
    WHEN l.per_period AND l.expires_at - %(grace)s > greatest(l.effective_at, %(now)s) THEN l.expires_at - %(grace)s
    ELSE l.expires_at END) AS ends(at)
WHERE l.open AND l.remaining > 0 AND l.expires_at > %(now)s AND l.expires_at <= %(furthest)s
  AND ends.at <= due.horizon AND (l.expires_at, l.id) > (%(expires_at)s::timestamptz, %(lot)s)
  AND NOT EXISTS (SELECT 1 FROM outbox_message m WHERE m.app = a.app AND m.key = '{TYPE}:' || l.id)
ORDER BY l.expires_at, l.id LIMIT %(limit)s
"""


class ExpiringLot(NamedTuple):
    """A lot with `units` left. `ends_at`: when they may expire, at the earliest."""

    expires_at: datetime
    id: int
    units: int
    app: str
    customer: str
    ends_at: datetime

    @property
    def key(self) -> str:
        """The key of its message. It makes the message unique for as long as the lot exists (`queue.prune`)."""
        return f"{TYPE}:{self.id}"


def find(
    conn: Connection, horizons: Mapping[str, datetime], *, after: tuple[datetime, int], limit: int, now: datetime
) -> list[ExpiringLot]:
    """Return up to `limit` lots in the order of (expires_at, id), beyond `after`.

    `horizons`: app to the time before which a lot must expire. Lots of other apps are not returned.
    """
    expires_at, lot = after
    values = {
        "now": now,
        "apps": list(horizons),
        "horizons": list(horizons.values()),
        "furthest": max(horizons.values()) + PERIOD_GRACE,
        "grace": PERIOD_GRACE,
        "expires_at": expires_at,
        "lot": lot,
        "limit": limit,
    }
    return [ExpiringLot(*row) for row in conn.execute(EXPIRING, values)]
