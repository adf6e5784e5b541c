"""The client."""

from __future__ import annotations

from collections.abc import Callable

import requests

from scrip_client.operating import Operating
from scrip_client.reading import Reading
from scrip_client.selling import Selling
from scrip_client.sessions import Sessions
from scrip_client.spending import Spending
from scrip_client.transport import Transport


class Scrip(Spending, Sessions, Selling, Reading, Operating):
    """One app's Scrip, spoken to with one key. Answers are dicts as the API describes them; refusals are errors.

        scrip = Scrip("http://127.0.0.1:8000", "sk_sandbox_songs")

    One instance serves all threads of a process. Whatever creates something has an id, made here unless it is given, so
    that a request whose answer was lost is sent again without being carried out twice. `timeout` is for one attempt,
    `patience` for all of them, in seconds. `session` makes a thread's `requests.Session`, for proxies and certificates.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout: float = 10.0,
        patience: float = 10.0,
        session: Callable[[], requests.Session] = requests.Session,
    ) -> None:
        self._transport = Transport(base_url, key, timeout=timeout, patience=patience, session=session)

    def __repr__(self) -> str:
        return f"Scrip({self._transport.base_url!r})"
