"""Times in the API: RFC 3339, written in UTC with `Z`, read with any offset."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

_WRITTEN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse(text: Any) -> datetime:
    """The time in UTC, truncated to microseconds.

    Raises:
        ValueError: the text is not an RFC 3339 time with an offset.
        TypeError: the value is not a text.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
    *date_and_time, fraction, zulu, sign, hours, minutes = match.groups()
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = map(int, date_and_time)
    local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)
    if zulu:
        return local
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("the offset must be at most 23:59")
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return local - ahead if sign == "+" else local + ahead
    except OverflowError:
        raise ValueError("the time is outside the years 1 to 9999") from None


def write(value: datetime) -> str:
    """The time as `2026-01-31T12:00:00Z`, with microseconds if they are not 0. `value` must have a time zone."""
    return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
