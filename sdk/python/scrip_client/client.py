"""The client class."""

from __future__ import annotations

from collections.abc import Callable

import requests

from scrip_client.operating import Operating
from scrip_client.reading import Reading
from scrip_client.selling import Selling
from scrip_client.sessions import Sessions
from scrip_client.spending import Spending
from scrip_client.subscriptions import Subscriptions
from scrip_client.transport import Transport


class Scrip(Spending, Sessions, Selling, Subscriptions, Reading, Operating):
    """A client for one app, with one key. Methods return the JSON of the API as dicts and raise `ScripError`.

        scrip = Scrip("http://127.0.0.1:8000", "sk_sandbox_songs")

    One instance serves all threads of a process. Requests that create something carry an id, generated unless given, so
    that a request whose response was lost can be retried without being executed twice. `timeout` limits one attempt,
    `patience` all attempts, in seconds. `session` creates the `requests.Session` of a thread, for example with proxies
    or certificates.
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
