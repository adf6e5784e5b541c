"""What tests ask a Scrip over its API: `running.Running` in processes of its own, or `inside.Inside` in this one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from sandbox import signing


class Scrip(ABC):
    """One instance. `folder` is its data folder."""

    folder: Path

    @abstractmethod
    def call(self, method: str, path: str, body: Any = None, *, app: str = "ai-services", **options: Any) -> Any:
        """The answer to one API request with the app's sandbox key, as `requests` gives it."""

    @abstractmethod
    def send_event(self, path: str, raw: bytes, headers: dict[str, str], patience_seconds: float) -> int:
        """Send an event to a receiver; returns the status."""

    @abstractmethod
    def is_clean(self) -> bool:
        """Whether the books add up."""

    @abstractmethod
    def sandbox_url(self) -> str:
        """Where its payment provider is."""

    @abstractmethod
    def work(self) -> None:
        """Do what is due, if nothing is done unasked."""

    def get(self, path: str, *, app: str = "ai-services") -> Any:
        """The JSON that a GET is answered with."""
        answer = self.call("GET", path, app=app)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, *, app: str = "ai-services", status: int = 201) -> Any:
        """The JSON that a POST is answered with."""
        answer = self.call("POST", path, body, app=app)
        assert answer.status_code == status, answer.text
        return answer.json()

    def webhook(self, event: dict[str, Any], *, app: str = "ai-services", patience_seconds: float = 60) -> int:
        """Send an event signed as Stripe signs it; returns the status."""
        raw = json.dumps(event).encode()
        headers = signing.stripe_headers(raw, "whsec_sandbox")
        return self.send_event(f"/webhooks/stripe/{app}", raw, headers, patience_seconds)

    def balance(self, customer: str, *, app: str = "ai-services") -> int:
        """What the API shows as the customer's balance."""
        return int(self.get(f"/v1/customers/{customer}/balance", app=app)["balance"])
