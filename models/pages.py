"""Cursors: where a list goes on, as a string that nobody but Scrip needs to read.

A page starts below the last row that was seen, so rows that come meanwhile shift nothing. A cursor holds only
positions: it gives no right to anything, and the request's filters must be sent again with it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from models.errors import Invalid

T = TypeVar("T")
Value = int | str | None
LONGEST_CURSOR = 1000
LARGEST_POSITION = 2**63 - 1


def encode(values: Sequence[Value]) -> str:
    """The cursor that holds `values`, safe in a URL."""
    return base64.urlsafe_b64encode(orjson.dumps(list(values))).rstrip(b"=").decode()


def decode(cursor: str) -> list[Value]:
    """The values of a cursor.

    Raises:
        Invalid: it is not one that `encode` made.
    """
    values = _read(cursor) if len(cursor) <= LONGEST_CURSOR else None
    if not isinstance(values, list) or not values or not all(_fits(value) for value in values):
        raise Invalid([("cursor", "is not a cursor of this list")])
    return values


def decode_positions(cursor: str, count: int) -> list[int]:
    """The row positions in a cursor that holds exactly `count` of them.

    Raises:
        Invalid: it holds anything else.
    """
    values = decode(cursor)
    positions = [value for value in values if isinstance(value, int)]
    if len(values) != count or len(positions) != count:
        raise Invalid([("cursor", "is not a cursor of this list")])
    return positions


def cut(rows: Sequence[T], limit: int, position: Callable[[T], Sequence[Value]]) -> tuple[Sequence[T], str | None]:
    """The first `limit` of `rows`, read with one to spare, and the cursor after them; None when there is no spare."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode(position(rows[limit - 1]))


def _read(cursor: str) -> object:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return orjson.loads(text)
    except (binascii.Error, ValueError):
        return None


def _fits(value: object) -> bool:
    """Whether it may go into a statement: a whole number that PostgreSQL can hold, text, or nothing."""
    if value is None:
        return True
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_POSITION
