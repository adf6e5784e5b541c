"""Keyset pagination: cursors are opaque strings that mark where the next page starts.

A page starts below the last row of the previous page, so that new rows do not shift it. A cursor contains the name of
its list and positions in it. It grants no access, and the request must repeat its filters.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import orjson

from models import database
from models.errors import Invalid

T = TypeVar("T")
LONGEST_CURSOR = 1000
LARGEST_POSITION = 2**63 - 1


def encode(name: str, positions: Sequence[int]) -> str:
    """The cursor for these positions in the list `name`, safe in a URL."""
    return base64.urlsafe_b64encode(orjson.dumps([name, *positions])).rstrip(b"=").decode()


def decode(name: str, cursor: str | None, count: int = 1) -> list[int]:
    """The `count` positions of a cursor of the list `name`; without a cursor, positions above every row.

    Raises:
        Invalid: the cursor was not made by `encode` for this list.
    """
    if cursor is None:
        return [LARGEST_POSITION] * count
    values = _read(cursor) if len(cursor) <= LONGEST_CURSOR else None
    if not isinstance(values, list) or len(values) != count + 1 or values[0] != name or not all(map(_fits, values[1:])):
        raise Invalid([("cursor", "is not a cursor of this list")])
    return values[1:]


def cut(name: str, rows: Sequence[T], limit: int, position: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """The first `limit` of `rows`, and the cursor of the next page. `rows` must be queried with a limit one higher.

    The cursor is None on the last page.
    """
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode(name, [position(rows[limit - 1])])


def by_id(
    name: str,
    select: str,
    id_column: str,
    filters: Mapping[str, Any],
    limit: int,
    cursor: str | None,
    show: Callable[[tuple[Any, ...]], dict[str, Any]],
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the list `name`, newest first, each row as `show` returns it, and the cursor of the next page.

    `select` must have the id as its first column. `filters`: conditions with their values, such as
    `{"app = %s": "songs"}`; a condition whose value is None is omitted.

    Raises:
        Invalid: the cursor is invalid or belongs to another list.
    """
    (below,) = decode(name, cursor)
    applied = {condition: value for condition, value in filters.items() if value is not None}
    conditions = " AND ".join([*applied, f"{id_column} < %s"])
    sql = f"{select} WHERE {conditions} ORDER BY {id_column} DESC LIMIT %s"
    rows, next_cursor = cut(name, database.read(sql, [*applied.values(), below, limit + 1]), limit, itemgetter(0))
    return [show(row) for row in rows], next_cursor


def _read(cursor: str) -> object:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return orjson.loads(text)
    except (binascii.Error, ValueError):
        return None


def _fits(value: object) -> bool:
    """Whether the value is a position within PostgreSQL's `bigint`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_POSITION
