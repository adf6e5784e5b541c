"""CSV files of balances from an older system, read into rows. Every wrong line is reported, with its column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from models import times
from models.ledger.accounts import is_name

REQUIRED = ("customer", "units")
DELIMITERS = ",;\t"
DEFAULT_REASON = "imported"
MOST_UNITS = 10**12
MOST_SESSIONS = 10**9
LONGEST_REASON = 500


class Bad(NamedTuple):
    """What is wrong with a line. The first line of a file, with the names of the columns, is 1."""

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.reason}" if self.column else f"line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One balance of an older system. `id` is empty if the file has none for it."""

    line: int
    customer: str
    units: int
    expires_at: datetime | None = None
    reason: str = DEFAULT_REASON
    free_sessions_used: int = 0
    cooldown_until: datetime | None = None
    id: str = ""

    @property
    def content(self) -> dict[str, Any]:
        """The content that other rows with this id must have too. Empty columns are absent, except the reason."""
        content: dict[str, Any] = {"customer": self.customer, "units": self.units, "reason": self.reason}
        if self.expires_at:
            content["expires_at"] = times.write(self.expires_at)
        if self.free_sessions_used:
            content["free_sessions_used"] = self.free_sessions_used
        if self.cooldown_until:
            content["cooldown_until"] = times.write(self.cooldown_until)
        return content


@dataclass(slots=True)
class Parsed:
    """A file: the valid rows, and what is wrong with the others."""

    rows: list[Row] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)


def parse(data: bytes) -> Parsed:
    """Read a file: UTF-8, with or without a byte order mark; commas, semicolons or tabs; any line endings.

    A file whose columns are wrong has no rows.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Parsed(bad=[Bad(line, "", "is not UTF-8; save the file as UTF-8")])
    lines = _lines(text)
    _, header = next(lines, (1, []))
    columns = [_column(name) for name in header] if isinstance(header, list) else []
    wrong = _wrong_columns(columns)
    if wrong:
        return Parsed(bad=wrong)
    return _rows(columns, lines)


def _lines(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, cells) of each line that is not empty, or (line number, error) if the rest cannot be read."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"cannot be read: {error}"
            return
        if any(cell.strip() for cell in cells):
            yield number, cells


def _column(name: str) -> str:
    """The column's name in lower case with underscores: `Free sessions used` is `free_sessions_used`."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _wrong_columns(columns: list[str]) -> list[Bad]:
    wrong = [Bad(1, name, "is missing: customer and units are required") for name in REQUIRED if name not in columns]
    for index, name in enumerate(columns):
        if name not in CELLS:
            wrong.append(Bad(1, name or f"column {index + 1}", f"is not a known column; use {', '.join(CELLS)}"))
        elif name in columns[:index]:
            wrong.append(Bad(1, name, "appears twice"))
    return wrong


def _rows(columns: list[str], lines: Iterable[tuple[int, list[str] | str]]) -> Parsed:
    parsed = Parsed()
    for number, cells in lines:
        if isinstance(cells, str):
            parsed.bad.append(Bad(number, "", cells))
        elif len(cells) != len(columns):
            parsed.bad.append(Bad(number, "", f"has {len(cells)} cells, but the header has {len(columns)} columns"))
        else:
            _read(parsed, number, dict(zip(columns, cells, strict=True)))
    return parsed


def _read(parsed: Parsed, number: int, cells: dict[str, str]) -> None:
    """Add one line to the result: as a row, or everything that is wrong with it."""
    values: dict[str, Any] = {}
    wrong = []
    for name, cell in cells.items():
        text = cell.strip()
        if not text and name not in REQUIRED:
            continue
        try:
            values[name] = CELLS[name](text)
        except (ValueError, TypeError) as error:
            wrong.append(Bad(number, name, str(error)))
    parsed.bad += wrong
    if not wrong:
        parsed.rows.append(Row(line=number, **values))


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"must be 1 to 120 characters without /, \\ or control characters, not {text[:130]!r}")
    return text


def _whole_number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= most):
            raise ValueError(f"must be a whole number from 0 to {most}, not {text[:40]!r}")
        return int(text)

    return read


def _time(text: str) -> datetime:
    try:
        return times.parse(text)
    except (ValueError, TypeError):
        raise ValueError(f"must be a time with an offset, such as 2026-01-31T12:00:00Z, not {text[:40]!r}") from None


def _reason(text: str) -> str:
    if len(text) > LONGEST_REASON or "\0" in text:
        raise ValueError(f"must be at most {LONGEST_REASON} characters")
    return text


CELLS: dict[str, Callable[[str], Any]] = {
    "customer": _name,
    "units": _whole_number(MOST_UNITS),
    "expires_at": _time,
    "reason": _reason,
    "free_sessions_used": _whole_number(MOST_SESSIONS),
    "cooldown_until": _time,
    "id": _name,
}
