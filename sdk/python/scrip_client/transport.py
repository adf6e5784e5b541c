"""The transport: one connection per thread, retries until there is a response, error responses as exceptions.

Every request of this package can be retried safely: requests that create something carry an id, which is the same in
all attempts. A request whose response was lost is therefore repeated without being executed twice.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from scrip_client.errors import RateLimited, ScripError, Unavailable, error_of

log = logging.getLogger("scrip_client")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class Transport:
    """Sends authenticated requests to one Scrip server. Safe for threads and forks.

    `timeout` and `patience` are in seconds: the limit of one attempt, and the time during which a request without a
    response is retried.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout: float,
        patience: float,
        session: Callable[[], requests.Session],
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.patience = patience
        self._key = key
        self._make_session = session
        self._own = threading.local()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        patience: float | None = None,
    ) -> Any:
        """Send a request. Returns the JSON of the response.

        Raises:
            ScripError: the response is an error, or Scrip could not be reached in time.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._attempt(method, path, query, body)
            except (Unavailable, RateLimited) as error:
                wait = max(pause * random.uniform(0.5, 1.0), error.retry_after or 0)
                if time.monotonic() + wait > deadline:
                    raise
                log.info("retrying %s %s in %.1f s: %s", method, path, wait, error)
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _attempt(self, method: str, path: str, query: Mapping[str, Any] | None, body: Any) -> Any:
        try:
            answer = self._session().request(
                method,
                self.base_url + path,
                params=query,
                json=body,
                auth=self._authorize,
                timeout=self.timeout,
                allow_redirects=False,
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise Unavailable(0, {"title": "No response from Scrip", "detail": str(error)}) from error
        if 200 <= answer.status_code < 300:
            return _json(answer)
        raise _error(answer)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the key. requests would replace a plain header by a password that ~/.netrc has for the host."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _session(self) -> requests.Session:
        """The session of the thread. A fork creates a new one, because processes must not share a connection."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.session, self._own.process = self._make_session(), os.getpid()
        session: requests.Session = self._own.session
        return session


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        fields = {"title": "The response is not JSON: check base_url", "detail": answer.text[:200]}
        raise ScripError(answer.status_code, fields) from None


def _error(answer: requests.Response) -> ScripError:
    """The error for a response. The response of a proxy may not be JSON."""
    try:
        fields = answer.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        fields = {"title": answer.reason or f"Status {answer.status_code}", "detail": answer.text[:200]}
    return error_of(answer.status_code, fields, retry_after=_seconds(answer.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; a date counts as absent."""
    return float(text) if text and text.isascii() and text.isdigit() else None
