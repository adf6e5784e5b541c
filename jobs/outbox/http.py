"""One POST to a URL that an app configured: without redirects and proxies, and with a limit on its total time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from jobs.outbox.addresses import PRIVATE, GuardedAdapter

TIMEOUT_SECONDS = 10
LONGEST_REASON = 300
TOO_SLOW = f"no response within {TIMEOUT_SECONDS} s"
HARDENED = Config(
    ip_filter_enable=True,
    ip_filter_allow_loopback_ips=False,
    never_redirect=True,
    default_timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
    user_agent_override="Scrip",
)
_running = threading.local()


class Attempt:
    """One POST. `run` it in one thread; `cut` from another thread ends it.

    The library's timeout is not enough: it restarts with each byte received.
    """

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        self._url = url
        self._body = body
        self._headers = {"Content-Type": "application/json", **headers}
        self._socket: socket.socket | None = None
        self._cut = False
        self._lock = threading.Lock()

    def run(self) -> tuple[int | None, str | None]:
        """Send the request. Returns (status, None), or (None, reason) if there is no response. Never raises."""
        _running.attempt = self
        status: int | None = None
        reason: str | None = None
        try:
            status = self._post()
        except Exception as error:
            reason = _printable_reason(error)
        finally:
            _running.attempt = None
            self._forget()
        # A connection that was cut may look like a response that ended early.
        return (None, TOO_SLOW) if self._cut else (status, reason)

    def cut(self) -> None:
        """Close the connection of the attempt, so that `run` returns `TOO_SLOW`."""
        with self._lock:
            self._cut = True
            _shut(self._socket)

    def watch(self, connection: socket.socket) -> None:
        """Keep a duplicate of the new connection for `cut`. TLS replaces the original socket."""
        self._forget()
        with self._lock:
            self._socket = connection.dup()
            if self._cut:
                _shut(self._socket)

    def _forget(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None

    def _post(self) -> int:
        try:
            return self._send(self._url)
        except requests.ConnectionError:
            # Where localhost resolves to ::1 first, most development servers still listen on 127.0.0.1 only.
            if urlsplit(self._url).hostname != "localhost":
                raise
            return self._send(self._url.replace("localhost", "127.0.0.1", 1))

    def _send(self, url: str) -> int:
        with _session() as session, session.post(url, data=self._body, headers=self._headers, stream=True) as response:
            return int(response.status_code)


def _session() -> HTTPSession:
    """A session that ignores the environment: a proxy would resolve names by itself, and .netrc holds passwords."""
    session = HTTPSession(HARDENED)
    session.trust_env = False
    session.mount("http://", _WatchedAdapter(is_https_proto=False))
    session.mount("https://", _WatchedAdapter(is_https_proto=True))
    return session


class _WatchedHttp(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class _WatchedHttps(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHttp


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHttps


class _WatchedAdapter(GuardedAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def _watched(connection: socket.socket) -> socket.socket:
    attempt: Attempt = _running.attempt
    attempt.watch(connection)
    return connection


def _shut(connection: socket.socket | None) -> None:
    try:
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the connection is closed already


def _printable_reason(error: Exception) -> str:
    """The reason for which there was no response, short and printable: parts of the text may come from the receiver."""
    return "".join(letter if letter.isprintable() else "?" for letter in _reason(error)[:LONGEST_REASON])


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidIPAddress):
        return f"not sent: the URL {PRIVATE}, {error.args[0]}"
    if isinstance(error, requests.Timeout):
        return TOO_SLOW
    if isinstance(error, requests.exceptions.SSLError):
        return f"no trusted TLS connection: {_innermost(error)}"
    if isinstance(error, requests.ConnectionError):
        return f"no connection: {_innermost(error)}"
    return f"{type(error).__name__}: {error}"


def _innermost(error: BaseException) -> str:
    """The message of the first cause: the library wraps its errors in each other."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
