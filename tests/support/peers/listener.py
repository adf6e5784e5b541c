"""An app's own server, which Scrip's outgoing webhooks go to: it checks the signature and keeps what came."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


class Listener:
    """Messages that came with a good signature, by type. `secret` is set once the endpoint is made."""

    def __init__(self) -> None:
        self.secret = ""
        self.messages: list[dict[str, Any]] = []
        self.bad = 0
        self._seen: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def of(self, customer: str, type_: str | None = None) -> list[dict[str, Any]]:
        """What was told of the customer, in the order in which it came."""
        told = [it for it in self.messages if it["data"]["customer"] == customer]
        return [it for it in told if type_ in (None, it["type"])]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: bytes, headers: dict[str, str]) -> int:
        try:
            message = Webhook(self.secret).verify(body, headers)
        except Exception:
            self.bad += 1
            return 400
        if headers["webhook-id"] not in self._seen:
            self._seen.add(headers["webhook-id"])
            self.messages.append(message)
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(listener._take(body, headers))
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler
