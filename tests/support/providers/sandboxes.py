"""The sandbox's providers inside a test: real HTTP on loopback, with events going wherever the test wants them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from sandbox import address
from sandbox.context import Sandbox
from sandbox.server import serving
from settings import settings

NOWHERE = "http://127.0.0.1:9"


class Provider:
    """A running sandbox. `url` is its own; Stripe's API is below /stripe, PayPal's below /paypal."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.url = sandbox, sandbox.url

    def stripe(self, app: str, **options: Any) -> Any:
        """Stripe's own client, on the account of `app`."""
        import stripe

        return stripe.StripeClient(f"sk_sandbox_{app}", base_addresses={"api": f"{self.url}/stripe"}, **options)

    def pay(self, session_id: str, how: str = "pay", **more: str) -> requests.Response:
        """Press a button of a checkout page: pay, later, decline, cancel."""
        form = {"how": how, **more}
        return requests.post(f"{self.url}/checkout/{session_id}", data=form, allow_redirects=False, timeout=30)

    def control(self, app: str, **asked: Any) -> Any:
        """Set how events are sent (deliver=, shape=), or do something at the portal (action=, id=, amount=)."""
        answer = requests.post(f"{self.url}/control", json={"app": app, **asked}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running_provider(folder: Path | None = None, receiver: str = NOWHERE) -> Iterator[Provider]:
    """A sandbox for the time of the block. `receiver` is where Scrip would be."""
    mine = replace(settings, data_dir=folder, sandbox_port=None) if folder else settings
    sandbox = Sandbox(mine, address.choose_url(mine), receiver)
    with serving(sandbox, poll_seconds=0.01):
        yield Provider(sandbox)
