"""What a customer sees of an account: the balance, what of it is available, and the lots that make it up.

`balance` is what remains in lots that are not past their expiry + all that is held - the debt. `available` is what
remains in such lots that are not frozen - the debt, and never below 0. What has expired is gone at once, swept or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import database
from models.catalog.apps import App
from models.errors import Invalid
from models.planning.state import BURN_ORDERS, NEVER

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LotSeen:
    """A lot as it stood at some time. `expires_at` is `NEVER` for one that does not expire."""

    id: int
    source: str
    granted: int
    remaining: int
    held: int
    frozen: bool
    priority: int
    effective_at: datetime
    expires_at: datetime


# A row a lot; one row without a lot for an account that has none.
CURRENT = """
SELECT a.held, a.debt, a.updated_at, l.id, l.source, l.granted, l.remaining, l.held, l.frozen, l.priority,
       l.effective_at, l.expires_at
FROM account a LEFT JOIN lot l ON l.account_id = a.id AND l.open
WHERE a.app = %s AND a.customer = %s
"""

# The present, less what the entries after that time did, so that the cost is that of what happened since.
AS_OF = """
WITH owner AS (
    SELECT id, debt, created_at FROM account
    WHERE app = %(app)s AND customer = %(customer)s AND created_at <= %(at)s
), last AS (
    SELECT e.seq, e.created_at FROM entry e
    WHERE e.account_id = (SELECT id FROM owner) AND e.created_at <= %(at)s ORDER BY e.seq DESC LIMIT 1
), since AS (
    SELECT x.lot_id, sum(x.amount)::bigint AS units FROM entry e JOIN allocation x ON x.entry_id = e.id
    WHERE e.account_id = (SELECT id FROM owner) AND e.seq > coalesce((SELECT seq FROM last), 0) GROUP BY x.lot_id
), held AS (
    SELECT (part ->> 0)::bigint AS lot_id, sum((part ->> 1)::bigint)::bigint AS units
    FROM hold h CROSS JOIN jsonb_array_elements(h.lots) AS part
    WHERE h.account_id = (SELECT id FROM owner) AND h.created_at <= %(at)s
      AND (h.state = 'held' OR h.closed_at > %(at)s)
      AND (part -> 2 IS NULL OR (part ->> 2)::timestamptz <= %(at)s)
    GROUP BY 1
)
SELECT (SELECT coalesce(sum(units), 0)::bigint FROM held),
       o.debt + coalesce((SELECT units FROM since WHERE lot_id IS NULL), 0),
       coalesce((SELECT created_at FROM last), o.created_at),
       l.id, l.source, l.granted,
       l.remaining + l.held - coalesce(s.units, 0) - coalesce(h.units, 0), coalesce(h.units, 0),
       l.frozen, l.priority, l.effective_at, l.expires_at
FROM owner o
LEFT JOIN lot l ON l.account_id = o.id AND l.effective_at <= %(at)s
LEFT JOIN since s ON s.lot_id = l.id
LEFT JOIN held h ON h.lot_id = l.id
"""


def current(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The balance as it is. A customer that Scrip does not know has zeros."""
    return _to_json(app, customer, database.read(CURRENT, [app.slug, customer]), now)


def as_of(app: App, customer: str, at: datetime, *, now: datetime) -> dict[str, Any]:
    """The balance as it was at `at`, told from entries, allocations and holds.

    A freeze leaves no entry: `available` takes a lot that is frozen now as frozen then.

    Raises:
        Invalid: `at` is in the future.
    """
    if at > now:
        raise Invalid([("as_of", "is in the future")])
    rows = database.read(AS_OF, {"app": app.slug, "customer": customer, "at": at})
    return _to_json(app, customer, rows, at)


def available(app: App, customer: str, *, now: datetime) -> int:
    """How many units the customer can spend at `now`."""
    rows = database.read(CURRENT, [app.slug, customer])
    return _available(_lots(app, rows), rows[0][1] if rows else 0, now)


def _to_json(app: App, customer: str, rows: Sequence[Row], at: datetime) -> dict[str, Any]:
    held, debt, updated_at = rows[0][:3] if rows else (0, 0, None)
    lots = _lots(app, rows)
    return {
        "customer": customer,
        "unit": app.unit,
        "balance": sum(_units(lot, at) for lot in lots) + held - debt,
        "held": held,
        "available": _available(lots, debt, at),
        "debt": debt,
        "lots": [_lot(lot, at) for lot in lots if _units(lot, at) or lot.held],
        "expiring_next": _expiring_next(lots, at),
        "as_of": at,
        "updated_at": updated_at,
    }


def _lots(app: App, rows: Sequence[Row]) -> list[LotSeen]:
    """The account's lots in the app's burn order."""
    order: Callable[[Any], Any] = BURN_ORDERS[app.burn_order]
    lots = [LotSeen(*(*row[3:11], row[11] or NEVER)) for row in rows if row[3] is not None]
    return sorted(lots, key=order)


def _available(lots: Sequence[LotSeen], debt: int, at: datetime) -> int:
    return max(0, sum(_units(lot, at) for lot in lots if not lot.frozen) - debt)


def _units(lot: LotSeen, at: datetime) -> int:
    """What counts of the unheld rest: nothing once the lot is past its expiry."""
    return lot.remaining if lot.expires_at > at else 0


def _lot(lot: LotSeen, at: datetime) -> dict[str, Any]:
    return {
        "id": lot.id,
        "source": lot.source,
        "granted": lot.granted,
        "remaining": _units(lot, at),
        "held": lot.held,
        "expires_at": None if lot.expires_at == NEVER else lot.expires_at,
        "frozen": lot.frozen,
    }


def _expiring_next(lots: Sequence[LotSeen], at: datetime) -> dict[str, Any] | None:
    """The units that lapse at the next expiry, unless they are used before."""
    times = [lot.expires_at for lot in lots if lot.expires_at != NEVER and _units(lot, at)]
    if not times:
        return None
    next_at = min(times)
    return {"units": sum(_units(lot, at) for lot in lots if lot.expires_at == next_at), "at": next_at}
