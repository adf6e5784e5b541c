"""Readers of PayPal's objects: ids, money, links, and the custom_id that names what was bought."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from jobs.providers.malformed import MalformedEvent
from models import money as currencies
from models import times

Object = dict[str, Any]
LONGEST_TEXT = 255
LONGEST_CUSTOM_ID = 127
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True, slots=True)
class Sold:
    """The parts of a custom_id; None for missing parts."""

    customer: str | None = None
    pack: str | None = None
    plan: str | None = None
    checkout: str | None = None
    app: str | None = None


def read_custom_id(value: Any) -> Sold:
    """Parse `customer=<url-encoded>&pack=<key>[&checkout=<id>][&app=<slug>]`, in any order; ignore other names.

    A subscription has `plan=<key>` in place of the pack.

    A value of another form, as other shops may use it, has no parts.

    Raises:
        ValueError: a name is repeated, or an escape is not UTF-8, so that two customers could be confused.
    """
    if not isinstance(value, str) or "\0" in value:
        return Sold()
    # Bytes that are not UTF-8 become lone surrogates, which valid values do not contain.
    decoded = parse_qsl(value, errors="surrogateescape")
    pairs = [pair for pair in decoded if pair[0] in ("customer", "pack", "plan", "checkout", "app")]
    broken = next((name for name, part in pairs if _SURROGATE.search(part)), None)
    if broken:
        raise MalformedEvent(value, f"a valid custom_id: the percent-encoded {broken} must be UTF-8")
    parts = dict(pairs)
    if len(parts) != len(pairs):
        raise ValueError(f"custom_id repeats a name: {value[:127]!r}")
    return Sold(
        customer=parts.get("customer"),
        pack=parts.get("pack"),
        plan=parts.get("plan"),
        checkout=parts.get("checkout"),
        app=parts.get("app"),
    )


def write_custom_id(*, app: str, customer: str, checkout: str, pack: str | None = None, plan: str | None = None) -> str:
    """The `custom_id` of a capture or a subscription, which names what was bought, in at most 127 characters.

    `customer=<url-encoded>&pack=<key>&checkout=<id>&app=<slug>`. If that is too long: the checkout and the app, or the
    customer, the pack and the app, or the app alone. Without the checkout, the id of the order or of the subscription
    identifies the checkout.
    """
    bought = {"customer": customer, **({"pack": pack} if pack else {}), **({"plan": plan} if plan else {})}
    named = {"checkout": checkout, "app": app}
    for parts in ({**bought, **named}, named, {**bought, "app": app}):
        written = urlencode(parts, quote_via=quote, safe="")
        if len(written) <= LONGEST_CUSTOM_ID:
            return written
    return urlencode({"app": app})


def app_named(value: Any) -> str | None:
    """The app that a custom_id names; None if it names none or is malformed."""
    try:
        return read_custom_id(value).app
    except ValueError:
        return None


def money(amount: Any) -> tuple[int, str]:
    """(minor units, currency) of `{"currency_code": "USD", "value": "9.99"}`, with PayPal's decimals.

    Raises:
        KeyError: a field is missing.
        ValueError: it is not an amount of 0 or more in a known currency.
    """
    if not isinstance(amount, dict):
        raise MalformedEvent(amount, "an amount with a value and a currency_code")
    value, code = text(amount["value"]), text(amount["currency_code"]).lower()
    if code not in currencies.CURRENCIES:
        raise MalformedEvent(amount["currency_code"], "a known currency")
    minor = currencies.to_minor(value, code)
    currencies.check_chargeable(minor, code, "paypal")
    if not 0 <= minor < 2**53:
        raise MalformedEvent(value, "an amount of 0 to 2^53 - 1 minor units")
    return minor, code


def money_of_sale(amount: Any, *, is_signed: bool = False) -> tuple[int, str]:
    """(minor units, currency) of an amount of Payments v1: `{"total": "9.99", "currency": "USD"}`.

    `is_signed`: of a refund, whose sign is dropped. What was paid is never negative.

    Raises:
        KeyError, ValueError: as `money`.
    """
    if not isinstance(amount, dict):
        raise MalformedEvent(amount, "an amount with a total and a currency")
    if is_signed and isinstance(amount["total"], str) and amount["total"].startswith("-"):
        amount = {**amount, "total": amount["total"][1:]}
    return money({"value": amount["total"], "currency_code": amount["currency"]})


def time(value: Any) -> datetime | None:
    """The UTC time of `2026-03-10T12:00:00Z`; None for any other value, because no amount depends on a time."""
    try:
        return times.parse(value)
    except (ValueError, TypeError):
        return None


def id_of_link(thing: Object, rel: str) -> str | None:
    """The id of the linked object: the last segment of the link's path. None if there is no such link.

    Raises:
        ValueError: the last segment is not an id.
    """
    hrefs = [link.get("href") for link in objects(thing.get("links")) if link.get("rel") == rel]
    if not hrefs:
        return None
    found = urlsplit(text(hrefs[0])).path.rstrip("/").rpartition("/")[2]
    if _ID.fullmatch(found) is None:
        raise ValueError(f"the link {rel!r} does not end with an id")
    return found


def is_of_sandbox(event: Object) -> bool:
    """Whether a link of the event or of its resource is a URL of PayPal's sandbox."""
    return any(
        href.startswith(("https://api.sandbox.paypal.com/", "https://api-m.sandbox.paypal.com/"))
        for thing in (event, event.get("resource"))
        for href in _hrefs(thing)
    )


def _hrefs(thing: Any) -> Iterator[str]:
    for link in objects(get(thing, "links")):
        if isinstance(link.get("href"), str):
            yield link["href"]


def get(thing: Any, *path: str) -> Any:
    """The value at the path; None if a part of the path is missing."""
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def objects(things: Any) -> list[Object]:
    """The objects in a list; empty if the value is not a list."""
    return [thing for thing in things if isinstance(thing, dict)] if isinstance(things, list) else []


def text(value: Any) -> str:
    """A text of 1 to 255 characters without U+0000, which PostgreSQL cannot store.

    Raises:
        MalformedEvent: the value is not such a text.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or "\x00" in value:
        raise MalformedEvent(value, "a text of 1 to 255 characters")
    return value
