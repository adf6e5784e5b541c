"""The body of a provider's event, once its signature was checked: JSON with an id and a type."""

from __future__ import annotations

from typing import Any

import orjson

from models.errors import BadRequest

LONGEST_TEXT = 255


def read(raw: bytes, *words: str) -> dict[str, Any]:
    """The event, in which each of `words` is a text of 1 to 255 characters.

    Raises:
        BadRequest: it is no such event, no JSON, or nested so deep that it could be read but not written again.
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
        raise BadRequest("the event is nested deeper than any real one") from None
    for name in words:
        if not _is_word(event.get(name)):
            raise BadRequest(f"the event has no {name}, or one that is no text of 1 to {LONGEST_TEXT} characters")
    return event


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and "\0" not in value
