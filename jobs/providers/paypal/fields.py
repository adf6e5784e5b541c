"""Reading PayPal's objects: ids, money, links, and the custom_id that says what was bought."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jobs.providers.malformed import MalformedEvent
from models import money as books

Object = dict[str, Any]
LONGEST_TEXT = 255
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True, slots=True)
class Sold:
    """What a custom_id names; None for what it does not."""

    customer: str | None = None
    pack: str | None = None
    checkout: str | None = None
    app: str | None = None


def read_custom_id(value: Any) -> Sold:
    """`customer=<url-encoded>&pack=<key>[&checkout=<id>][&app=<slug>]`, in any order; other names mean nothing.

    One that is not of this form, as a shop of somebody else's may use it, names nothing. Raises ValueError for one
    that is ambiguous, or whose escapes are no UTF-8: two customers must not become one.
    """
    if not isinstance(value, str) or "\0" in value:
        return Sold()
    # What cannot be decoded is kept as lone surrogates, which no text of ours has.
    decoded = parse_qsl(value, errors="surrogateescape")
    pairs = [pair for pair in decoded if pair[0] in ("customer", "pack", "checkout", "app")]
    broken = next((name for name, named in pairs if _SURROGATE.search(named)), None)
    if broken:
        raise MalformedEvent(value, f"a custom_id: what is percent-encoded in its {broken} has to be UTF-8")
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError(f"custom_id names something twice: {value[:127]!r}")
    return Sold(
        customer=named.get("customer"),
        pack=named.get("pack"),
        checkout=named.get("checkout"),
        app=named.get("app"),
    )


def app_named(value: Any) -> str | None:
    """The app that a custom_id names; None for none, or one that cannot be read."""
    try:
        return read_custom_id(value).app
    except ValueError:
        return None


def money(amount: Any) -> tuple[int, str]:
    """(minor units, currency) of `{"currency_code": "USD", "value": "9.99"}`, with PayPal's decimals.

    Raises ValueError where it is no amount of 0 or more in a currency that there is.
    """
    if not isinstance(amount, dict):
        raise MalformedEvent(amount, "an amount with a value and a currency_code")
    value, code = text(amount["value"]), text(amount["currency_code"]).lower()
    if code not in books.CURRENCIES:
        raise MalformedEvent(amount["currency_code"], "a currency that there is")
    minor = books.to_minor(value, code)
    books.check_chargeable(minor, code, "paypal")
    if not 0 <= minor < 2**53:
        raise MalformedEvent(value, "an amount that can be paid")
    return minor, code


def id_of_link(thing: Object, rel: str) -> str | None:
    """The last part of the path that a link leads to: the id of what is there."""
    hrefs = [link.get("href") for link in objects(thing.get("links")) if link.get("rel") == rel]
    if not hrefs:
        return None
    found = urlsplit(text(hrefs[0])).path.rstrip("/").rpartition("/")[2]
    if _ID.fullmatch(found) is None:
        raise ValueError(f"the link {rel!r} leads to no id")
    return found


def is_of_sandbox(event: Object) -> bool:
    """Whether the event's links, or its resource's, lead to PayPal's sandbox."""
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
    """What lies there; None where the way breaks off."""
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def objects(things: Any) -> list[Object]:
    """The objects of a list; none where it is none."""
    return [thing for thing in things if isinstance(thing, dict)] if isinstance(things, list) else []


def text(value: Any) -> str:
    """A text of 1 to 255 characters that PostgreSQL can keep. Raises Unreadable."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or "\x00" in value:
        raise MalformedEvent(value, "a text of 1 to 255 characters")
    return value
