"""Sends events to Scrip's webhook receivers, signed, with retries until they are accepted."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from sandbox import signing
from sandbox.store.events import DueEvent
from sandbox.store.store import Store
from settings import SANDBOX_WEBHOOK_SECRET

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 60.0
MAX_ATTEMPTS = 60
TIMEOUT_SECONDS = 20.0
BATCH = 20
IDLE_SECONDS = 30.0

# Without the environment's proxy: Scrip runs on this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Headers = dict[str, str]
# Returns the headers that sign an event's bytes.
Signer = Callable[[bytes], Headers]


class Sender:
    """One thread that sends due events. `receiver` is Scrip's URL; `sign_paypal` signs PayPal's events."""

    def __init__(self, store: Store, receiver: str, sign_paypal: Signer) -> None:
        self.store, self.receiver = store, receiver
        self.signers: dict[str, Signer] = {"stripe": _sign_stripe, "paypal": sign_paypal}
        self._wake, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Start the thread; each commit of the store wakes it up."""
        self.store.after_commit = self._wake.set
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Waiting events are sent after the next start."""
        self._stopped = True
        self._wake.set()
        self._thread.join(TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            if not self.send_due():
                self._wake.wait(self._seconds_to_next())

    def _seconds_to_next(self) -> float:
        due_at = self.store.events.next_due_at()
        return IDLE_SECONDS if due_at is None else min(IDLE_SECONDS, max(0.01, due_at - time.time()))

    def send_due(self) -> int:
        """Send the due events, in order of their due time. Returns how many were attempted."""
        events = self.store.events.due(time.time(), BATCH)
        for event in events:
            if self._stopped:
                break
            url = f"{self.receiver}/webhooks/{event.provider}/{event.account}"
            accepted, answer = self._send(url, event.provider, event.body.encode())
            self._record(event, accepted, answer)
        return len(events)

    def _send(self, url: str, provider: str, body: bytes) -> tuple[bool, str]:
        try:
            headers = {"Content-Type": "application/json", **self.signers[provider](body)}
            request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310
            with DIRECT.open(request, timeout=TIMEOUT_SECONDS) as response:
                return True, str(response.status)
        except urllib.error.HTTPError as error:
            return False, f"{error.code} {error.read(200).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            return False, str(error)

    def _record(self, event: DueEvent, accepted: bool, answer: str) -> None:
        due_at, tries, copies = time.time(), event.tries + 1, event.copies
        if accepted:
            state = "delivered" if copies <= 1 else "waiting"
            copies -= 1
        else:
            state = "waiting" if tries < MAX_ATTEMPTS else "failed"
            due_at += min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(tries - 1, 10))
        self.store.events.record_attempt(
            event.number, state=state, due_at=due_at, tries=tries, copies=copies, answer=answer[:200]
        )


def _sign_stripe(body: bytes) -> Headers:
    return signing.stripe_headers(body, SANDBOX_WEBHOOK_SECRET)
