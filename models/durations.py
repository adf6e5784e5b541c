"""Durations as written in the catalog and in requests: "30d", "2h", "10m", "45s"."""

import re
from datetime import timedelta

LONGEST_DAYS = 36_500

_SECONDS_PER = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,9})([dhms])")


def parse(text: str) -> timedelta:
    """The duration that a text such as "10m" stands for. Months and years are excluded: their length varies.

    Raises:
        ValueError: the text has another form, or exceeds `LONGEST_DAYS` (100 years); the message is the reason.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError('must be a whole number followed by d, h, m or s, such as "30d"')
    seconds = int(match[1]) * _SECONDS_PER[match[2]]
    if seconds > LONGEST_DAYS * _SECONDS_PER["d"]:
        raise ValueError(f"must be at most {LONGEST_DAYS}d")
    return timedelta(seconds=seconds)


def write(duration: timedelta) -> str:
    """The inverse of `parse`, in the largest unit that divides it: "10m" for ten minutes, "25h" for 25 hours."""
    seconds = duration // timedelta(seconds=1)
    if seconds == 0:
        return "0s"
    unit = next(unit for unit, length in _SECONDS_PER.items() if seconds % length == 0)
    return f"{seconds // _SECONDS_PER[unit]}{unit}"
