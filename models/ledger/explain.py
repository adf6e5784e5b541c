"""The derivation of a balance: every lot of a customer, its origin, and every entry that took units from it.

For each lot, granted = remaining + held + the sum of `took`. For the account, balance = the sum of remaining and held
of its lots - debt.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any

from models import database
from models.catalog.apps import App
from models.ledger import carries
from models.planning.carry import Carry

Row = tuple[Any, ...]
# This many of the newest entries of an account are listed individually; earlier ones are summed by lot and type.
LISTED_ENTRIES = 10_000

LOTS = """
SELECT a.id, a.seq, a.held, a.debt, l.id, l.entry_id, l.source, l.granted, l.remaining, l.held, l.frozen,
       l.effective_at, l.expires_at, p.id, p.reference, s.provider_id, e.meta ->> 'note'
FROM account a
LEFT JOIN lot l ON l.account_id = a.id
LEFT JOIN entry e ON e.id = l.entry_id
LEFT JOIN payment p ON p.id = l.payment_id
LEFT JOIN subscription s ON s.id = l.subscription_id
WHERE a.app = %s AND a.customer = %s ORDER BY l.id
"""
# Entries up to the account's seq in LOTS: entries never change, so both statements describe the same moment.
PARTS = """
SELECT x.lot_id, e.id, e.type, e.reason, x.amount, e.created_at, e.meta -> 'carried'
FROM entry e JOIN allocation x ON x.entry_id = e.id
WHERE e.account_id = %(account)s AND e.seq > %(after)s AND e.seq <= %(seq)s AND x.lot_id IS NOT NULL ORDER BY e.seq
"""
# Keeps the entry that created a lot apart from those that took from it.
EARLIER = """
SELECT x.lot_id, CASE WHEN e.id = l.entry_id THEN e.id END, e.type, count(*) || ' earlier entries',
       sum(x.amount)::bigint, max(e.created_at) AS last_at, NULL::jsonb
FROM entry e JOIN allocation x ON x.entry_id = e.id JOIN lot l ON l.id = x.lot_id
WHERE e.account_id = %(account)s AND e.seq <= %(after)s GROUP BY 1, 2, 3 ORDER BY last_at
"""


def for_customer(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The lots of a customer as JSON, oldest first and including spent ones; empty for an unknown customer.

    `carried`: by rate with rounding = "carry", the units `charged` for the exact total `used`, and the part of a unit
    that is therefore paid for and not used yet (`ahead`). Items of `took` without an `entry`: the `expiry` of a lot
    that has expired but is not swept yet, and the sums of earlier entries in a very long history.
    """
    rows = database.read(LOTS, [app.slug, customer])
    account_id, seq, held, debt = rows[0][:4] if rows else (0, 0, 0, 0)
    lots = [row[4:] for row in rows if row[4] is not None]
    took = _took(lots, _parts(account_id, seq), now)
    shown = [_lot(lot, took[lot[0]], now) for lot in lots]
    return {
        "customer": customer,
        "balance": sum(lot["remaining"] for lot in shown) + held - debt,
        "debt": debt,
        "lots": shown,
        "carried": {rate: _carried(total) for rate, total in carries.of_customer(app.slug, customer).items()},
    }


def _carried(total: Carry) -> dict[str, Any]:
    used = str(Fraction(total.numerator, total.denominator))
    return {"charged": total.charged, "used": used, "ahead": str(total.fraction)}


def _parts(account_id: int, seq: int) -> list[Row]:
    """The allocations of lots in order: (lot id, entry id or None for a sum, type, reason, amount, time, carried)."""
    after = max(0, seq - LISTED_ENTRIES)
    values = {"account": account_id, "after": after, "seq": seq}
    return (database.read(EARLIER, values) if after else []) + database.read(PARTS, values)


def _lot(lot: Row, took: list[dict[str, Any]], now: datetime) -> dict[str, Any]:
    id_, _, source, granted, remaining, held, frozen, effective_at, expires_at, *origin, note = lot
    payment_id, reference, provider_id = origin
    return {
        "id": id_,
        "source": source,
        "payment": reference,
        "payment_id": payment_id,
        "subscription": provider_id,
        "granted": granted,
        "remaining": 0 if _is_past(expires_at, now) else remaining,
        "held": held,
        "frozen": frozen,
        "effective_at": effective_at,
        "expires_at": expires_at,
        "note": note,
        "took": took,
    }


def _took(lots: Iterable[Row], parts: Iterable[Row], now: datetime) -> dict[int, list[dict[str, Any]]]:
    """The items of `took` by lot id, in order. Units taken are positive, units returned are negative."""
    lots = list(lots)
    made_by = {lot[0]: lot[1] for lot in lots}
    granted = {lot[0]: lot[3] for lot in lots}
    took: dict[int, list[dict[str, Any]]] = {lot[0]: [] for lot in lots}
    for lot_id, entry_id, type_, reason, amount, at, carried in parts:
        if entry_id != made_by[lot_id]:
            part = _part(entry_id, type_, reason, -amount, at)
            took[lot_id].append({**part, "carried": carried} if carried else part)
        else:
            granted[lot_id] -= amount
    for lot in lots:
        repaid = granted[lot[0]]
        if repaid:
            took[lot[0]].insert(0, _part(lot[1], "debt", "repaid debt", repaid, lot[7]))
        if lot[4] and _is_past(lot[8], now):
            took[lot[0]].append(_part(None, "expiry", "lot expired", lot[4], lot[8]))
    return took


def _part(entry_id: int | None, type_: str, reason: str, units: int, at: datetime) -> dict[str, Any]:
    return {"entry": entry_id, "type": type_, "reason": reason, "units": units, "at": at}


def _is_past(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now
