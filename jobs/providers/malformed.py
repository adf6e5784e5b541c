"""Error messages for malformed events: the field, its value, what is expected, and the next step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from models.errors import Unprocessable
from models.inbox.events import Event

NAMES = {"stripe": "Stripe", "paypal": "PayPal"}
MOST_PLACES = 3
LONGEST_VALUE = 60


class MalformedEvent(ValueError):
    """A `value` of an event is not what is `expected`. `name` is the end of its field's path, if known."""

    def __init__(self, value: Any, expected: str, name: str = "") -> None:
        super().__init__(f"{_written(value)} is not {expected}")
        self.value = value
        self.name = name


def malformed(event: Event, error: Exception) -> Unprocessable:
    """The reason for the dead letter of an event whose translation into facts raised `error`."""
    provider = NAMES.get(event.provider, event.provider)
    return Unprocessable(
        f"malformed {event.type}: {_problem(event, error)}. Nothing was applied. Check the object at {provider}; if it"
        " is genuine, post the change manually (POST /v1/adjustments)"
    )


def _problem(event: Event, error: Exception) -> str:
    if isinstance(error, MalformedEvent):
        found = (path for path in _places(event.payload, error.value) if path.endswith(error.name))
        places = list(islice(found, MOST_PLACES + 1))
        where = " or ".join(places) if len(places) <= MOST_PLACES else ""
        return f"{where or error.name}: {error}" if where or error.name else str(error)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return f"{error.args[0]} is missing"
    if isinstance(error, ValueError):
        return str(error)
    return "a field has a value of the wrong type"


def _places(thing: Any, value: Any, path: str = "") -> Iterator[str]:
    """The paths at which this very value (by identity) is in the event, so readers of values need no paths."""
    if thing is value and path:
        yield path
    elif isinstance(thing, dict):
        for name, child in thing.items():
            yield from _places(child, value, f"{path}.{name}" if path else name)
    elif isinstance(thing, list):
        for index, child in enumerate(thing):
            yield from _places(child, value, f"{path}[{index}]")


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
