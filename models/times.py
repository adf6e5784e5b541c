"""Times as the API writes and reads them: RFC 3339, in UTC with `Z`; any offset is understood."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

_WRITTEN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse(text: Any) -> datetime:
    """The time in UTC, cut to microseconds. Raises ValueError or TypeError if it is none, or has no offset."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError("no RFC 3339 time")
    *date_and_time, fraction, zulu, sign, hours, minutes = match.groups()
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = map(int, date_and_time)
    local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)
    if zulu:
        return local
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("no such offset")
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return local - ahead if sign == "+" else local + ahead
    except OverflowError:
        raise ValueError("beyond the calendar") from None


def write(value: datetime) -> str:
    """`2026-01-31T12:00:00Z`, with microseconds where there are any."""
    return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
