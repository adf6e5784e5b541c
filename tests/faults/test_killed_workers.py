"""Workers killed with SIGKILL and Redis flushed in mid-run: every accepted report is settled once, to the unit."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import redis

from running import Running
from until import until

REPORTS, CUSTOMERS, BATCH = 5000, 40, 25


@pytest.fixture
def instance() -> Iterator[Running]:
    it = Running()
    try:
        yield it.start()
    finally:
        it.close()


def test_every_accepted_report_is_settled_once(instance: Running) -> None:
    for number in range(CUSTOMERS):
        instance.post("/v1/adjustments", {"id": f"g{number}", "customer": f"c{number}", "units": 10_000, "reason": "x"})
    finished = threading.Event()
    killed: list[int] = []
    vandal = threading.Thread(target=_vandalise, args=(instance, finished, killed))
    vandal.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            accepted = sum(pool.map(lambda start: _report(instance, start), range(0, REPORTS, BATCH)))
    finally:
        finished.set()
        vandal.join()
    assert accepted == REPORTS
    assert len(killed) >= 3, "the run was over before anything was broken"
    until(lambda: not _pending(instance), 120)
    assert instance.is_clean()
    spent = {f"c{n}": sum(_minutes(r) for r in range(n, REPORTS, CUSTOMERS)) for n in range(CUSTOMERS)}
    assert {customer: 10_000 - instance.balance(customer) for customer in spent} == spent


def _minutes(number: int) -> int:
    return -(-_seconds(number) // 60)


def _seconds(number: int) -> int:
    return 1 + number % 200


def _report(instance: Running, start: int) -> int:
    """Send a batch, and again as a client would that got no answer: accepted or known, it is counted once."""
    reports = [
        {"id": f"r{n}", "customer": f"c{n % CUSTOMERS}", "rate": "voice_call", "quantity": _seconds(n)}
        for n in range(start, start + BATCH)
    ]
    first = instance.post("/v1/usage", {"reports": reports}, status=202)
    again = instance.post("/v1/usage", {"reports": reports}, status=202)
    assert again == {"accepted": 0, "duplicates": BATCH}
    return int(first["accepted"])


def _vandalise(instance: Running, finished: threading.Event, killed: list[int]) -> None:
    """Kill a worker process and flush Redis, again and again."""
    dice = random.Random(7)
    while not finished.wait(0.2):
        victims = instance.processes("dramatiq")
        if victims:
            victim = dice.choice(victims)
            try:
                victim.kill()
                killed.append(victim.pid)
            except psutil.NoSuchProcess:
                pass
        with redis.Redis.from_url(instance.redis_url()) as doorbell:
            doorbell.flushall()


def _pending(instance: Running) -> bool:
    return bool(instance.get("/v1/usage?state=pending&limit=1")["reports"])
