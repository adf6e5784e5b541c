"""The sandbox's providers as a process: `python -m sandbox.server`. docs/sandbox.md tells what it can do.

    sandbox = Sandbox(settings, url, receiver)     # receiver: Scrip's own URL, for the events
    with serving(sandbox): ...

One process, one thread a request, one SQLite file. It takes no money and knows nobody's card.
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

from models import clock
from models.catalog import catalog
from sandbox import address, formatting
from sandbox.control import api
from sandbox.delivery import Headers, Sender
from sandbox.pages import errors, payment_pages, portal, shop
from sandbox.paypal import api as paypal_api
from sandbox.store.account import Account
from sandbox.store.store import Store
from sandbox.stripe import api as stripe_api
from sandbox.ticking import Ticker
from settings import Settings, settings

LARGEST_BODY_BYTES = 1024 * 1024


class Sandbox:
    """Both providers: their memory, their clock, and the threads that send events and let time pass."""

    def __init__(self, settings: Settings, url: str, receiver: str) -> None:
        self.settings, self.url, self.receiver = settings, url, receiver
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store = Store(settings.data_dir / "sandbox.db")
        self.sender = Sender(self.store, receiver, self._sign_paypal)
        self.ticker = Ticker(self)

    @contextmanager
    def account(self, name: str) -> Iterator[Account]:
        """An account at the current time of the sandbox, in one transaction."""
        with self.store.transaction():
            yield Account(self.store, name, clock.now())

    def apps(self) -> list[str]:
        """The apps of the catalog, by their files, and what else has an account."""
        declared = {path.stem for path in self.settings.catalog_dir.glob("*.toml")}
        return sorted(declared | set(self.store.accounts()))

    def has_app(self, app: str) -> bool:
        """Whether the app is one of `apps`."""
        return (app in catalog.current() or app in self.apps()) if app else False

    def name_of(self, app: str) -> str:
        """What people call the app; its slug if the catalog does not know it."""
        known = catalog.current()
        return known[app].name if app in known else app

    def _sign_paypal(self, body: bytes) -> Headers:
        # Cryptography needs some megabytes: not before an event of PayPal is sent.
        from sandbox.paypal import ca

        return ca.paypal_headers(
            body,
            data_dir=self.settings.data_dir,
            base_url=f"{self.url}/paypal",
        )


def create_app(sandbox: Sandbox) -> Flask:
    """The web application over a sandbox."""
    app = Flask(__name__)
    app.config["SANDBOX"] = sandbox
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES
    app.jinja_env.filters.update(formatting.FILTERS)
    app.jinja_env.globals.update(formatting.GLOBALS)
    for module in (stripe_api, paypal_api, payment_pages, portal, shop, api, errors):
        app.register_blueprint(module.blueprint)
    return app


class _Quiet(WSGIRequestHandler):
    """Keeps connections, and writes no line a request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nobody reads these."""


def _server(sandbox: Sandbox) -> BaseWSGIServer:
    at = urlsplit(sandbox.url)
    server = make_server(
        at.hostname or address.HOST, at.port or 80, create_app(sandbox), threaded=True, request_handler=_Quiet
    )
    server.daemon_threads = True  # type: ignore[attr-defined]
    return server


@contextmanager
def serving(sandbox: Sandbox) -> Iterator[None]:
    """It answers, sends and lets time pass, for the time of the block."""
    server = _server(sandbox)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.2), name="server", daemon=True)
    thread.start()
    sandbox.sender.start()
    sandbox.ticker.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        sandbox.ticker.stop()
        sandbox.sender.stop()
        sandbox.store.close()


def receiver_of(settings: Settings) -> str:
    """Where Scrip's own receivers are, seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


def main() -> None:
    """Until SIGTERM or SIGINT."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *told: stopped.set())
    sandbox = Sandbox(settings, settings.sandbox_url or address.choose_url(settings), receiver_of(settings))
    with serving(sandbox):
        stopped.wait()


if __name__ == "__main__":
    main()
