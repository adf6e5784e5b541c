"""Shared by all reports: their period, the days and months of a time zone, rounding.

Reports are read-only, set-based SQL. Divisions are exact fractions, rounded once at the end. docs/reports.md defines
each figure.
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

# Enough digits for the product of two 64-bit numbers.
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
# Stands for the rate of a deduction that no rate priced: a charge or hold in units, a session with a fixed price.
NO_RATE = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The app and the period of a report: `since` inclusive, `until` exclusive. Days and months are those of `zone`."""

    app: str
    since: datetime | None = None
    until: datetime | None = None
    zone: str = "UTC"

    def check(self) -> None:
        """Validate the span.

        Raises:
            Invalid: the time zone is unknown, or the span ends before it starts.
        """
        if self.since is not None and self.until is not None and self.since > self.until:
            raise Invalid([("from", "must not be after to")])
        if not _is_zone(self.zone):
            raise Invalid([("tz", f"unknown time zone {self.zone!r}; use a name such as Europe/Berlin")])

    def values(self) -> dict[str, Any]:
        """The parameters of the reports' statements."""
        return {"app": self.app, "since": self.since, "until": self.until, "zone": self.zone}

    def within(self, column: str) -> str:
        """SQL: the condition, starting with AND, that the column's time is in the span; empty for an open span."""
        since = f" AND {column} >= %(since)s" if self.since else ""
        return since + (f" AND {column} < %(until)s" if self.until else "")


def day(column: str) -> str:
    """SQL: the day of the column's time in the span's zone, such as 2026-01-31."""
    return f"to_char({column} AT TIME ZONE %(zone)s, 'YYYY-MM-DD')"


def month(column: str) -> str:
    """SQL: the month of the column's time in the span's zone, such as 2026-01."""
    return f"to_char({column} AT TIME ZONE %(zone)s, 'YYYY-MM')"


def amount(minor: Fraction | int, currency: str) -> Decimal:
    """Minor units as an amount with all of the currency's decimals, rounded half to even."""
    return Decimal(money.to_amount(round(minor), currency))


def share(part: int, whole: int) -> Decimal:
    """part ÷ whole with two decimals if they are exact, else four: 0.25, 0.3333."""
    exact = EXACT.divide(Decimal(part), Decimal(whole)).quantize(Decimal("0.0001"), context=EXACT)
    return exact if exact != exact.quantize(Decimal("0.01")) else exact.quantize(Decimal("0.01"))


def _is_zone(name: str) -> bool:
    """Whether Python and PostgreSQL both support the name. PostgreSQL alone also accepts POSIX rules and offsets."""
    if name == "UTC":
        return True
    if name not in available_timezones():
        return False
    try:
        database.read("SELECT now() AT TIME ZONE %s", [name])
    except InvalidParameterValue:
        return False
    return True
