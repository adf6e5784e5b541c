"""A proxy that stands between a client and Scrip and misbehaves as told: answers get lost, or are not Scrip's."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive"}


class Proxy:
    """Forwards to `upstream`. Of the requests whose path ends with `on`, the next ones meet `misdeeds`, in order.

    `drop`: Scrip gets the request, the client no answer. `busy`: the client gets a 503, Scrip nothing. `html`: the
    client gets a page of a proxy that is no JSON, with 502. `answer` makes one up for good.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.on = ""
        self.misdeeds: deque[str] = deque()
        self.made_up: dict[str, tuple[int, bytes]] = {}
        self.forwarded: list[tuple[str, bytes]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def will(self, *misdeeds: str, on: str = "") -> None:
        """Plan the misdeeds for requests whose path ends with `on`."""
        self.on, self.misdeeds = on, deque(misdeeds)

    def answer(self, on: str, status: int, content: Any) -> None:
        """Answer all requests whose path ends with `on` in Scrip's place."""
        self.made_up[on] = (status, json.dumps(content).encode())

    def next_misdeed(self, path: str) -> str:
        """What to do to this request; empty: nothing."""
        return self.misdeeds.popleft() if self.misdeeds and path.endswith(self.on) else ""


def _handler(man: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            misdeed = man.next_misdeed(self.path)
            if misdeed == "busy":
                self.tell(503, {"Retry-After": "0"}, b'{"title": "Busy", "status": 503}')
                return
            if misdeed == "html":
                self.tell(502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
                return
            for on, (status, content) in man.made_up.items():
                if self.path.endswith(on):
                    self.tell(status, {"Content-Type": "application/problem+json"}, content)
                    return
            man.forwarded.append((self.path, body))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS | {"host"}}
            answer = requests.request(self.command, man.upstream + self.path, data=body, headers=kept, timeout=30)
            if misdeed == "drop":
                self.close_connection = True
                return
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
            self.tell(answer.status_code, headers, answer.content)

        do_GET = do_POST = do_PATCH = do  # noqa: N815

        def tell(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A middleman for the time of a block."""
    man = Proxy(upstream)
    thread = threading.Thread(target=man.server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield man
    finally:
        man.server.shutdown()
        thread.join()
        man.server.server_close()
