"""The doorbell: at most one ring waits, a lost one is no error, and the sweep finds what it left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from settings import settings
from until import until
from workers import main as actors
from workers import wakeups
from workers.drain import drain
from workers.wakeups import Ringer, heard, ring


@pytest.fixture(autouse=True)
def doorbell() -> Iterator[redis.Redis]:
    """An empty Redis."""
    assert settings.redis_url
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


def waiting(queue: str) -> int:
    return int(actors.broker.client.llen(f"scrip:{queue}"))


def test_while_one_ring_waits_others_are_dropped() -> None:
    assert [ring("usage") for _ in range(5)] == [True, False, False, False, False]
    assert waiting("usage") == 1


def test_queues_ring_apart() -> None:
    assert [ring(queue) for queue in ("usage", "webhooks", "maintenance")] == [True, True, True]


def test_a_ring_that_is_heard_makes_room_for_the_next() -> None:
    ring("usage")
    heard("usage")
    assert ring("usage") is True


def test_a_ring_without_redis_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = redis.Redis.from_url("unix:///nowhere/redis.sock")
    monkeypatch.setattr(wakeups, "_client", lambda: gone)
    assert ring("usage") is False
    heard("usage")


def test_a_ring_that_nobody_heard_is_forgotten_so_that_the_sweep_rings_again(doorbell: redis.Redis) -> None:
    ring("usage")
    assert 0 < doorbell.pttl("scrip:ring:usage") <= wakeups.WAITING_MS


def test_a_drain_goes_on_until_nothing_is_left() -> None:
    left = [3, 2, 1, 0]
    assert drain("usage", lambda: left.pop(0)) == 6
    assert waiting("usage") == 0


def test_a_drain_whose_time_is_up_rings_for_the_rest() -> None:
    assert drain("usage", lambda: 1, seconds=0) == 1
    assert waiting("usage") == 1


def test_a_drain_clears_the_ring_before_it_reads() -> None:
    ring("usage")
    assert drain("usage", lambda: int(ring("usage"))) == 1


def test_a_ring_that_is_asked_for_is_sent_by_another_thread_once() -> None:
    ringer = Ringer()
    for _ in range(100):
        ringer.ask("usage")
    until(lambda: waiting("usage") == 1)
    heard("usage")
    ringer.ask("usage")
    until(lambda: waiting("usage") == 2)


def test_who_asks_does_not_wait_for_a_doorbell_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    rung: list[str] = []

    def hang(queue: str) -> None:
        free.wait(30)
        rung.append(queue)

    monkeypatch.setattr(wakeups, "ring", hang)
    ringer = Ringer()
    ringer.ask("usage")
    ringer.ask("webhooks")
    assert rung == []
    free.set()
    until(lambda: sorted(rung) == ["usage", "webhooks"])
