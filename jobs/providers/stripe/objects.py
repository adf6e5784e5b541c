"""Readers of Stripe's objects: plain dicts whose fields are validated when they are read."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from jobs.providers.malformed import MalformedEvent
from models.inbox.events import Event

Object = dict[str, Any]
# The year 3000. Later times do not occur in payments, and months added to them may exceed the calendar.
LATEST_SECONDS = 32_503_680_000


def get(thing: Any, *path: str) -> Any:
    """The value at the path; None if a part of the path is missing."""
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def objects(thing: Any, *path: str) -> list[Object]:
    """The objects of a list, empty if the list is missing.

    Raises:
        MalformedEvent: the value is not a list of objects.
    """
    found = get(thing, *path)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise MalformedEvent(found, "a list of objects", ".".join(path))
    return found


def own_id(thing: Object) -> str:
    """The object's own id.

    Raises:
        MalformedEvent: the object has no id.
    """
    value = thing.get("id")
    if not value:
        raise MalformedEvent(value, "an id", "data.object.id")
    return text(value)


def id_of(thing: Any) -> str | None:
    """The id of a reference, expanded or not; None if there is no reference.

    Raises:
        MalformedEvent: the id is not a short text.
    """
    if isinstance(thing, dict):
        thing = thing.get("id")
    return text(thing) if thing else None


def text(value: Any) -> str:
    """A text of 1 to 255 characters without U+0000.

    Raises:
        MalformedEvent: the value is not such a text.
    """
    if not isinstance(value, str) or not 0 < len(value) <= 255 or "\x00" in value:
        raise MalformedEvent(value, "a text of 1 to 255 characters")
    return value


def whole(value: Any) -> int | None:
    """An amount in minor units, or None.

    Raises:
        MalformedEvent: the value is neither.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise MalformedEvent(value, "an amount in minor units")
    return value


def currency_of(thing: Object) -> str | None:
    """The object's currency in lower case; None if it has none.

    Raises:
        MalformedEvent: the value is not a currency of three letters.
    """
    value = thing.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != 3 or not (value.isascii() and value.isalpha()):
        raise MalformedEvent(value, "a currency of three letters")
    return value.lower()


def time_of(value: Any) -> datetime | None:
    """The UTC time of a Unix time in seconds; None if there is none.

    Raises:
        MalformedEvent: the value is not a time in seconds before the year 3000.
    """
    if not value:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < LATEST_SECONDS:
        raise MalformedEvent(value, "a time in seconds")
    return datetime.fromtimestamp(value, timezone.utc)


def created(event: Event) -> datetime:
    """When the provider created the event; if it does not say, when Scrip received it."""
    return time_of(event.payload.get("created")) or event.received_at


def metadata(thing: Object) -> Object:
    """The object's metadata without values that are not texts.

    Texts with the character U+0000 are omitted too, except the customer: no id of Scrip has it, and PostgreSQL rejects
    it.
    """
    found = thing.get("metadata")
    if not isinstance(found, dict):
        return {}
    texts = {key: value for key, value in found.items() if isinstance(value, str)}
    return {key: value for key, value in texts.items() if "\x00" not in value or key == "customer"}


def subscription_metadata(invoice: Object) -> Object:
    """The subscription's metadata, as copied to its invoice."""
    details = get(invoice, "parent", "subscription_details") or invoice.get("subscription_details")
    return metadata(details) if isinstance(details, dict) else {}


def customer_named(thing: Object) -> str | None:
    """The customer that `metadata.customer` or `client_reference_id` names."""
    reference = thing.get("client_reference_id")
    return metadata(thing).get("customer") or (reference if isinstance(reference, str) else None)


def price_of(line: Object) -> str | None:
    """The id of a line's price, in the shape before or since basil."""
    return id_of(line.get("price")) or id_of(get(line, "pricing", "price_details", "price")) or id_of(line.get("plan"))
