"""Wake-ups: at most one is pending, a lost one is no error, and the sweep finds what it left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from settings import settings
from tests.support.waiting import wait_until
from workers import main as actors
from workers import wakeups
from workers.drain import drain
from workers.wakeups import Notifier, clear_pending, notify


@pytest.fixture(autouse=True)
def redis_server() -> Iterator[redis.Redis]:
    """An empty Redis."""
    assert settings.redis_url
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


def waiting(queue: str) -> int:
    return int(actors.broker.client.llen(f"scrip:{queue}"))


def test_while_one_wakeup_is_pending_others_are_dropped() -> None:
    assert [notify("usage") for _ in range(5)] == [True, False, False, False, False]
    assert waiting("usage") == 1


def test_queues_are_notified_apart() -> None:
    assert [notify(queue) for queue in ("usage", "inbox", "maintenance")] == [True, True, True]


def test_a_cleared_wakeup_makes_room_for_the_next() -> None:
    notify("usage")
    clear_pending("usage")
    assert notify("usage") is True


def test_a_wakeup_without_redis_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = redis.Redis.from_url("unix:///nowhere/redis.sock")
    monkeypatch.setattr(wakeups, "_client", lambda: gone)
    assert notify("usage") is False
    clear_pending("usage")


def test_a_pending_wakeup_expires_so_that_the_sweep_notifies_again(redis_server: redis.Redis) -> None:
    notify("usage")
    assert 0 < redis_server.pttl("scrip:wakeup:usage") <= wakeups.WAITING_MS


def test_a_drain_goes_on_until_nothing_is_left() -> None:
    left = [3, 2, 1, 0]
    assert drain("usage", lambda: left.pop(0)) == 6
    assert waiting("usage") == 0


def test_a_drain_whose_time_is_up_notifies_for_the_rest() -> None:
    assert drain("usage", lambda: 1, seconds=0) == 1
    assert waiting("usage") == 1


def test_a_drain_clears_the_wakeup_before_it_reads() -> None:
    notify("usage")
    assert drain("usage", lambda: int(notify("usage"))) == 1


def test_a_requested_wakeup_is_sent_by_another_thread_once() -> None:
    notifier = Notifier()
    for _ in range(100):
        notifier.request("usage")
    wait_until(lambda: waiting("usage") == 1)
    clear_pending("usage")
    notifier.request("usage")
    wait_until(lambda: waiting("usage") == 2)


def test_a_request_does_not_wait_for_a_redis_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    sent: list[str] = []

    def hang(queue: str) -> None:
        free.wait(30)
        sent.append(queue)

    monkeypatch.setattr(wakeups, "notify", hang)
    notifier = Notifier()
    notifier.request("usage")
    notifier.request("inbox")
    assert sent == []
    free.set()
    wait_until(lambda: sorted(sent) == ["inbox", "usage"])
