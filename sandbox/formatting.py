"""Formats of the sandbox's pages: prices, counts, times, durations and states."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from decimal import Decimal

from models import money

NOUNS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


def price(minor: int, currency: str) -> str:
    """Format Stripe's minor units: "1,499.00 USD", "1,500 JPY", "1.500 KWD", "1,500 ISK"."""
    return decimal_price(money.to_amount(minor, currency), currency)


def decimal_price(value: str, currency: str) -> str:
    """Format a decimal text and its currency: "1499.00" and "usd" become "1,499.00 USD"."""
    amount = Decimal(value)
    if currency.lower() in money.WHOLE_AT_STRIPE and amount == amount.to_integral_value():
        amount = amount.to_integral_value()  # only Stripe's API counts decimals of it
    return f"{amount:,f} {currency.upper()}"


def count(number: int, noun: str) -> str:
    """Format a count: "1 credit", "1,000 credits"."""
    return f"{number:,} {noun}" if abs(number) == 1 else f"{number:,} {noun}s"


def every(interval: str, number: int = 1) -> str:
    """Format an interval: "every month", "every 3 months"."""
    return f"every {interval}" if number == 1 else f"every {number} {interval}s"


def duration(text: str) -> str:
    """Format a duration of the catalog: "30d" becomes "30 days"."""
    match = re.fullmatch(r"([0-9]+)([dhms])", text)
    return count(int(match[1]), NOUNS[match[2]]) if match else text


def validity(expires_after: str | None, *, is_plan: bool = False) -> str:
    """How long units are valid, for a card of the shop; empty for packs whose units do not expire."""
    if expires_after is None:
        return "unused units do not expire" if is_plan else ""
    if expires_after == "period":
        return "unused units expire at the end of the month"
    return f"valid for {duration(expires_after)}"


def moment(seconds: float) -> str:
    """Format a timestamp in seconds: "21 Nov 2026, 07:35 UTC"."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y, %H:%M} UTC"


def day(seconds: float) -> str:
    """Format the day of a timestamp in seconds: "21 Nov 2026"."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y}"


def iso_moment(text: str) -> str:
    """Format a time of Scrip's API, as `moment` does."""
    return moment(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def state(word: str) -> str:
    """Format a state of a provider: "PARTIALLY_REFUNDED" becomes "partially refunded"."""
    return word.replace("_", " ").lower()


FILTERS = {
    "price": price,
    "decimal_price": decimal_price,
    "moment": moment,
    "iso_moment": iso_moment,
    "duration": duration,
    "state": state,
}
GLOBALS = {"count": count, "every": every, "validity": validity}
