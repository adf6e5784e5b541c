"""Reading Stripe's objects: plain dicts, of which nothing is sure until it was looked at."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from jobs.providers.malformed import MalformedEvent
from models.inbox.events import Event

Object = dict[str, Any]
# The year 3000: what lies beyond is no time of a payment, and months added to it would leave the calendar.
LATEST_SECONDS = 32_503_680_000


def get(thing: Any, *path: str) -> Any:
    """What lies at the end of the path; None where it breaks off."""
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def objects(thing: Any, *path: str) -> list[Object]:
    """The objects of a list; none where it is missing. Raises Unreadable: it is no list of objects."""
    found = get(thing, *path)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise MalformedEvent(found, "a list of objects", ".".join(path))
    return found


def own_id(thing: Object) -> str:
    """The object's own id. Raises Unreadable: it has none."""
    value = thing.get("id")
    if not value:
        raise MalformedEvent(value, "an id", "data.object.id")
    return text(value)


def id_of(thing: Any) -> str | None:
    """The id of a reference, expanded or not."""
    if isinstance(thing, dict):
        thing = thing.get("id")
    return text(thing) if thing else None


def text(value: Any) -> str:
    """A short text. Raises Unreadable: it is none."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or "\x00" in value:
        raise MalformedEvent(value, "a text of 1 to 255 characters")
    return value


def whole(value: Any) -> int | None:
    """An amount in minor units, or None. Raises Unreadable: it is neither."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise MalformedEvent(value, "an amount in minor units")
    return value


def currency_of(thing: Object) -> str | None:
    """The currency of an amount, in small letters; None where none is told. Raises Unreadable: it is no currency."""
    value = thing.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != 3 or not (value.isascii() and value.isalpha()):
        raise MalformedEvent(value, "a currency of three letters")
    return value.lower()


def time_of(value: Any) -> datetime | None:
    """A time in seconds; None for none. Raises Unreadable: it is no time of ours."""
    if not value:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < LATEST_SECONDS:
        raise MalformedEvent(value, "a time in seconds")
    return datetime.fromtimestamp(value, timezone.utc)


def created(event: Event) -> datetime:
    """When the provider made the event."""
    return time_of(event.payload.get("created")) or event.received_at


def metadata(thing: Object) -> Object:
    """The metadata; values that are no text are as good as absent.

    So is a checkout with the character U+0000: no id of ours has it, and PostgreSQL cannot even look for it.
    """
    found = thing.get("metadata")
    if not isinstance(found, dict):
        return {}
    texts = {key: value for key, value in found.items() if isinstance(value, str)}
    if "\x00" in texts.get("checkout", ""):
        del texts["checkout"]
    return texts


def subscription_metadata(invoice: Object) -> Object:
    """The subscription's metadata as its invoices carry it."""
    details = get(invoice, "parent", "subscription_details") or invoice.get("subscription_details")
    return metadata(details) if isinstance(details, dict) else {}


def customer_named(thing: Object) -> str | None:
    """The customer that metadata, or a reference, name."""
    reference = thing.get("client_reference_id")
    return metadata(thing).get("customer") or (reference if isinstance(reference, str) else None)


def price_of(line: Object) -> str | None:
    """The id of a line's price, in either shape."""
    return id_of(line.get("price")) or id_of(get(line, "pricing", "price_details", "price")) or id_of(line.get("plan"))
