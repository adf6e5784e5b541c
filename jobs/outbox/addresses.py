"""Allowed destinations of outgoing requests: private addresses are rejected whenever a connection is made.

A name that resolves to a public address when the endpoint is created may resolve to a private one later. The check of
a URL on creation only gives early feedback. `SCRIP_OUTGOING_ALLOW` lists exceptions.
"""

from __future__ import annotations

import logging
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress, get_ip_address
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from settings import settings

LONGEST_URL = 2000
PRIVATE = "leads to a private address"
# A rejected address is stored as the error of the delivery.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


def check_url(url: str) -> None:
    """Check a URL without resolving its name.

    Raises:
        ValueError: the reason, for the client: too long, neither https nor (in a sandbox) http, with a user name or
            password, or with a private address.
    """
    if len(url) > LONGEST_URL or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"must be a URL of at most {LONGEST_URL} characters, without spaces")
    if not url.lower().startswith(("https://", "http://") if settings.sandbox else "https://"):
        raise ValueError("must start with https://")
    # Parsed by the library that sends the requests, so that both use the same host.
    try:
        parts = urlsplit(requests.Request("POST", url).prepare().url or "")
        host, port = parts.hostname or "", parts.port or 0
    except (ValueError, requests.RequestException):
        raise ValueError("is not a valid URL") from None
    if "@" in urlsplit(url).netloc:
        raise ValueError("must not contain a user name or password")
    if _is_private(host, port):
        raise ValueError(PRIVATE)


def _is_private(host: str, port: int) -> bool:
    """Whether the host is `localhost`, or is written as an address, in any form, that is private and not allowed."""
    name = host.rstrip(".")
    written = "127.0.0.1" if name == "localhost" or name.endswith(".localhost") else host
    try:
        socket.getaddrinfo(written, port, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    try:
        get_ip_address(written, port, allow_loopback=False)
    except InvalidIPAddress as error:
        return not _is_allowed(host, error.args[0])
    return False


def _is_allowed(host: str, address: Any) -> bool:
    """Whether the settings allow this host or this private address."""
    allowed = settings.reachable
    return host.lower().rstrip(".") in allowed.hosts or any(address in network for network in allowed.networks)


class GuardedAdapter(IPFilterAdapter):
    """Connects to the address that was checked; to a private one only if the settings allow it."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> tuple[Any, Any]:
        """Return the key of the connection pool, by address instead of name.

        Raises:
            InvalidIPAddress: the name resolves to a private address that is not allowed.
        """
        try:
            return super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as error:
            address = error.args[0]
            unguarded: Any = HTTPAdapter.build_connection_pool_key_attributes
            host_params, pool_params = unguarded(self, request, verify, cert)
            host = host_params["host"]
            if not _is_allowed(host, address):
                raise
        if self._is_https_proto:
            pool_params.update(assert_hostname=host, server_hostname=host)
        host_params["host"] = f"[{address}]" if address.version == 6 else str(address)
        return host_params, pool_params
