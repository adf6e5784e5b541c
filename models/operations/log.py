"""The operation log: which operations started, succeeded and failed. A view of rows that other modules write.

An operation has a line STARTED from the row that requested it (a provider event, a usage report, a request, a hold),
and ends with SUCCESS or ERROR. SUCCESS is its ledger entry, or its own row if it has no entry. ERROR is a row of
`operation_error`, or a session or refund that failed. One row both starts and ends an operation of the engine itself
(an expiry, a scheduled grant) and an operation that was refused on receipt. `details.key` is the same in all lines of
an operation.

Each source is read in descending order of its own id, and the sources are merged by the time of their records. A
cursor holds a position in each source. A source is read in windows of growing size, so that a filter that matches
little returns a short page instead of scanning the whole table.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from models import database, pagination
from models.operations.sources import SOURCES, Source

Line = tuple[Any, ...]
SOURCE, POSITION, REF, PART, OPERATION, STATUS, CUSTOMER, DETAILS, ERROR, AT, RECORDED_AT = range(11)
WINDOWS = (1000, 8000, 64_000, 512_000)
# The part of the line for the first row below a window: greater than both parts that the row can have.
UNREAD = 2


def list_page(
    app: str,
    *,
    customer: str | None = None,
    operation: str | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of the log, newest first, and the cursor of the next page (None on the last page).

    A page may have fewer lines than `limit` and still a next page, if the filters match little.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    filters = {"app": app, "customer": customer, "operation": operation, "status": status}
    reached = pagination.decode("operations", cursor, len(SOURCES))
    lines: list[Line] = []
    for window in WINDOWS:
        merged = _merged(_read(filters, reached, window, limit - len(lines) + 1))
        taken = _before_the_unread(merged)[: limit - len(lines)]
        lines += taken
        left = merged[len(taken) :]
        reached = _advanced(reached, taken)
        if not left or len(lines) == limit:
            break
        reached = _advanced(reached, left[:1])
    to_json = [_to_json(line) for line in sorted(lines, key=itemgetter(AT, PART), reverse=True)]
    return to_json, pagination.encode("operations", reached) if left else None


def _read(filters: Mapping[str, Any], reached: Sequence[int], window: int, limit: int) -> list[Line]:
    """The next lines of all sources, in one statement, so that all are of one snapshot."""
    arms = [
        arm
        for index, source in enumerate(SOURCES)
        if _can_have(source, filters["operation"], filters["status"])
        for arm in _arms(index, source, filters)
    ]
    bounds = {f"bound_{index}": position for index, position in enumerate(reached)}
    values = {**filters, **bounds, "window": window, "limit": limit}
    return database.read(" UNION ALL ".join(arms), values) if arms else []


def _can_have(source: Source, operation: str | None, status: str | None) -> bool:
    named = operation is None or source.operations is None or operation in source.operations
    return named and (status is None or status in source.statuses)


def _arms(index: int, source: Source, filters: Mapping[str, Any]) -> tuple[str, str]:
    """SQL for the lines of the source's window, and for a line of the first row below it, if there is one.

    A bound is twice the position of a row plus a part, so that a page can end between the two lines of a row.
    """
    bound, of_customer = f"(%(bound_{index})s::bigint - 1) / 2", filters["customer"] is not None
    rows = source.rows(source.window("t.*", bound, "LIMIT %(window)s", of_customer=of_customer))
    names = [name for name in ("operation", "status", "customer") if filters[name] is not None]
    conditions = " ".join(f"AND {name} = %({name})s" for name in names)
    unread = source.window("1", bound, "OFFSET %(window)s LIMIT 1", of_customer=of_customer)
    return (
        f"""(SELECT {index} AS source, o.* FROM ({rows}) AS o
        WHERE position * 2 + part < %(bound_{index})s {conditions}
        ORDER BY position DESC, part DESC LIMIT %(limit)s)""",
        f"""SELECT {index}, position, NULL, {UNREAD}, NULL, NULL, NULL, NULL, NULL, NULL, recorded_at
        FROM ({unread}) AS u""",
    )


def _merged(lines: Sequence[Line]) -> list[Line]:
    """The lines of all sources, newest record first. Each source keeps its own order, on which the cursor relies."""
    ordered = sorted(lines, key=lambda line: (line[SOURCE], -line[POSITION], -line[PART]))
    sources = [list(group) for _, group in groupby(ordered, key=itemgetter(SOURCE))]
    return list(heapq.merge(*sources, key=itemgetter(RECORDED_AT, PART), reverse=True))


def _before_the_unread(merged: Sequence[Line]) -> list[Line]:
    """The lines above the first row that was not read: lines below that row may be missing."""
    end = next((index for index, line in enumerate(merged) if line[PART] == UNREAD), len(merged))
    return list(merged[:end])


def _advanced(reached: Sequence[int], taken: Sequence[Line]) -> list[int]:
    advanced = list(reached)
    for line in taken:
        advanced[line[SOURCE]] = line[POSITION] * 2 + line[PART]
    return advanced


def _to_json(line: Line) -> dict[str, Any]:
    return {
        "id": f"{SOURCES[line[SOURCE]].name}:{line[REF]}:{line[STATUS].lower()}",
        "operation": line[OPERATION],
        "status": line[STATUS],
        "customer": line[CUSTOMER],
        "details": line[DETAILS],
        "error": line[ERROR],
        "timestamp": line[AT],
    }
