"""Wake-ups: a coalesced Dramatiq message that asks a worker to drain one queue.

A lost wake-up delays work until the next sweep; it never loses work, because the rows are the queue. So webhooks are
accepted while Redis is unavailable.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker

from workers.broker import NAMESPACE, broker

log = structlog.get_logger()
WAITING_MS = 5_000

_actors: dict[str, Callable[[], object]] = {}


def drains(queue: str) -> Callable[[dramatiq.Actor[[], None]], dramatiq.Actor[[], None]]:
    """Declare the actor that drains a queue."""

    def declare(actor: dramatiq.Actor[[], None]) -> dramatiq.Actor[[], None]:
        _actors[queue] = actor.send
        return actor

    return declare


def notify(queue: str) -> bool:
    """Enqueue a wake-up for the queue unless one is pending. Never raises. Returns False if nothing was enqueued."""
    try:
        if not _client().set(_pending_key(queue), 1, nx=True, px=WAITING_MS):
            return False
        _actors[queue]()
        return True
    except (redis.RedisError, OSError, dramatiq.errors.DramatiqError) as error:
        log.warning("wake-up lost", queue=queue, error=str(error))
        return False


def clear_pending(queue: str) -> None:
    """Clear the pending flag of the queue, so that rows inserted later enqueue a new wake-up.

    Call it before the queue is read.
    """
    try:
        _client().delete(_pending_key(queue))
    except (redis.RedisError, OSError) as error:
        log.warning("wake-up not cleared", queue=queue, error=str(error))


def _pending_key(queue: str) -> str:
    return f"{NAMESPACE}:wakeup:{queue}"


def _client() -> redis.Redis:
    assert isinstance(broker, RedisBroker)
    client: redis.Redis = broker.client
    return client


class Notifier:
    """Enqueues wake-ups from a background thread, so that request latency does not depend on Redis.

    One thread per process, started by the first request and again after a fork. Requests for a queue are coalesced. A
    wake-up that a dying process still had to send is lost, and the next sweep replaces it.
    """

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._requested = threading.Event()
        self._pid = 0
        self._starting = threading.Lock()

    def request(self, queue: str) -> None:
        """Enqueue a wake-up for the queue soon, from the background thread."""
        if self._pid != os.getpid():
            self._start()
        self._wanted.add(queue)
        self._requested.set()

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                threading.Thread(target=self._run, name="notifier", daemon=True).start()
                self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            for queue in tuple(self._wanted):
                self._wanted.discard(queue)
                notify(queue)


_notifier = Notifier()
notify_soon = _notifier.request
