"""What the methods of the client are made of: paths, bodies without what was left out, pages, ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from scrip_client.transport import Transport

Answer = dict[str, Any]
Time = datetime | str
PAGE = 200


class Base:
    """The transport, and how a method uses it."""

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
        """Any request of the API, such as `request("GET", "/v1/reports/liability")`. Give what creates an `id`:
        a request that got no answer is sent again, for `patience` seconds.
        """
        return self._transport.send(method, path, query=query, body=body, patience=patience)

    def _get(self, path: str, **query: Any) -> Answer:
        answer: Answer = self.request("GET", path, query=_given(query))
        return answer

    def _post(self, path: str, *, patience: float | None = None, **body: Any) -> Answer:
        answer: Answer = self.request("POST", path, body=_given(body), patience=patience)
        return answer

    def _pages(self, path: str, items: str, **query: Any) -> Iterator[Answer]:
        """Each item of a list, page after page, as they are asked for."""
        cursor = None
        while True:
            page = self._get(path, limit=PAGE, cursor=cursor, **query)
            yield from page[items]
            cursor = page["next"]
            if cursor is None:
                return


def path_of(*parts: object) -> str:
    """`/v1/` and the parts, percent-encoded. ValueError for one that is empty: it would name another resource."""
    texts = [str(part) for part in parts]
    if not all(texts):
        raise ValueError(f"an empty id or customer cannot be in a path: /v1/{'/'.join(texts)}")
    return "/v1/" + "/".join(quote(text, safe="") for text in texts)


def new_id() -> str:
    """An id for what is created; it makes sending it again safe."""
    return uuid.uuid4().hex


def priced(units: int | None, rate: str | None, quantity: int | None) -> dict[str, Any]:
    """The part of a body that says how much: `units`, or a `rate` and its quantity (1 if not given)."""
    if (units is None) == (rate is None):
        raise ValueError("say how much: either units, or a rate and its quantity")
    if units is not None:
        if quantity is not None:
            raise ValueError("a quantity belongs to a rate, not to units")
        return {"units": units}
    return {"rate": rate, "quantity": 1 if quantity is None else quantity}


def written(time: Time | None) -> str | None:
    """A time as the API reads it. Raises ValueError for a datetime without a timezone."""
    if not isinstance(time, datetime):
        return time
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no timezone")
    return time.isoformat()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
