"""The sandbox's providers as a process: `python -m sandbox.server` (see docs/sandbox.md).

    sandbox = Sandbox(settings, url, receiver)     # receiver: Scrip's own URL, for the events
    with serving(sandbox): ...

One process, one thread per request, one SQLite file. It moves no money and accepts no card numbers.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox import address, context, formatting
from sandbox.context import Sandbox
from sandbox.control import api
from sandbox.pages import billing, errors, invoice_pages, payment_pages, paypal_subscriptions, portal, shop
from sandbox.paypal import api as paypal_api
from sandbox.stripe import api as stripe_api
from sandbox.ticking import Ticker
from settings import Settings, settings

LARGEST_BODY_BYTES = 1024 * 1024


def create_app(sandbox: Sandbox) -> Flask:
    """The Flask application of a sandbox."""
    app = Flask(__name__)
    app.config[context.KEY] = sandbox
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES
    app.jinja_env.filters.update(formatting.FILTERS)
    app.jinja_env.globals.update(formatting.GLOBALS)
    pages = (payment_pages, invoice_pages, paypal_subscriptions, billing, portal, shop, errors)
    for module in (stripe_api, paypal_api, api, *pages):
        app.register_blueprint(module.blueprint)
    return app


class _Quiet(WSGIRequestHandler):
    """Keeps connections alive and logs no requests."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def _server(sandbox: Sandbox) -> BaseWSGIServer:
    parts = urlsplit(sandbox.url)
    server = make_server(
        parts.hostname or address.HOST, parts.port or 80, create_app(sandbox), threaded=True, request_handler=_Quiet
    )
    server.daemon_threads = True  # type: ignore[attr-defined]
    return server


@contextmanager
def serving(sandbox: Sandbox, ticker: Ticker | None = None, *, poll_seconds: float = 0.2) -> Iterator[None]:
    """Serve, send events and process what is due, for the time of the block. `ticker` replaces the usual one.

    `poll_seconds`: how often the server looks whether the block has ended.
    """
    ticker = ticker or Ticker(sandbox)
    server = _server(sandbox)
    serve = partial(server.serve_forever, poll_interval=poll_seconds)
    thread = threading.Thread(target=serve, name="server", daemon=True)
    thread.start()
    sandbox.sender.start()
    ticker.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        ticker.stop()
        sandbox.sender.stop()
        sandbox.store.close()


def receiver_of(settings: Settings) -> str:
    """Scrip's base URL, seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    sandbox = Sandbox(settings, settings.sandbox_url or address.choose_url(settings), receiver_of(settings))
    with serving(sandbox):
        stopped.wait()


if __name__ == "__main__":
    main()
