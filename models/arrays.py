"""Fast PostgreSQL array literals.

A batch of 500 movements sends about 10,000 values. psycopg adapts list items one by one, which took longer than
planning the batch. Here the loops run in C: a JSON list of numbers, booleans or times is a PostgreSQL array apart from
its brackets, and texts are joined and escaped as one string.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson


def ints(values: Iterable[int | None]) -> str:
    """A literal for `bigint[]`, or an array of smaller integers."""
    return _from_json(values)


def numerics(values: Iterable[int]) -> str:
    """A literal for `numeric[]`, for whole numbers of any size: orjson writes none beyond 64 bits."""
    return "{" + ",".join(map(str, values)) + "}"


def bools(values: Iterable[bool]) -> str:
    """A literal for `boolean[]`."""
    return _from_json(values)


def times(values: Iterable[datetime | None]) -> str:
    """A literal for `timestamptz[]`. The values must have a time zone."""
    return _from_json(values)


def texts(values: Iterable[str | None]) -> str:
    """A literal for `text[]`.

    Raises:
        ValueError: a text contains NUL, which PostgreSQL cannot store.
    """
    parts = list(values)
    if not parts:
        return "{}"
    try:
        joined = "\0".join(parts)  # type: ignore[arg-type]
    except TypeError:  # a value is None
        return "{" + ",".join(["NULL" if part is None else f'"{_escaped(part)}"' for part in parts]) + "}"
    if joined.count("\0") != len(parts) - 1:
        raise ValueError("a text contains NUL, which PostgreSQL cannot store")
    return '{"' + _escaped(joined).replace("\0", '","') + '"}'


def jsons(values: Iterable[Any], option: int | None = None) -> str:
    """A literal for `jsonb[]`. None becomes NULL. `option`: of orjson."""
    return texts([None if value is None else orjson.dumps(value, option=option).decode() for value in values])


def _from_json(values: Iterable[Any]) -> str:
    return "{" + orjson.dumps(list(values))[1:-1].decode() + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
