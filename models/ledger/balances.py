"""Balances as customers see them: the balance, the available part, and the lots that make it up.

`balance` = units that remain in lots that have not expired + held units - debt. `available` = units that remain in lots
that have neither expired nor are frozen - debt, at least 0. A lot stops counting at its expiry, even if the expiry is
not posted yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import database
from models.catalog.apps import App
from models.cycles import PERIOD_GRACE
from models.errors import Invalid
from models.planning.state import BURN_ORDERS, NEVER

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LotSnapshot:
    """The state of a lot at some time. `expires_at`: `NEVER` if it does not expire."""

    id: int
    source: str
    granted: int
    remaining: int
    held: int
    frozen: bool
    priority: int
    effective_at: datetime
    expires_at: datetime
    per_period: bool


# One row per open lot; for an account without open lots, one row whose lot columns are null.
CURRENT = """
SELECT a.held, a.debt, a.updated_at, l.id, l.source, l.granted, l.remaining, l.held, l.frozen, l.priority,
       l.effective_at, l.expires_at, l.per_period
FROM account a LEFT JOIN lot l ON l.account_id = a.id AND l.open
WHERE a.app = %s AND a.customer = %s
"""

# The current state minus the entries after that time, so the cost grows with the entries since then only.
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
       l.frozen, l.priority, l.effective_at, l.expires_at, l.per_period
FROM owner o
LEFT JOIN lot l ON l.account_id = o.id AND l.effective_at <= %(at)s
LEFT JOIN since s ON s.lot_id = l.id
LEFT JOIN held h ON h.lot_id = l.id
"""


def current(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The current balance as JSON. All zeros for an unknown customer."""
    return _to_json(app, customer, database.read(CURRENT, [app.slug, customer]), now)


def as_of(app: App, customer: str, at: datetime, *, now: datetime) -> dict[str, Any]:
    """The balance at the time `at` as JSON, computed from entries, allocations and holds.

    Freezing writes no entry, so `available` treats a lot that is frozen now as frozen then.

    Raises:
        Invalid: `at` is in the future.
    """
    if at > now:
        raise Invalid([("as_of", "is in the future")])
    rows = database.read(AS_OF, {"app": app.slug, "customer": customer, "at": at})
    return _to_json(app, customer, rows, at)


def available(app: App, customer: str, *, now: datetime) -> int:
    """The units that the customer can spend at `now`; 0 for an unknown customer."""
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


def _lots(app: App, rows: Sequence[Row]) -> list[LotSnapshot]:
    """The account's lots in the app's burn order."""
    order: Callable[[Any], Any] = BURN_ORDERS[app.burn_order]
    lots = [LotSnapshot(*(*row[3:11], row[11] or NEVER, row[12])) for row in rows if row[3] is not None]
    return sorted(lots, key=order)


def _available(lots: Sequence[LotSnapshot], debt: int, at: datetime) -> int:
    return max(0, sum(_units(lot, at) for lot in lots if not lot.frozen) - debt)


def _units(lot: LotSnapshot, at: datetime) -> int:
    """The units of the lot that count, apart from held ones: none after its expiry."""
    return lot.remaining if lot.expires_at > at else 0


def _lot(lot: LotSnapshot, at: datetime) -> dict[str, Any]:
    return {
        "id": lot.id,
        "source": lot.source,
        "granted": lot.granted,
        "remaining": _units(lot, at),
        "held": lot.held,
        "expires_at": None if lot.expires_at == NEVER else lot.expires_at,
        "frozen": lot.frozen,
    }


def _expiring_next(lots: Sequence[LotSnapshot], at: datetime) -> dict[str, Any] | None:
    """When units may expire next, and how many, unless they are spent before; None if no lot expires."""
    times = {lot.id: _ends_at(lot, at) for lot in lots if lot.expires_at != NEVER and _units(lot, at)}
    if not times:
        return None
    next_at = min(times.values())
    return {"units": sum(_units(lot, at) for lot in lots if times.get(lot.id) == next_at), "at": next_at}


def _ends_at(lot: LotSnapshot, at: datetime) -> datetime:
    """The units of a period end with it if the next one is granted then, and some days later if not."""
    end = lot.expires_at - PERIOD_GRACE if lot.per_period else lot.expires_at
    return end if end > max(lot.effective_at, at) else lot.expires_at
