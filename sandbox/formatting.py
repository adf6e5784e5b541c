"""How the sandbox's pages say things: prices, numbers of units, times and durations, for people."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from decimal import Decimal

from models import money

NOUNS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


def price(minor: int, currency: str) -> str:
    """Minor units as Stripe counts them: "1,499.00 USD", "1,500 JPY", "1.500 KWD", "1,500 ISK"."""
    return decimal_price(money.to_amount(minor, currency), currency)


def decimal_price(value: str, currency: str) -> str:
    """A decimal text and its currency: "1499.00" and "usd" are "1,499.00 USD"."""
    amount = Decimal(value)
    if currency.lower() in money.WHOLE_AT_STRIPE and amount == amount.to_integral_value():
        amount = amount.to_integral_value()  # it has decimals in Stripe's books only
    return f"{amount:,f} {currency.upper()}"


def count(number: int, noun: str) -> str:
    """A number of things: "1 credit", "1,000 credits"."""
    return f"{number:,} {noun}" if abs(number) == 1 else f"{number:,} {noun}s"


def every(interval: str, number: int = 1) -> str:
    """How often: "every month", "every 3 months"."""
    return f"every {interval}" if number == 1 else f"every {number} {interval}s"


def duration(text: str) -> str:
    """A duration as the catalog has it: "30d" is "30 days"."""
    found = re.fullmatch(r"([0-9]+)([dhms])", text)
    return count(int(found[1]), NOUNS[found[2]]) if found else text


def validity(expires_after: str | None, *, is_plan: bool = False) -> str:
    """How long units last, for a card of the shop; empty where they stay."""
    if expires_after is None:
        return "what is left of them stays" if is_plan else ""
    if expires_after == "period":
        return "what is left of them lapses with the month"
    return f"valid for {duration(expires_after)}"


def moment(seconds: float) -> str:
    """A time of the sandbox: "21 Nov 2026, 07:35 UTC"."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y, %H:%M} UTC"


def day(seconds: float) -> str:
    """The day of a time of the sandbox: "21 Nov 2026"."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y}"


def iso_moment(text: str) -> str:
    """The same of a time as Scrip's API writes it."""
    return moment(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def state(word: str) -> str:
    """A provider's word for a state: "PARTIALLY_REFUNDED" is "partially refunded"."""
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
