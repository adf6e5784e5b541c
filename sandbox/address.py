"""The address of the sandbox's providers: on loopback, at the last port used if it is free."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from settings import Settings

HOST = "127.0.0.1"


def choose_url(settings: Settings) -> str:
    """Choose the URL to listen at, and store its port in the data folder for `known_url`."""
    file = _port_file(settings.data_dir)
    port = settings.sandbox_port or _usable(_stored_port(file)) or _any_port()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(port))
    return f"http://{HOST}:{port}"


def known_url(settings: Settings) -> str | None:
    """The URL of this data folder's sandbox, running or not; None if there is none."""
    if not settings.sandbox:
        return None
    port = _stored_port(_port_file(settings.data_dir))
    return settings.sandbox_url or (f"http://{HOST}:{port}" if port else None)


def _port_file(data_dir: Path) -> Path:
    return data_dir / "run" / "sandbox-port"


def _stored_port(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _usable(port: int | None) -> int | None:
    if port is None:
        return None
    with socket.socket() as probe:
        # As the server does: connections in TIME_WAIT do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
    return port


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(url: str | None) -> bool:
    """Whether a sandbox responds at the URL. Uses a plain socket: an HTTP library needs much memory."""
    parts = urlsplit(url or "")
    if not parts.hostname:
        return False
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with connection.makefile("rb") as response:
                return response.read().split(b" ", 2)[1:2] == [b"200"]
    except OSError:
        return False
