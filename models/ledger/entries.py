"""The lines of the ledger, as the API and the CSV export show them: newest first, a page or a stream at a time."""

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
# By (account_id, seq) for one customer, by (app, id) for all: each index is read backwards, nothing is sorted. The
# account is a subquery rather than a join, or the planner does not know that there is one.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries: of one customer, or of the whole app; `since` is inclusive, `until` exclusive."""

    app: str
    customer: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_page(
    selection: Selection, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of entries, newest first, and the cursor of the next one (None on the last).

    Raises:
        Invalid: the cursor is not one of ours.
    """
    of = "entries" if selection.customer is None else "entries of a customer"
    (below,) = pagination.decode(of, cursor)
    read = _rows(selection, below, limit + 1)
    rows, following = pagination.cut(of, read, limit, lambda row: _position(selection, row))
    return [to_json(row) for row in rows], following


def stream(selection: Selection) -> Iterator[dict[str, Any]]:
    """All the entries, newest first, read in chunks: a slow reader keeps no transaction open.

    Entries are only ever added, above the first chunk, so the chunks are one consistent whole.
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
    """One entry, with the lots (None: the debt) that it went into or came out of.

    Raises:
        NotFound: the app has no such entry.
    """
    rows = database.read(ONE, [app, entry_id]) if 0 < entry_id <= pagination.LARGEST_POSITION else []
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    parts = database.read(ALLOCATIONS, [entry_id])
    return {**to_json(rows[0]), "allocations": [{"lot": lot_id, "amount": amount} for lot_id, amount in parts]}


def newest(app: str, customer: str) -> dict[str, Any] | None:
    """The last entry of a customer, if there is one."""
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
    """An entry as JSON. `metadata` is what the client sent along, and what the engine noted beside it."""
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
    """The client's metadata beside what the engine noted; the engine's word on what was priced stands."""
    noted = dict(meta or {})
    sent = noted.pop("metadata", None)
    return {**sent, **noted} if isinstance(sent, dict) else noted


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
    """Where the row stands in its list: by id among all, by seq within one account."""
    return int(row[0] if selection.customer is None else row[-1])
