"""Facts of plans as JSON, and back. Times are RFC 3339; fields with their default value may be absent."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import orjson

from models.plans.facts import Snapshot

T = TypeVar("T")
Reader = Callable[[Any], Any]


def write(fact: Any) -> str:
    """A fact as JSON, without the fields that have their default value."""
    return orjson.dumps(_plain(fact)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if not is_dataclass(value):
        return value
    found = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if field.default is MISSING or content != field.default:
            found[field.name] = _plain(content)
    return found


def read(cls: type[T], content: Mapping[str, Any]) -> T:
    """A fact from its JSON. Fields that the class does not have are left out."""
    readers = _readers(cls)  # type: ignore[arg-type]
    return cls(**{name: readers[name](value) for name, value in content.items() if name in readers})


@cache
def _readers(cls: type) -> dict[str, Reader]:
    hints = typing.get_type_hints(cls)
    return {field.name: _reader(hints[field.name]) for field in fields(cls)}


def _reader(hint: Any) -> Reader:
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [_reader(arg) for arg in get_args(hint) if arg is not types.NoneType]
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        kinds = get_args(hint)
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            each = _reader(kinds[0])
            return lambda value: tuple(map(each, value))
        readers = [_reader(kind) for kind in kinds]
        return lambda value: tuple(reader(item) for reader, item in zip(readers, value, strict=True))
    if hint is datetime:
        return lambda value: value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if is_dataclass(hint):
        return lambda value: read(typing.cast(type, hint), value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _previous
    return lambda value: value


def _previous(content: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a snapshot before an update, by the names of its fields."""
    readers = _readers(Snapshot)
    return {name: readers[name](value) for name, value in content.items() if name in readers}
