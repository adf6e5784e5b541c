"""What becomes due by the sandbox's clock: renewals, period ends, bank transfers, eChecks, sessions nobody finished."""

from __future__ import annotations

import logging
import threading

from sandbox.context import Sandbox
from sandbox.paypal import captures
from sandbox.paypal.objects import CAPTURE
from sandbox.store.store import Thing
from sandbox.stripe import billing, checkout

LOOK_SECONDS = 1.0
SETTLE = {"checkout.session": checkout.settle, CAPTURE: captures.settle}
# A daily plan and a clock moved by decades: the rest is done at the next look.
MOST_PERIODS = 500


class Ticker:
    """One thread that looks every second."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self._stopped = sandbox, threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """No more after this."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                tick(self.sandbox)
            except Exception:
                logging.exception("what is due by the clock could not be done")


def tick(sandbox: Sandbox) -> int:
    """Do all that is due now; returns how much that was."""
    return sum(_attend(sandbox, account, kind, thing) for account, kind, thing in sandbox.store.unfinished())


def _attend(sandbox: Sandbox, name: str, kind: str, thing: Thing) -> int:
    done = 0
    with sandbox.account(name) as account:
        now = account.now
        it = account.need(kind, thing["id"])
        if kind == "subscription":
            while billing.is_due(it, now) and done < MOST_PERIODS:
                billing.renew(account, it)
                done += 1
        elif it.get("_settles_at", now + 1) <= now:
            SETTLE[kind](account, it)
            done = 1
        elif kind == "checkout.session" and it["status"] == "open" and it["expires_at"] <= now:
            checkout.expire(account, it)
            done = 1
    return done
