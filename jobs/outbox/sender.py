"""Sends due deliveries: at least once, and without one endpoint delaying another.

A round leases due deliveries in a short transaction, sends several at once outside of any transaction, and stores the
results. Deliveries of a sender that crashes are sent again when the lease expires, under the same webhook-id. An
endpoint that fails gets one delivery at a time, and all failing endpoints share half of the threads, so that working
endpoints do not wait for them.
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
from models.outbox import endpoints, messages, queue
from models.outbox.queue import Delivery, Outcome
from runtime.crashpoints import crashpoint

THREADS = 16
THREADS_FOR_FAILING = 8
AT_ONCE_EACH = 8
AT_ONCE_FAILING = 1
LEASE = timedelta(seconds=60)
POLL_SECONDS = 0.25
# How long a round claims new deliveries. The last attempt may start at its end, and a worker's time limit is 60 s.
# Deliveries to failing endpoints are likely to time out: they are claimed only at first, so that the end of the round
# does not wait for them.
LONGEST_SECONDS = 20.0
LONGEST_SECONDS_FOR_FAILING = 8.0

# The delay after each failed attempt, as Standard Webhooks suggests: three days in total.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
JITTER = 0.1
DISABLED_AFTER = timedelta(days=5)
# Longer than any delay between two attempts: failures that lie further apart are not of one period.
SILENCE = timedelta(days=2)
GONE = 410


def deliver_due(*, now: datetime, wall: Callable[[], float] = time.time) -> int:
    """Send due deliveries, for at most half a minute. Returns the number of attempts.

    wall: the wall clock, in Unix seconds, for the signatures. `now` may be the sandbox's clock.
    """
    queue.abandon(now=now)
    with ThreadPoolExecutor(THREADS, "outbox") as senders:
        return _Round(senders, now, wall).run()


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A delivery that is being sent. `cut_at`: the time of its timeout, by the monotonic clock."""

    delivery: Delivery
    attempt: http.Attempt
    failing: bool
    cut_at: float


class _Round:
    """One run of one sender, with its deliveries in flight."""

    def __init__(self, senders: ThreadPoolExecutor, now: datetime, wall: Callable[[], float]) -> None:
        self._senders = senders
        self._wall = wall
        self._started_at = now
        self._started = time.monotonic()
        self._in_flight: dict[Future[tuple[int | None, str | None]], _InFlight] = {}
        self._sent = 0

    def run(self) -> int:
        """Claim, send and record until nothing is due or the time is up. Returns the number of attempts.

        If the round is interrupted, as by a worker that shuts down, the results of what was sent are still recorded.
        """
        try:
            while self._claim_due():
                self._record_completed()
        finally:
            self._record_all()
        return self._sent

    def _record_all(self) -> None:
        """Wait for all attempts. On failure cut the others: an open connection would block its thread indefinitely."""
        try:
            while self._in_flight:
                self._record_completed()
        finally:
            for flight in self._in_flight.values():
                flight.attempt.cut()

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _now(self) -> datetime:
        return self._started_at + timedelta(seconds=self._elapsed())

    def _claim_due(self) -> bool:
        """Claim and send while there is time. Returns whether anything is in flight."""
        if self._elapsed() < LONGEST_SECONDS:
            self._claim(failing=False)
        if self._elapsed() < LONGEST_SECONDS_FOR_FAILING:
            self._claim(failing=True)
        return bool(self._in_flight)

    def _claim(self, *, failing: bool) -> None:
        free = THREADS - len(self._in_flight)
        if failing:
            free = min(free, THREADS_FOR_FAILING - sum(flight.failing for flight in self._in_flight.values()))
        if free <= 0:
            return
        now = self._now()
        each = AT_ONCE_FAILING if failing else AT_ONCE_EACH
        for delivery in queue.claim(now=now, until=now + LEASE, failing=failing, each=each, limit=free):
            self._send(delivery, failing)
        crashpoint("outbox-after-claim")

    def _send(self, delivery: Delivery, failing: bool) -> None:
        body, headers = signed(delivery, wall_seconds=int(self._wall()))
        attempt = http.Attempt(delivery.url, body, headers)
        cut_at = time.monotonic() + http.TIMEOUT_SECONDS
        self._in_flight[self._senders.submit(attempt.run)] = _InFlight(delivery, attempt, failing, cut_at)
        self._sent += 1

    def _record_completed(self) -> None:
        done, pending = wait(self._in_flight, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in pending:
            if time.monotonic() > self._in_flight[future].cut_at:
                self._in_flight[future].attempt.cut()
        if done:
            crashpoint("outbox-before-record")
            now = self._now()
            outcomes = [classify(self._in_flight[future].delivery, *future.result(), now=now) for future in done]
            database.transaction(lambda conn: _record(conn, outcomes, now))
            for future in done:
                del self._in_flight[future]


def signed(delivery: Delivery, *, wall_seconds: int) -> tuple[bytes, dict[str, str]]:
    """Return the body and its headers, with a second signature while the previous secret is still in use."""
    body = orjson.dumps(messages.payload(delivery.type, times.write(delivery.created_at), delivery.data))
    with_secrets = [secret for secret in (delivery.secret, delivery.old_secret) if secret]
    return body, signing.headers(delivery.message_id, body, with_secrets, wall_seconds=wall_seconds)


def classify(delivery: Delivery, status_code: int | None, reason: str | None, *, now: datetime) -> Outcome:
    """Return the outcome of an attempt: delivered on 2xx, otherwise retried until all of `RETRY_AFTER` are used."""
    if status_code is not None and 200 <= status_code < 300:
        return Outcome(delivery, "delivered", now, status_code, None)
    error = reason or f"the endpoint returned {status_code}"
    if delivery.attempts > len(RETRY_AFTER):
        return Outcome(delivery, "failed", now, status_code, error)
    delay = RETRY_AFTER[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return Outcome(delivery, "pending", now + delay, status_code, error)


def _record(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
    """Store the outcomes and the state of their endpoints that follows from them."""
    attempted = {outcome.delivery.endpoint for outcome in outcomes}
    succeeded = {outcome.delivery.endpoint for outcome in outcomes if outcome.state == "delivered"}
    gone = {outcome.delivery.endpoint for outcome in outcomes if outcome.status_code == GONE}
    failed = (attempted - succeeded) | gone
    endpoints.lock_rows(conn, attempted)
    queue.record(conn, outcomes, now=now)
    endpoints.note_successes(conn, succeeded)
    for row_id, app, endpoint_id, failing_since in endpoints.note_failures(conn, failed, silence=SILENCE, now=now):
        if row_id in gone:
            _disable(conn, row_id, app, endpoint_id, "the endpoint returned 410 Gone", now)
        elif now - failing_since >= DISABLED_AFTER:
            reason = f"every delivery has failed since {times.write(failing_since)}"
            _disable(conn, row_id, app, endpoint_id, reason, now)


def _disable(conn: Connection, row_id: int, app: str, endpoint_id: str, reason: str, now: datetime) -> None:
    endpoints.close(conn, row_id, "disabled", reason, now=now)
    log_error(conn, app, "WEBHOOK", None, {"endpoint": endpoint_id}, f"endpoint disabled: {reason}", now)
