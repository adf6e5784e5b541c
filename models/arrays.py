"""PostgreSQL array literals, made fast.

A batch of 500 movements sends some 10,000 values. psycopg adapts list items one by one, which took longer than the
planning of the batch. Here the loops run in C: a JSON list of numbers, booleans or times is a PostgreSQL array but for
its brackets, and texts are joined and escaped as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson


def ints(values: Iterable[int | None]) -> str:
    """A literal for `bigint[]` (or any number of at most 64 bits)."""
    return _from_json(values)


def bools(values: Iterable[bool]) -> str:
    """A literal for `boolean[]`."""
    return _from_json(values)


def times(values: Iterable[datetime | None]) -> str:
    """A literal for `timestamptz[]`. The values are aware."""
    return _from_json(values)


def texts(values: Iterable[str | None]) -> str:
    """A literal for `text[]`.

    Raises ValueError for a text with a NUL in it, which PostgreSQL cannot store.
    """
    parts = list(values)
    if not parts:
        return "{}"
    try:
        joined = "\0".join(parts)  # type: ignore[arg-type]
    except TypeError:  # there is a None among them
        return "{" + ",".join(["NULL" if part is None else f'"{_escaped(part)}"' for part in parts]) + "}"
    if joined.count("\0") != len(parts) - 1:
        raise ValueError("a text with a NUL in it cannot be stored")
    return '{"' + _escaped(joined).replace("\0", '","') + '"}'


def jsons(values: Iterable[Any]) -> str:
    """A literal for `jsonb[]`; None becomes SQL's NULL."""
    return texts([None if value is None else orjson.dumps(value).decode() for value in values])


def _from_json(values: Iterable[Any]) -> str:
    return "{" + orjson.dumps(list(values))[1:-1].decode() + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
