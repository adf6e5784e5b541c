"""Private destinations that outgoing webhooks may reach, as SCRIP_OUTGOING_ALLOW lists them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Allowed:
    """Private host names and networks that outgoing webhooks may reach."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()


def read(parts: Iterable[str]) -> Allowed:
    """The host names, addresses and networks of a list.

    Raises:
        ValueError: a part is none of these; the message is the reason.
    """
    hosts: list[str] = []
    networks: list[Network] = []
    for part in parts:
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError:
            hosts.append(_host_name(part))
    return Allowed(frozenset(hosts), tuple(networks))


def _host_name(text: str) -> str:
    name = text.lower()
    # A name with a numeric last label is a malformed address.
    if _HOST_NAME.fullmatch(name) is None or name.rpartition(".")[2].isdigit():
        raise ValueError(f"must list host names, addresses or networks such as 10.1.0.0/16, not {text!r}")
    return name
