"""A real receiver of webhooks in a thread, that answers as it is told to and keeps what came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from standardwebhooks import Webhook

Answer = int | Callable[["Receiver", BaseHTTPRequestHandler], int | None]


class Receiver:
    """`answer` is a status, or a function that makes one (None: it has answered itself)."""

    def __init__(self, answer: Answer = 204) -> None:
        self.answer = answer
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.free = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.came]

    @property
    def told(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, body in self.came]

    def verified(self, secret: str, index: int = -1) -> Any:
        """What came, as the public package reads it. Raises if it does not verify."""
        headers, body = self.came[index]
        return Webhook(secret).verify(body, headers)

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving(answer: Answer = 204) -> Iterator[Receiver]:
    it = Receiver(answer)
    try:
        yield it
    finally:
        it.close()


def hang(it: Receiver, request: BaseHTTPRequestHandler) -> int:
    """Answer when the test says so."""
    it.free.wait(30)
    return 204


def _handler(it: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            it.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = it.answer if isinstance(it.answer, int) else it.answer(it, self)
            if status is not None:
                self.send_response(status)
                self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                pass  # the sender has gone

    return Handler
