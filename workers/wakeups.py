"""Ringing a queue: one small message that means "drain", and at most one of them waiting.

A ring that is lost costs time, never work: the rows are the queue, and the sweep rings again. So a Redis that is away
is no reason to refuse a webhook.
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


def answers(queue: str) -> Callable[[dramatiq.Actor[[], None]], dramatiq.Actor[[], None]]:
    """Declare the actor that drains a queue."""

    def declare(actor: dramatiq.Actor[[], None]) -> dramatiq.Actor[[], None]:
        _actors[queue] = actor.send
        return actor

    return declare


def ring(queue: str) -> bool:
    """Ring the queue unless a ring is waiting. Never raises; False when nothing was sent."""
    try:
        if not _client().set(_flag(queue), 1, nx=True, px=WAITING_MS):
            return False
        _actors[queue]()
        return True
    except (redis.RedisError, OSError, dramatiq.errors.DramatiqError) as error:
        log.warning("ring lost", queue=queue, error=str(error))
        return False


def heard(queue: str) -> None:
    """The ring is answered: what comes from now on rings again. To be called before the drain reads."""
    try:
        _client().delete(_flag(queue))
    except (redis.RedisError, OSError) as error:
        log.warning("ring not cleared", queue=queue, error=str(error))


def _flag(queue: str) -> str:
    return f"{NAMESPACE}:ring:{queue}"


def _client() -> redis.Redis:
    assert isinstance(broker, RedisBroker)
    client: redis.Redis = broker.client
    return client


class Ringer:
    """One thread a process, started by the first ring asked for; a fork starts its own."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._asked = threading.Event()
        self._pid = 0
        self._starting = threading.Lock()

    def ask(self, queue: str) -> None:
        """Have the queue rung soon."""
        if self._pid != os.getpid():
            self._start()
        self._wanted.add(queue)
        self._asked.set()

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                threading.Thread(target=self._run, name="ringer", daemon=True).start()
                self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            for queue in tuple(self._wanted):
                self._wanted.discard(queue)
                ring(queue)


_ringer = Ringer()
ring_soon = _ringer.ask
