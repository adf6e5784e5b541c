"""Stripe's form encoding: `line_items[0][price_data][currency]=usd` as nested dicts and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sandbox.store.account import Refused

DEEPEST = 12


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


def flag(params: dict[str, Any], name: str) -> bool:
    """A boolean parameter; False if it is missing."""
    return params.get(name) == "true"


def metadata(params: dict[str, Any], *path: str) -> dict[str, str]:
    """The metadata below `path`; empty if there is none."""
    place: Any = params
    for step in path:
        place = place.get(step) if isinstance(place, dict) else None
    found = place.get("metadata") if isinstance(place, dict) else None
    if not found:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Refused("Invalid metadata: it must map strings to strings", param="metadata")
    return {name: value for name, value in found.items() if value}
