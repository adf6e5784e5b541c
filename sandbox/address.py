"""Where the sandbox's providers listen: always on loopback, at the same port as the last time if it is still free."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from settings import Settings

HOST = "127.0.0.1"


def choose_url(settings: Settings) -> str:
    """The URL to listen at from now on, noted for whoever asks `known_url`."""
    note = _note(settings.data_dir)
    port = settings.sandbox_port or _usable(_noted(note)) or _any_port()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(port))
    return f"http://{HOST}:{port}"


def known_url(settings: Settings) -> str | None:
    """Where the sandbox of this data folder listens, or did when it last ran; None outside a sandbox."""
    if not settings.sandbox:
        return None
    port = _noted(_note(settings.data_dir))
    return settings.sandbox_url or (f"http://{HOST}:{port}" if port else None)


def _note(data_dir: Path) -> Path:
    return data_dir / "run" / "sandbox-port"


def _noted(note: Path) -> int | None:
    try:
        return int(note.read_text())
    except (OSError, ValueError):
        return None


def _usable(port: int | None) -> int | None:
    if port is None:
        return None
    with socket.socket() as probe:
        # As the server does: a connection that has just ended does not keep the port.
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
    """Whether a sandbox listens there. By hand, for an HTTP library needs much memory."""
    at = urlsplit(url or "")
    if not at.hostname:
        return False
    try:
        with socket.create_connection((at.hostname, at.port or 80), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with connection.makefile("rb") as answer:
                return answer.read().split(b" ", 2)[1:2] == [b"200"]
    except OSError:
        return False
