"""Workers killed with SIGKILL and Redis flushed in mid-run: every accepted report is settled once, to the unit."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import redis

from tests.support.deep import times
from tests.support.running import Running
from tests.support.waiting import wait_until

# One worker is killed in each phase.
PHASE, CUSTOMERS, BATCH = 1000, 40, 25
REPORTS = times(5 * PHASE, 10)
DICE = random.Random(7)


@pytest.fixture
def instance(rough: Running) -> Running:
    return rough


@pytest.mark.deep
def test_every_accepted_report_is_settled_once(instance: Running) -> None:
    for number in range(CUSTOMERS):
        instance.post("/v1/adjustments", {"id": f"g{number}", "customer": f"c{number}", "units": 10_000, "reason": "x"})
    accepted = 0
    with ThreadPoolExecutor(4) as pool:
        for phase in range(0, REPORTS, PHASE):
            sending = [pool.submit(_report, instance, start) for start in range(phase, phase + PHASE, BATCH)]
            wait_until(lambda sending=sending: _pending(instance) or all(sent.done() for sent in sending))
            _kill_a_worker_and_flush_redis(instance)
            accepted += sum(sent.result() for sent in sending)
    assert accepted == REPORTS
    wait_until(lambda: not _pending(instance), 120)
    assert instance.is_clean()
    spent = {f"c{n}": _cost(range(n, REPORTS, CUSTOMERS)) for n in range(CUSTOMERS)}
    assert {customer: 10_000 - instance.balance(customer) for customer in spent} == spent


def _cost(numbers: range) -> int:
    """Minutes are rounded up one by one, tokens once for the customer."""
    tokens = sum(_quantity(number) for number in numbers if _rate(number) == "gpt4")
    return sum(-(-_quantity(n) // 60) for n in numbers if _rate(n) == "voice_call") + -(-tokens * 60 // 1000)


def _rate(number: int) -> str:
    return "gpt4" if number // CUSTOMERS % 3 == 0 else "voice_call"


def _quantity(number: int) -> int:
    return 1 + number % 200


def _report(instance: Running, start: int) -> int:
    """Send a batch, and again as a client would that got no answer: accepted or known, it is counted once."""
    reports = [
        {"id": f"r{n}", "customer": f"c{n % CUSTOMERS}", "rate": _rate(n), "quantity": _quantity(n)}
        for n in range(start, start + BATCH)
    ]
    first = instance.post("/v1/usage", {"reports": reports}, status=202)
    again = instance.post("/v1/usage", {"reports": reports}, status=202)
    assert again == {"accepted": 0, "duplicates": BATCH}
    return int(first["accepted"])


def _kill_a_worker_and_flush_redis(instance: Running) -> None:
    """As soon as there is a worker to kill; the ones before it may still be on their way back."""
    victim = DICE.choice(wait_until(lambda: instance.processes("dramatiq")))
    with contextlib.suppress(psutil.NoSuchProcess):  # its master took it along
        victim.kill()
    with redis.Redis.from_url(instance.redis_url()) as doorbell:
        doorbell.flushall()


def _pending(instance: Running) -> bool:
    return bool(instance.get("/v1/usage?state=pending&limit=1")["reports"])
