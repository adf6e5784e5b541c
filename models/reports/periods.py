"""What all reports share: the stretch of time that they are about, days of a time zone, amounts rounded once.

Reports only read, in SQL that works on sets; what is divided is divided exactly, as fractions, and rounded at the end.
docs/reports.md says what each figure means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import available_timezones

from psycopg.errors import InvalidParameterValue

from models import database, money
from models.errors import Invalid

# An amount of 64 bits times a count of 64 bits fits.
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
# A deduction that was not priced by a rate of the catalog: units that a charge, a hold or a session named itself.
NO_RATE = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which app and what time: `since` is inclusive, `until` exclusive. Days and months are those of `zone`."""

    app: str
    since: datetime | None = None
    until: datetime | None = None
    zone: str = "UTC"

    def check(self) -> None:
        """Raises Invalid for a time zone that is none, and for a span that ends before it starts."""
        if self.since is not None and self.until is not None and self.since > self.until:
            raise Invalid([("from", "must not be after to")])
        if not _is_zone(self.zone):
            raise Invalid([("tz", f"unknown time zone {self.zone!r}; it is a name such as Europe/Berlin")])

    def values(self) -> dict[str, Any]:
        """What the statements of the reports take as parameters."""
        return {"app": self.app, "since": self.since, "until": self.until, "zone": self.zone}

    def within(self, column: str) -> str:
        """The condition that the time of the column lies in the span, to go after another one."""
        since = f" AND {column} >= %(since)s" if self.since else ""
        return since + (f" AND {column} < %(until)s" if self.until else "")


def day(column: str) -> str:
    """SQL: the day of the span's zone that the time of the column lies in, as 2026-01-31."""
    return f"to_char({column} AT TIME ZONE %(zone)s, 'YYYY-MM-DD')"


def month(column: str) -> str:
    """SQL: the month of the span's zone that the time of the column lies in, as 2026-01."""
    return f"to_char({column} AT TIME ZONE %(zone)s, 'YYYY-MM')"


def amount(minor: Fraction | int, currency: str) -> Decimal:
    """Minor units as an amount with all of the currency's decimals; half a minor unit goes to the even one."""
    return Decimal(money.to_amount(round(minor), currency))


def share(part: int, whole: int) -> Decimal:
    """part ÷ whole with two to four decimals: 0.25, 0.3333."""
    exact = EXACT.divide(Decimal(part), Decimal(whole)).quantize(Decimal("0.0001"), context=EXACT)
    return exact if exact != exact.quantize(Decimal("0.01")) else exact.quantize(Decimal("0.01"))


def _is_zone(name: str) -> bool:
    """Whether both Python and PostgreSQL, which finds the days, know the name; PostgreSQL knows more than names."""
    if name == "UTC":
        return True
    if name not in available_timezones():
        return False
    try:
        database.read("SELECT now() AT TIME ZONE %s", [name])
    except InvalidParameterValue:
        return False
    return True
