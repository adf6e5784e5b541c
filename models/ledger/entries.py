"""Ledger entries as the API and the CSV export show them: newest first, as pages or as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models import database, pagination
from models.errors import NotFound

EntryType = Literal[
    "purchase",
    "deduction",
    "refund",
    "subscription_grant",
    "bonus",
    "admin_adjustment",
    "expiry",
    "clawback",
    "reinstatement",
]
CHUNK = 2000

COLUMNS = """e.id, {customer}, e.amount, e.type, e.reason, e.balance_before, e.balance_after, e.reverses_id,
e.meta, e.created_at, e.occurred_at, e.key, e.actor, e.seq"""
# By (account_id, seq) for one customer, by (app, id) for a whole app: the index is read backwards, nothing is sorted.
# The account is a subquery, because with a join the planner does not know that there is just one.
OF_CUSTOMER = f"""
SELECT {COLUMNS.format(customer="%(customer)s::text")} FROM entry e
WHERE e.account_id = (SELECT id FROM account WHERE app = %(app)s AND customer = %(customer)s)
  AND e.seq < %(below)s {{filters}} ORDER BY e.seq DESC LIMIT %(limit)s
"""
OF_APP = f"""
SELECT {COLUMNS.format(customer="a.customer")} FROM entry e JOIN account a ON a.id = e.account_id
WHERE e.app = %(app)s AND e.id < %(below)s {{filters}} ORDER BY e.id DESC LIMIT %(limit)s
"""
ONE = f"""
SELECT {COLUMNS.format(customer="a.customer")} FROM entry e JOIN account a ON a.id = e.account_id
WHERE e.app = %s AND e.id = %s
"""
ALLOCATIONS = "SELECT lot_id, amount FROM allocation WHERE entry_id = %s ORDER BY lot_id NULLS LAST"
CUSTOMER_AND_TYPE = """
SELECT a.customer, e.type FROM entry e JOIN account a ON a.id = e.account_id WHERE e.app = %s AND e.id = %s
"""
# The lines of deductions that have several, each with its part of the units that were taken and not refunded (`net`).
# The first lines are paid first, so a shortfall or a refund is that of the last ones; units of a hold that was captured
# with more than its lines cost belong to the last line. {where} filters the deductions `e`.
LINES = """
SELECT d.id, d.account_id, d.actor, d.taken, d.net, l.priced, l.line, l.line ->> 'rate' AS rate,
       CASE WHEN l.is_last THEN greatest(0, d.net - l.before) ELSE least(l.units, greatest(0, d.net - l.before)) END
         AS units
FROM (
    SELECT e.id, e.account_id, e.actor, e.meta -> 'lines' AS lines, -e.amount AS taken, -e.amount - coalesce((
        SELECT sum(r.amount) FROM entry r WHERE r.reverses_id = e.id AND r.app = e.app AND r.type = 'refund'
    ), 0) AS net
    FROM entry e WHERE e.type = 'deduction' AND e.meta ? 'lines' AND {where}
) AS d CROSS JOIN LATERAL (
    SELECT line, units, sum(units) OVER () AS priced, sum(units) OVER (ORDER BY position) - units AS before,
           position = count(*) OVER () AS is_last
    FROM (SELECT line, position, (line ->> 'units')::numeric AS units
          FROM jsonb_array_elements(d.lines) WITH ORDINALITY AS each(line, position)) AS priced_lines
) AS l
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter of entries: of one customer or of the whole app. `since` is inclusive, `until` exclusive."""

    app: str
    customer: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_page(
    selection: Selection, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of entries, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is invalid or belongs to another list.
    """
    listed = "entries" if selection.customer is None else "entries of a customer"
    (below,) = pagination.decode(listed, cursor)
    fetched = _rows(selection, below, limit + 1)
    rows, next_cursor = pagination.cut(listed, fetched, limit, lambda row: _position(selection, row))
    return [to_json(row) for row in rows], next_cursor


def stream(selection: Selection) -> Iterator[dict[str, Any]]:
    """All selected entries, newest first, read in chunks, so that a slow reader keeps no transaction open.

    The chunks are consistent with each other: entries are never changed, and new ones sort before the first chunk.
    """
    below = pagination.LARGEST_POSITION
    while True:
        rows = _rows(selection, below, CHUNK)
        for row in rows:
            yield to_json(row)
        if len(rows) < CHUNK:
            return
        below = _position(selection, rows[-1])


def get(app: str, entry_id: int) -> dict[str, Any]:
    """One entry as JSON, with its allocations to lots (`lot` None: the debt).

    Raises:
        NotFound: the app has no entry of this id.
    """
    rows = database.read(ONE, [app, entry_id]) if 0 < entry_id <= pagination.LARGEST_POSITION else []
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    parts = database.read(ALLOCATIONS, [entry_id])
    return {**to_json(rows[0]), "allocations": [{"lot": lot_id, "amount": amount} for lot_id, amount in parts]}


def newest(app: str, customer: str) -> dict[str, Any] | None:
    """The newest entry of a customer as JSON, or None."""
    rows = _rows(Selection(app=app, customer=customer), pagination.LARGEST_POSITION, 1)
    return to_json(rows[0]) if rows else None


def customer_and_type(app: str, entry_id: int) -> tuple[str, str]:
    """The customer and the type of an entry.

    Raises:
        NotFound: the app has no entry of this id.
    """
    rows = database.read(CUSTOMER_AND_TYPE, [app, entry_id])
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    customer, type_ = rows[0]
    return customer, type_


def to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    """An entry as JSON. `metadata`: the client's metadata together with what the engine recorded."""
    id_, customer, amount, type_, reason, before, after, reverses_id, meta, created_at, *more = row
    return {
        "id": id_,
        "customer": customer,
        "amount": amount,
        "type": type_,
        "reason": reason,
        "balance_before": before,
        "balance_after": after,
        "reverses": reverses_id,
        "metadata": _metadata(meta),
        "created_at": created_at,
        **dict(zip(("occurred_at", "key", "actor"), more, strict=False)),
    }


def _metadata(meta: dict[str, Any] | None) -> dict[str, Any]:
    """The client's metadata merged with the engine's, which takes precedence."""
    recorded = dict(meta or {})
    sent = recorded.pop("metadata", None)
    return {**sent, **recorded} if isinstance(sent, dict) else recorded


def _rows(selection: Selection, below: int, limit: int) -> list[tuple[Any, ...]]:
    statement = OF_APP if selection.customer is None else OF_CUSTOMER
    values = {
        "app": selection.app,
        "customer": selection.customer,
        "type": selection.type,
        "since": selection.since,
        "until": selection.until,
        "below": below,
        "limit": limit,
    }
    return database.read(statement.format(filters=_filters(selection)), values)


def _filters(selection: Selection) -> str:
    conditions = []
    if selection.type is not None:
        conditions.append("AND e.type = %(type)s")
    if selection.since is not None:
        conditions.append("AND e.created_at >= %(since)s")
    if selection.until is not None:
        conditions.append("AND e.created_at < %(until)s")
    return " ".join(conditions)


def _position(selection: Selection, row: tuple[Any, ...]) -> int:
    """The row's position in its list: `id` in an app's list, `seq` in an account's."""
    return int(row[0] if selection.customer is None else row[-1])
