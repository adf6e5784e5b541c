"""Pages of rows by descending id: the next page starts below the last id seen, however many rows came meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from models import database, pages


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
    (below,) = pages.decode(of, cursor)
    given = {condition: value for condition, value in filters.items() if value is not None}
    conditions = " AND ".join([*given, f"{id_column} < %s"])
    sql = f"{select} WHERE {conditions} ORDER BY {id_column} DESC LIMIT %s"
    rows, following = pages.cut(of, database.fetch(sql, [*given.values(), below, limit + 1]), limit, itemgetter(0))
    return [show(row) for row in rows], following
