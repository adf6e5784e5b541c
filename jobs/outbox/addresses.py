"""Where outgoing requests may go: no private address, judged on what a name resolves to when the connection is made.

A name that was public when the endpoint was made may lead inside later, so what can be seen of a URL is only checked
for the sake of whoever gives it. What `SCRIP_OUTGOING_ALLOW` names is let through.
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
# What was refused is written on the delivery.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


def check_url(url: str) -> None:
    """Judge what can be seen of a URL without resolving its name.

    Raises:
        ValueError: the reason, to be shown: not http or https, user info in it, a private address.
    """
    if len(url) > LONGEST_URL or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"must be a URL of at most {LONGEST_URL} characters, without spaces")
    if not url.lower().startswith(("https://", "http://") if settings.sandbox else "https://"):
        raise ValueError("must start with https://")
    # Parsed by what will send to it, so that both see the same host.
    try:
        parts = urlsplit(requests.Request("POST", url).prepare().url or "")
        host, port = parts.hostname or "", parts.port or 0
    except (ValueError, requests.RequestException):
        raise ValueError("is not a URL that can be sent to") from None
    if "@" in urlsplit(url).netloc:
        raise ValueError("must hold no user name or password")
    if _is_private(host, port):
        raise ValueError(PRIVATE)


def _is_private(host: str, port: int) -> bool:
    """Whether the host is written as an address, in whatever form, that is private, or is this machine by name."""
    name = host.rstrip(".")
    written = "127.0.0.1" if name == "localhost" or name.endswith(".localhost") else host
    try:
        socket.getaddrinfo(written, port, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    try:
        get_ip_address(written, port, allow_loopback=False)
    except InvalidIPAddress as refused:
        return not _is_allowed(host, refused.args[0])
    return False


def _is_allowed(host: str, address: Any) -> bool:
    """Whether the settings let this host, or this private address, be reached."""
    allowed = settings.reachable
    return host.lower().rstrip(".") in allowed.hosts or any(address in network for network in allowed.networks)


class GuardedAdapter(IPFilterAdapter):
    """Connects to the address that was judged; a private one only where the settings say so."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> tuple[Any, Any]:
        """The pool for the request, by address instead of name. Raises InvalidIPAddress."""
        try:
            return super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as refused:
            address = refused.args[0]
            unguarded: Any = HTTPAdapter.build_connection_pool_key_attributes
            host_params, pool_params = unguarded(self, request, verify, cert)
            host = host_params["host"]
            if not _is_allowed(host, address):
                raise
        if self._is_https_proto:
            pool_params.update(assert_hostname=host, server_hostname=host)
        host_params["host"] = f"[{address}]" if address.version == 6 else str(address)
        return host_params, pool_params
