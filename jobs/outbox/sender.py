"""Sending what waits in the outbox: at least once, and one endpoint's trouble is no other's.

A round takes due deliveries with a lease in a short transaction, sends several at once outside of any, and writes what
became of them. What dies between is sent again when the lease is over, under the same webhook-id. An endpoint that
fails gets one delivery at a time, and all that fail share half of the places: those that work never wait for them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from jobs.outbox import http, signing
from models import database, times
from models.database import Connection
from models.operations.errors import log_error
from models.outbox import deliveries, endpoints
from models.outbox.deliveries import Delivery, Outcome
from runtime.crashpoints import crashpoint

PLACES = 16
PLACES_OF_FAILING = 8
AT_ONCE_EACH = 8
AT_ONCE_FAILING = 1
LEASE = timedelta(seconds=60)
LOOK_SECONDS = 0.25
# How long a round takes new deliveries; the last attempt may begin just before it is over, and a worker's time limit is
# 60 s. What is expected to hang is taken only at first: nobody shall wait for it when the round comes to its end.
LONGEST_SECONDS = 20.0
LONGEST_SECONDS_OF_FAILING = 8.0

# After each failed attempt: the waits that Standard Webhooks suggests, three days in all.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
JITTER = 0.1
DISABLED_AFTER = timedelta(days=5)
# Longer than any wait between two attempts: what lies further apart is not one failure that went on.
SILENCE = timedelta(days=2)
GONE = 410


def deliver_due(*, now: datetime, wall: Callable[[], float] = time.time) -> int:
    """Send what is due, for at most half a minute. Returns how many attempts were made.

    wall: the real clock, in Unix seconds, for the signatures; `now` may be the sandbox's.
    """
    deliveries.abandon(now=now)
    with ThreadPoolExecutor(PLACES, "outbox") as senders:
        return _Round(senders, now, wall).run()


@dataclass(frozen=True, slots=True)
class _Flight:
    """A delivery that is being sent."""

    delivery: Delivery
    attempt: http.Attempt
    failing: bool
    cut_at: float


class _Round:
    """What one worker has in the air."""

    def __init__(self, senders: ThreadPoolExecutor, now: datetime, wall: Callable[[], float]) -> None:
        self._senders = senders
        self._wall = wall
        self._began_at = now
        self._began = time.monotonic()
        self._flights: dict[Future[tuple[int | None, str | None]], _Flight] = {}
        self._sent = 0

    def run(self) -> int:
        """Take, send and write until nothing is due any more, or the time is up.

        Who is interrupted, as by a worker that shuts down, writes what became of what was sent before.
        """
        try:
            while self._take_what_is_due():
                self._land()
        finally:
            self._land_all()
        return self._sent

    def _land_all(self) -> None:
        """Wait for all of them; where that fails, for nobody: an open connection would hold its thread for ever."""
        try:
            while self._flights:
                self._land()
        finally:
            for flight in self._flights.values():
                flight.attempt.cut()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _now(self) -> datetime:
        return self._began_at + timedelta(seconds=self._elapsed())

    def _take_what_is_due(self) -> bool:
        """Whether anything is in the air then."""
        if self._elapsed() < LONGEST_SECONDS:
            self._take(failing=False)
        if self._elapsed() < LONGEST_SECONDS_OF_FAILING:
            self._take(failing=True)
        return bool(self._flights)

    def _take(self, *, failing: bool) -> None:
        free = PLACES - len(self._flights)
        if failing:
            free = min(free, PLACES_OF_FAILING - sum(flight.failing for flight in self._flights.values()))
        if free <= 0:
            return
        now = self._now()
        each = AT_ONCE_FAILING if failing else AT_ONCE_EACH
        for delivery in deliveries.claim(now=now, until=now + LEASE, failing=failing, each=each, limit=free):
            self._send(delivery, failing)
        crashpoint("outbox-after-claim")

    def _send(self, delivery: Delivery, failing: bool) -> None:
        body, headers = signed(delivery, wall_seconds=int(self._wall()))
        attempt = http.Attempt(delivery.url, body, headers)
        cut_at = time.monotonic() + http.TIMEOUT_SECONDS
        self._flights[self._senders.submit(attempt.run)] = _Flight(delivery, attempt, failing, cut_at)
        self._sent += 1

    def _land(self) -> None:
        done, under_way = wait(self._flights, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in under_way:
            if time.monotonic() > self._flights[future].cut_at:
                self._flights[future].attempt.cut()
        if done:
            crashpoint("outbox-before-record")
            now = self._now()
            outcomes = [classify(self._flights[future].delivery, *future.result(), now=now) for future in done]
            database.transaction(lambda conn: _record(conn, outcomes, now))
            for future in done:
                del self._flights[future]


def signed(delivery: Delivery, *, wall_seconds: int) -> tuple[bytes, dict[str, str]]:
    """The body and its headers; while a secret is rotated there are two signatures."""
    body = orjson.dumps(deliveries.payload(delivery.type, times.write(delivery.created_at), delivery.data))
    with_secrets = [secret for secret in (delivery.secret, delivery.old_secret) if secret]
    return body, signing.headers(delivery.message_id, body, with_secrets, wall_seconds=wall_seconds)


def classify(delivery: Delivery, status_code: int | None, reason: str | None, *, now: datetime) -> Outcome:
    """What an answer means: 2xx is delivered; anything else is tried again until the waits are used up."""
    if status_code is not None and 200 <= status_code < 300:
        return Outcome(delivery, "delivered", now, status_code, None)
    error = reason or f"answered {status_code}"
    if delivery.attempts > len(RETRY_AFTER):
        return Outcome(delivery, "failed", now, status_code, error)
    wait_for = RETRY_AFTER[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return Outcome(delivery, "pending", now + wait_for, status_code, error)


def _record(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
    """Write the outcomes, and what they say of their endpoints."""
    sent_to = {it.delivery.endpoint for it in outcomes}
    succeeded = {it.delivery.endpoint for it in outcomes if it.state == "delivered"}
    gone = {it.delivery.endpoint for it in outcomes if it.status_code == GONE}
    failed = (sent_to - succeeded) | gone
    endpoints.lock_rows(conn, sent_to)
    deliveries.record(conn, outcomes, now=now)
    endpoints.note_successes(conn, succeeded)
    for row, app, endpoint_id, failing_since in endpoints.note_failures(conn, failed, silence=SILENCE, now=now):
        if row in gone:
            _disable(conn, row, app, endpoint_id, "it answered 410 Gone", now)
        elif now - failing_since >= DISABLED_AFTER:
            _disable(conn, row, app, endpoint_id, f"every delivery has failed since {times.write(failing_since)}", now)


def _disable(conn: Connection, row: int, app: str, endpoint_id: str, reason: str, now: datetime) -> None:
    endpoints.close(conn, row, "disabled", reason, now=now)
    log_error(conn, app, "WEBHOOK", None, {"endpoint": endpoint_id}, f"endpoint disabled: {reason}", now)
