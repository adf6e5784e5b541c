"""An event that is not what its type promises, told to the operator: which field, what stands there, what to do."""

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
    """`value`, out of an event, is not what was `expected` there; `name` is its field's, where that is known."""

    def __init__(self, value: Any, expected: str, name: str = "") -> None:
        super().__init__(f"{_written(value)} is not {expected}")
        self.value = value
        self.name = name


def malformed(event: Event, error: Exception) -> Unprocessable:
    """What an event ends dead with when `error` came up while it was read."""
    provider = NAMES.get(event.provider, event.provider)
    return Unprocessable(
        f"malformed {event.type}: {_what(event, error)}. Nothing was done for it: look it up at {provider}, and if it"
        " is real, book what it says by hand (POST /v1/adjustments)"
    )


def _what(event: Event, error: Exception) -> str:
    if isinstance(error, MalformedEvent):
        found = (path for path in _places(event.payload, error.value) if path.endswith(error.name))
        places = list(islice(found, MOST_PLACES + 1))
        return f"{' or '.join(places)}: {error}" if 0 < len(places) <= MOST_PLACES else str(error)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return f"{error.args[0]} is missing"
    if isinstance(error, ValueError):
        return str(error)
    return "one of its fields is of another kind than it should be"


def _places(thing: Any, value: Any, path: str = "") -> Iterator[str]:
    """Where in the event this very value stands: whoever read it had no need to know."""
    if thing is value and path:
        yield path
    elif isinstance(thing, dict):
        for name, each in thing.items():
            yield from _places(each, value, f"{path}.{name}" if path else name)
    elif isinstance(thing, list):
        for index, each in enumerate(thing):
            yield from _places(each, value, f"{path}[{index}]")


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
