"""Pages of rows by descending id: the next page starts below the last id seen, however many rows came meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models import database, pages
from models.errors import Invalid


def by_id(
    select: str,
    id_column: str,
    where: Sequence[str],
    values: Sequence[Any],
    limit: int,
    cursor: str | None,
    show: Callable[[tuple[Any, ...]], dict[str, Any]],
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of `select`, whose first column is the id, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is not one of ours.
    """
    conditions, parameters = list(where), list(values)
    if cursor is not None:
        conditions.append(f"{id_column} < %s")
        parameters.append(_position(cursor))
    sql = f"{select} WHERE {' AND '.join(conditions)} ORDER BY {id_column} DESC LIMIT %s"
    rows = database.fetch(sql, [*parameters, limit + 1])
    following = pages.encode([rows[limit - 1][0]]) if len(rows) > limit else None
    return [show(row) for row in rows[:limit]], following


def _position(cursor: str) -> int:
    values = pages.decode(cursor)
    if len(values) != 1 or not isinstance(values[0], int):
        raise Invalid([("cursor", "is not a cursor of this list")])
    return values[0]
