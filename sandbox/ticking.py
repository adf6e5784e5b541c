"""What falls due by the sandbox clock: renewals, period ends, bank transfers, eChecks and session expiry."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone

from models import clock
from sandbox.context import Sandbox
from sandbox.paypal import captures
from sandbox.paypal.billing import cycles
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.paypal.objects import CAPTURE
from sandbox.store.store import Thing
from sandbox.stripe.billing import renewals
from sandbox.stripe.checkout import completion

INTERVAL_SECONDS = 1.0
# Subscriptions: when the next step is due, and the step.
PERIODIC = {
    "subscription": (renewals.due_at, renewals.step),
    SUBSCRIPTION: (cycles.due_at, cycles.step),
}
SETTLE = {"checkout.session": completion.settle, CAPTURE: captures.settle}
# Limits one tick when the clock moves by decades; the next tick continues.
MOST_PERIODS = 500


class Ticker:
    """One thread that processes what is due, every second."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self._stopped = sandbox, threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its last tick."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                tick(self.sandbox)
            except Exception:
                logging.exception("processing what is due by the sandbox clock failed")


def tick(sandbox: Sandbox) -> int:
    """Process all that is due now. Returns how many steps that took.

    An object that fails does not hold up the others: its error is raised after them.
    """
    done, errors = 0, []
    for account, kind, thing in sandbox.store.unfinished():
        try:
            done += _process(sandbox, account, kind, thing)
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return done


def _process(sandbox: Sandbox, name: str, kind: str, thing: Thing) -> int:
    """Process what is due of one object."""
    if kind in PERIODIC:
        return _process_periods(sandbox, name, kind, thing["id"])
    done = 0
    with sandbox.account(name) as account:
        now = account.now
        present = account.need(kind, thing["id"])
        if present.get("_settles_at", now + 1) <= now:
            SETTLE[kind](account, present)
            done = 1
        elif kind == "checkout.session" and present["status"] == "open" and present["expires_at"] <= now:
            completion.expire(account, present)
            done = 1
    return done


def _process_periods(sandbox: Sandbox, name: str, kind: str, id_: str) -> int:
    """Process a subscription step by step, each at its time, so that objects and events have the right times."""
    due_at, step = PERIODIC[kind]
    done, now = 0, clock.now().timestamp()
    while done < MOST_PERIODS:
        with sandbox.account(name) as account:
            at = due_at(account.need(kind, id_))
            if at is None or at > now:
                return done
        with sandbox.account(name, datetime.fromtimestamp(at, timezone.utc)) as account:
            present = account.need(kind, id_)
            if due_at(present) == at:
                step(account, present)
        done += 1
    return done
