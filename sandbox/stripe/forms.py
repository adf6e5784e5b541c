"""Stripe's form encoding: `line_items[0][price_data][currency]=usd` as nested dicts and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sandbox.store.account import Refused

DEEPEST = 12
MOST_KEYS, LONGEST_KEY, LONGEST_VALUE = 50, 40, 500


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The parameters as a tree. Raises Refused if one is both a value and a tree."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        steps = re.findall(r"[^\[\]]+|\[\]", name)[:DEEPEST] or [name]
        place = tree
        *inner, last = steps
        for step in inner:
            place = place.setdefault(_step(place, step), {})
            if not isinstance(place, dict):
                raise Refused(f"Invalid object: {name}", param=name)
        place[_step(place, last)] = value
    return {name: _listed(value) for name, value in tree.items()}


def _step(place: dict[str, Any], step: str) -> str:
    """The key of a step; for `[]`, the next number."""
    return str(len(place)) if step == "[]" else step


def _listed(value: Any) -> Any:
    """Convert trees whose keys are all numbers to lists."""
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() for name in value):
        return [_listed(value[name]) for name in sorted(value, key=int)]
    return {name: _listed(part) for name, part in value.items()}


def whole(params: dict[str, Any], name: str, default: int | None = None, least: int = 0) -> int:
    """An integer parameter. Raises Refused."""
    text = params.get(name, "")
    if text == "" and default is not None:
        return default
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and least <= int(text) < 10**12):
        raise Refused(f"Invalid integer: {text}", code="parameter_invalid_integer", param=name)
    return int(text)


def choice(params: dict[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """One of the allowed texts. Raises Refused."""
    given = params.get(name)
    if given is None and default is not None:
        return default
    if given not in allowed:
        raise Refused(f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)
    return str(given)


def flag(params: dict[str, Any], name: str) -> bool:
    """A boolean parameter; False if it is missing. Raises Refused."""
    given = params.get(name, "false")
    if given not in ("true", "false"):
        raise Refused(f"Invalid boolean: {given}", param=name)
    return bool(given == "true")


def seconds(params: dict[str, Any], name: str, now: int, default: int | None = None) -> int:
    """A time in seconds; "now" is `now`. Raises Refused."""
    if params.get(name) == "now":
        return now
    return whole(params, name, default)


def metadata(params: dict[str, Any], *path: str) -> dict[str, str]:
    """The metadata below `path`; empty if there is none. Raises Refused."""
    return {name: value for name, value in _given_metadata(params, path).items() if value}


def merged_metadata(present: dict[str, str], params: dict[str, Any]) -> dict[str, str]:
    """The metadata after an update: an empty value removes its key, and empty metadata all keys. Raises Refused."""
    if params.get("metadata") == "":
        return {}
    merged = {**present, **_given_metadata(params, ())}
    return {name: value for name, value in merged.items() if value}


def _given_metadata(params: dict[str, Any], path: tuple[str, ...]) -> dict[str, str]:
    place: Any = params
    for step in path:
        place = place.get(step) if isinstance(place, dict) else None
    found = place.get("metadata") if isinstance(place, dict) else None
    if not found:
        return {}
    if isinstance(found, list):  # keys that are numbers
        found = {str(number): value for number, value in enumerate(found)}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Refused("Invalid metadata: it must map strings to strings", param="metadata")
    _check_metadata(found)
    return found


def _check_metadata(found: dict[str, str]) -> None:
    """Stripe's limits."""
    if len(found) > MOST_KEYS:
        raise Refused(f"Metadata can have at most {MOST_KEYS} keys.", param="metadata")
    for name, value in found.items():
        if len(name) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            message = f"Metadata keys have at most {LONGEST_KEY} characters, and values {LONGEST_VALUE}."
            raise Refused(message, param=f"metadata[{name[:LONGEST_KEY]}]")
