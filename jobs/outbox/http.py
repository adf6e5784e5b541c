"""One request to an address that an app gave: no redirect followed, no proxy, and done in a fixed time."""

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
TOO_SLOW = f"no answer within {TIMEOUT_SECONDS} s"
HARDENED = Config(
    ip_filter_enable=True,
    ip_filter_allow_loopback_ips=False,
    never_redirect=True,
    default_timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
    user_agent_override="Scrip",
)
_running = threading.local()


class Attempt:
    """One POST. `run` in one thread; `cut` from another ends it, however slowly the other side trickles.

    A timeout of the library begins anew with each byte that comes.
    """

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        self._url = url
        self._body = body
        self._headers = {"Content-Type": "application/json", **headers}
        self._line: socket.socket | None = None
        self._cut = False
        self._lock = threading.Lock()

    def run(self) -> tuple[int | None, str | None]:
        """(status, None) of the answer, or (None, why there was none). Never raises."""
        _running.attempt = self
        status: int | None = None
        reason: str | None = None
        try:
            status = self._post()
        except Exception as error:
            reason = _told(error)
        finally:
            _running.attempt = None
            self._forget()
        # What was cut may look like an answer that ended early.
        return (None, TOO_SLOW) if self._cut else (status, reason)

    def cut(self) -> None:
        """Close the connection under the attempt."""
        with self._lock:
            self._cut = True
            _shut(self._line)

    def watch(self, line: socket.socket) -> None:
        """The connection is made. A duplicate is kept: TLS takes the original's place."""
        self._forget()
        with self._lock:
            self._line = line.dup()
            if self._cut:
                _shut(self._line)

    def _forget(self) -> None:
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = None

    def _post(self) -> int:
        try:
            return self._send(self._url)
        except requests.ConnectionError:
            # Where localhost is ::1 first, most of what a developer starts listens on 127.0.0.1 only.
            if urlsplit(self._url).hostname != "localhost":
                raise
            return self._send(self._url.replace("localhost", "127.0.0.1", 1))

    def _send(self, url: str) -> int:
        with _session() as session, session.post(url, data=self._body, headers=self._headers, stream=True) as answer:
            return int(answer.status_code)


def _session() -> HTTPSession:
    """A session that nothing of the environment changes: no proxy that resolves names itself, no .netrc."""
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


def _watched(line: socket.socket) -> socket.socket:
    attempt: Attempt = _running.attempt
    attempt.watch(line)
    return line


def _shut(line: socket.socket | None) -> None:
    try:
        if line is not None:
            line.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself


def _told(error: Exception) -> str:
    """Why there was no answer, in a few words that can be stored: some are the other side's."""
    return "".join(letter if letter.isprintable() else "?" for letter in _words(error)[:LONGEST_REASON])


def _words(error: Exception) -> str:
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
    """The library's errors are wrapped in each other; the last one says it in plain words."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
