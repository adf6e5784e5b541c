"""The running sandbox, and how a request gets it: what the server, the pages and the ticker share.

    sandbox = Sandbox(settings, url, receiver)     # receiver: Scrip's own URL, to which events are sent
    current()                                      # in a request: the sandbox that serves it

It imports neither the pages nor the ticker, so that both can import it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flask import current_app

from models import clock
from models.catalog import catalog
from sandbox.delivery import Headers, Sender
from sandbox.store.account import Account
from sandbox.store.store import Store
from settings import Settings

KEY = "SANDBOX"


class Sandbox:
    """Both providers: their store, their accounts, and the sender of their events."""

    def __init__(self, settings: Settings, url: str, receiver: str) -> None:
        self.settings, self.url, self.receiver = settings, url, receiver
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store = Store(settings.data_dir / "sandbox.db")
        self.sender = Sender(self.store, receiver, self.paypal_headers)

    @contextmanager
    def account(self, name: str, at: datetime | None = None) -> Iterator[Account]:
        """An account at a time, by default the current time of the sandbox, in one transaction."""
        with self.store.transaction():
            yield Account(self.store, name, at or clock.now(), self.url)

    def apps(self) -> list[str]:
        """The apps that have a catalog file or an account, sorted."""
        declared = {path.stem for path in self.settings.catalog_dir.glob("*.toml")}
        return sorted(declared | set(self.store.accounts()))

    def has_app(self, app: str) -> bool:
        """Whether the app is one of `apps`."""
        return (app in catalog.current() or app in self.apps()) if app else False

    def name_of(self, app: str) -> str:
        """The display name of the app; its slug if the catalog does not have it."""
        known = catalog.current()
        return known[app].name if app in known else app

    def paypal_headers(self, body: bytes) -> Headers:
        """The headers that sign `body` as an event of this sandbox's PayPal."""
        # Cryptography needs some megabytes of memory: import it when the first PayPal event is sent.
        from sandbox.paypal import ca

        return ca.paypal_headers(body, data_dir=self.settings.data_dir, base_url=f"{self.url}/paypal")


def current() -> Sandbox:
    """The sandbox of the Flask application that handles the request."""
    sandbox: Sandbox = current_app.config[KEY]
    return sandbox
