"""Shared parts of the client's methods: paths, bodies without absent fields, pages, ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from scrip_client.transport import Transport

Answer = dict[str, Any]
Time = datetime | str
# Several rates with their quantities: `[{"rate": "gpt4", "quantity": 1200}, {"rate": "sms", "quantity": 1}]`.
Lines = Iterable[Mapping[str, Any]]
PAGE = 200


class Base:
    """Requests through the transport; the base of all groups of methods."""

    _transport: Transport

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        patience: float | None = None,
    ) -> Any:
        """Send any API request, such as `request("GET", "/v1/reports/liability")`. Returns the JSON of the response.

        A request without a response is retried for `patience` seconds, so requests that create something need an `id`.
        """
        return self._transport.send(method, path, query=query, body=body, patience=patience)

    def _get(self, path: str, **query: Any) -> Answer:
        answer: Answer = self.request("GET", path, query=_without_none(query))
        return answer

    def _post(self, path: str, *, patience: float | None = None, **body: Any) -> Answer:
        answer: Answer = self.request("POST", path, body=_without_none(body), patience=patience)
        return answer

    def _pages(self, path: str, items: str, **query: Any) -> Iterator[Answer]:
        """The items of a list. Pages are fetched on demand."""
        cursor = None
        while True:
            page = self._get(path, limit=PAGE, cursor=cursor, **query)
            yield from page[items]
            cursor = page["next"]
            if cursor is None:
                return


def path_of(*parts: object) -> str:
    """`/v1/` and the parts, percent-encoded. Raises ValueError for an empty part: the path would be another one."""
    texts = [str(part) for part in parts]
    if not all(texts):
        raise ValueError(f"ids and customers must not be empty, as in the path /v1/{'/'.join(texts)}")
    return "/v1/" + "/".join(quote(text, safe="") for text in texts)


def new_id() -> str:
    """A new random id for a request that creates something; it makes retries idempotent."""
    return uuid.uuid4().hex


def priced(units: int | None, rate: str | None, quantity: int | None, lines: Lines | None = None) -> dict[str, Any]:
    """The amount fields of a body: `units`, or `rate` and `quantity` (1 by default), or `lines`.

    Raises:
        ValueError: none of them is given, or more than one.
    """
    if sum(amount is not None for amount in (units, rate, lines)) != 1:
        raise ValueError("give either units, or a rate and its quantity, or lines")
    if rate is None and quantity is not None:
        raise ValueError("quantity requires a rate and cannot be combined with units or lines")
    if units is not None:
        return {"units": units}
    if lines is not None:
        return {"lines": [dict(line) for line in lines]}
    return {"rate": rate, "quantity": 1 if quantity is None else quantity}


def written(time: Time | None) -> str | None:
    """A time in the format of the API. Raises ValueError for a datetime without a timezone."""
    if not isinstance(time, datetime):
        return time
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no timezone: use an aware datetime")
    return time.isoformat()


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
