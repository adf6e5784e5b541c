"""The operation log: what was started, what succeeded, what failed. A view of rows that are written anyway.

An operation is STARTED by the row that asked for it (a provider's event, a usage report, a request, a hold) and ends
in SUCCESS or ERROR: SUCCESS is its ledger entry, or its own row where it makes none; ERROR is a row of
`operation_error`, or a report that was refused. What the engine does by itself (an expiry, a grant on schedule) and
what was refused at the door is started and ended by one row. `details.key` is the same from STARTED to the end.

Each source is read backwards by its own id, and the heads are merged by the time they were recorded; a cursor holds a
position in each source. A source is read a window at a time, each time a larger one, so that a filter that matches
next to nothing costs a short page rather than a scan of everything.
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
# The part of the line that stands for the first row below a window: above both parts that the row may have.
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
    """A page of the log, newest first, and the cursor of the next one (None on the last).

    A page may be short of `limit` before the last where the filters match little.

    Raises:
        Invalid: the cursor is not one of ours.
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
    """The next lines of all sources, in one statement, so that they are of one moment."""
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
    """The lines of the source's window, and a line for the first row below it, if there is one.

    A bound is twice the position of a row plus a part, so that a page may end within a row.
    """
    bound, of_customer = f"(%(bound_{index})s::bigint - 1) / 2", filters["customer"] is not None
    rows = source.rows(source.window("t.*", bound, "LIMIT %(window)s", of_customer=of_customer))
    names = [name for name in ("operation", "status", "customer") if filters[name] is not None]
    wanted = " ".join(f"AND {name} = %({name})s" for name in names)
    unread = source.window("1", bound, "OFFSET %(window)s LIMIT 1", of_customer=of_customer)
    return (
        f"""(SELECT {index} AS source, o.* FROM ({rows}) AS o
        WHERE position * 2 + part < %(bound_{index})s {wanted}
        ORDER BY position DESC, part DESC LIMIT %(limit)s)""",
        f"""SELECT {index}, position, NULL, {UNREAD}, NULL, NULL, NULL, NULL, NULL, NULL, recorded_at
        FROM ({unread}) AS u""",
    )


def _merged(lines: Sequence[Line]) -> list[Line]:
    """The lines of all sources, newest record first; each source keeps its own order, which the cursor relies on."""
    ordered = sorted(lines, key=lambda line: (line[SOURCE], -line[POSITION], -line[PART]))
    sources = [list(group) for _, group in groupby(ordered, key=itemgetter(SOURCE))]
    return list(heapq.merge(*sources, key=itemgetter(RECORDED_AT, PART), reverse=True))


def _before_the_unread(merged: Sequence[Line]) -> list[Line]:
    """What stands above the first row that was not read: below it anything may come."""
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
