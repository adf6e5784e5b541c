"""Kinds: functions that validate and convert one TOML value, or raise ValueError with the reason.

These are the general ones; those of the catalog are in `kinds`.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from models import durations

T = TypeVar("T")
Kind = Callable[[object], T]


def whole(minimum: int, maximum: int) -> Kind[int]:
    """Kind: a whole number from `minimum` to `maximum`, both included."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, got {describe(value)}")
        if value < minimum:
            raise ValueError(f"must be at least {minimum}, got {value}")
        if value > maximum:
            raise ValueError(f"must be at most {maximum}, got {value}")
        return value

    return read


def text(longest: int = 120) -> Kind[str]:
    """Kind: one line of text, not empty, at most `longest` characters."""

    def read(value: object) -> str:
        line = string(value)
        if not line.strip():
            raise ValueError("must not be empty")
        if len(line) > longest:
            raise ValueError(f"must be at most {longest} characters, got {len(line)}")
        if not line.isprintable():
            raise ValueError("must be one line without control characters")
        return line

    return read


def one_of(choices: tuple[T, ...]) -> Kind[T]:
    """Kind: one of the choices."""

    def read(value: object) -> T:
        for choice in choices:
            if value == choice:
                return choice
        raise ValueError(f"must be one of {', '.join(map(str, choices))}, got {describe(value)}")

    return read


def flag(value: object) -> bool:
    """Kind: true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, got {describe(value)}")
    return value


def duration(minimum: timedelta = timedelta(seconds=1)) -> Kind[timedelta]:
    """Kind: a duration such as "30d", at least `minimum`."""

    def read(value: object) -> timedelta:
        given = string(value)
        try:
            length = durations.parse(given)
        except ValueError as refusal:
            raise ValueError(f"{refusal}, got {describe(value)}") from None
        if length < minimum:
            raise ValueError(f"must be at least {durations.write(minimum)}, got {describe(value)}")
        return length

    return read


def describe(value: object) -> str:
    """A TOML value as error messages show it: 12, "twelve", true, a list, a table, a date or time."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def string(value: object) -> str:
    """Kind: any text."""
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, got {describe(value)}")
    return value


def mapping(value: object) -> dict[str, Any]:
    """Kind: a table."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, got {describe(value)}")
    return value
