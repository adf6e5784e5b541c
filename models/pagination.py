"""Cursors: where a list goes on, as a string that nobody but Scrip needs to read.

A page starts below the last row that was seen, so rows that come meanwhile shift nothing. A cursor holds the name of
its list and positions in it: it gives no right to anything, and the request's filters must be sent again with it.
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


def encode(of: str, positions: Sequence[int]) -> str:
    """The cursor that holds these positions of the list `of`, safe in a URL."""
    return base64.urlsafe_b64encode(orjson.dumps([of, *positions])).rstrip(b"=").decode()


def decode(of: str, cursor: str | None, count: int = 1) -> list[int]:
    """The `count` positions of a cursor of the list `of`; without one, positions above every row.

    Raises:
        Invalid: it is not one that `encode` made for this list.
    """
    if cursor is None:
        return [LARGEST_POSITION] * count
    values = _read(cursor) if len(cursor) <= LONGEST_CURSOR else None
    if not isinstance(values, list) or len(values) != count + 1 or values[0] != of or not all(map(_fits, values[1:])):
        raise Invalid([("cursor", "is not a cursor of this list")])
    return values[1:]


def cut(of: str, rows: Sequence[T], limit: int, position: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """The first `limit` of `rows`, read with one to spare, and the cursor after them; None when there is no spare."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode(of, [position(rows[limit - 1])])


def by_id(
    of: str,
    select: str,
    id_column: str,
    filters: Mapping[str, Any],
    limit: int,
    cursor: str | None,
    show: Callable[[tuple[Any, ...]], dict[str, Any]],
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the list `of`, whose `select` has the id as its first column, and the cursor of the next page.

    `filters` are conditions with their values, such as `{"app = %s": "songs"}`; None leaves a condition out.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    (below,) = decode(of, cursor)
    given = {condition: value for condition, value in filters.items() if value is not None}
    conditions = " AND ".join([*given, f"{id_column} < %s"])
    sql = f"{select} WHERE {conditions} ORDER BY {id_column} DESC LIMIT %s"
    rows, following = cut(of, database.read(sql, [*given.values(), below, limit + 1]), limit, itemgetter(0))
    return [show(row) for row in rows], following


def _read(cursor: str) -> object:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return orjson.loads(text)
    except (binascii.Error, ValueError):
        return None


def _fits(value: object) -> bool:
    """Whether it is a position that PostgreSQL can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_POSITION
