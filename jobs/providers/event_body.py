"""Parses the body of a provider's event after its signature was verified: JSON with an id and a type."""

from __future__ import annotations

from typing import Any

import orjson

from models.errors import BadRequest

LONGEST_TEXT = 255


def read(raw: bytes, *fields: str) -> dict[str, Any]:
    """The event, in which each of `fields` is a text of 1 to 255 characters.

    Raises:
        BadRequest: the body is not JSON, lacks a field, or is nested so deep that it can be parsed but not serialized.
    """
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise BadRequest("the body is not a JSON object")
    try:
        orjson.dumps(event)
    except TypeError:
        raise BadRequest("the event is nested too deep") from None
    for name in fields:
        if not _is_short_text(event.get(name)):
            raise BadRequest(f"the event's {name} is missing or is not a text of 1 to {LONGEST_TEXT} characters")
    return event


def _is_short_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and "\0" not in value
