"""Durations as people write them in a catalog or a request: "30d", "2h", "10m", "45s"."""

import re
from datetime import timedelta

LONGEST_DAYS = 36_500

_SECONDS_PER = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,9})([dhms])")


def parse(text: str) -> timedelta:
    """Ten minutes for "10m". Raises ValueError with the reason: no such form, or beyond a hundred years.

    There is no month and no year: neither has a fixed length.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError('must be a whole number and one of d, h, m, s, such as "30d"')
    seconds = int(match[1]) * _SECONDS_PER[match[2]]
    if seconds > LONGEST_DAYS * _SECONDS_PER["d"]:
        raise ValueError(f"must be at most {LONGEST_DAYS}d")
    return timedelta(seconds=seconds)


def write(duration: timedelta) -> str:
    """The inverse of `parse`, in the largest unit that fits: "10m" for ten minutes, "25h" for 25 hours."""
    seconds = duration // timedelta(seconds=1)
    if seconds == 0:
        return "0s"
    unit = next(unit for unit, length in _SECONDS_PER.items() if seconds % length == 0)
    return f"{seconds // _SECONDS_PER[unit]}{unit}"
