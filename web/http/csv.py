"""CSV responses: one header line, then one line per row, streamed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Any

import orjson
from flask import Request, Response

from models import database, times

MEDIA_TYPE = "text/csv"
LINES_A_CHUNK = 1000
# A spreadsheet evaluates a cell that starts with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def is_wanted(request: Request) -> bool:
    """Whether the Accept header prefers CSV to JSON."""
    return request.accept_mimetypes.best_match(["application/json", MEDIA_TYPE]) == MEDIA_TYPE


def stream(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], name: str) -> Response:
    """The `columns` of the rows as the attachment `<name>.csv`.

    The first chunk is read before the response starts, so that an immediate failure is still returned as a problem.
    """
    chunks = _chunks(iter(rows), columns)
    first = next(chunks)
    disposition = f'attachment; filename="{name}.csv"'
    return Response(
        chain([first], chunks),
        content_type=f"{MEDIA_TYPE}; charset=utf-8",
        headers={**HEADERS, "Content-Disposition": disposition},
    )


def _chunks(rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    lines: list[Sequence[Any]] = [columns]
    while lines:
        room = LINES_A_CHUNK - len(lines)
        lines += ([_cell(row[name]) for name in columns] for row in islice(rows, room))
        # A slow client must not hold a database connection.
        database.release()
        yield _written(lines)
        lines = [[_cell(row[name]) for name in columns] for row in islice(rows, 1)]


def _written(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _cell(value: Any) -> str | int | Decimal:
    """A CSV cell: numbers unchanged, text that a spreadsheet would evaluate prefixed with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return times.write(value)
    if isinstance(value, (int, Decimal)):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
