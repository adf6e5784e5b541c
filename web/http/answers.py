"""Responses: JSON with the headers that every response has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from flask import Response

from models import times

ALWAYS = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))


def respond(
    content: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str = "application/json",
) -> Response:
    """`content` as a JSON response. Datetimes become RFC 3339 in UTC with `Z`, decimals become strings."""
    fields = [("Content-Type", content_type), *ALWAYS, *(headers.items() if headers else ())]
    return Response(dumps(content), status, fields)


def created(answer: dict[str, Any], new: bool) -> tuple[dict[str, Any], int]:
    """The answer with 201 if it is new, else with 200."""
    return answer, 201 if new else 200


def dumps(content: Any) -> bytes:
    """Compact JSON, UTF-8."""
    return orjson.dumps(content, _plain, orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return times.write(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON-serialisable")
