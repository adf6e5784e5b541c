"""The database or the doorbell away: what was acknowledged stays, what cannot be stored is refused, all recovers."""

from __future__ import annotations

import signal
from datetime import datetime, timezone

import pytest
import requests

from tests.support.providers.stripe_events import event, paid_session
from tests.support.running import Running
from tests.support.waiting import wait_until


@pytest.fixture
def instance(rough: Running) -> Running:
    return rough


def purchase(customer: str) -> dict:
    session = paid_session("ai-services", customer, "starter", number=customer)
    now = datetime.now(timezone.utc)
    return event("checkout.session.completed", session, created=now, event_id=f"evt_{customer}")


def test_a_webhook_is_taken_while_redis_is_down_and_applied_after_its_return(instance: Running) -> None:
    (valkey,) = _servers(instance, "valkey-server", "redis-server")
    valkey.suspend()
    try:
        assert instance.webhook(purchase("without-redis"), patience_seconds=3) == 200
        assert instance.balance("without-redis") == 0
    finally:
        valkey.resume()
    wait_until(lambda: instance.balance("without-redis") == 100)


def test_redis_killed_comes_back_and_nothing_is_lost(instance: Running) -> None:
    (valkey,) = _servers(instance, "valkey-server", "redis-server")
    valkey.kill()
    assert instance.webhook(purchase("redis-killed")) == 200
    wait_until(lambda: instance.balance("redis-killed") == 100, 60)


def test_what_was_acknowledged_survives_a_crash_of_postgres_and_nothing_is_acknowledged_meanwhile(
    instance: Running,
) -> None:
    answers = {}
    postmaster = min(_servers(instance, "bin/postgres"), key=lambda process: process.create_time())
    for number in range(40):
        if number == 10:
            postmaster.send_signal(signal.SIGQUIT)  # what pg_ctl calls an immediate stop
        answers[number] = _report(instance, number)
    wait_until(instance.is_ready, 60)
    for number in range(40):
        if answers[number] != 202:
            assert answers[number] in (503, 0), answers
            assert wait_until(lambda number=number: _report(instance, number) == 202)
    wait_until(lambda: not instance.get("/v1/usage?state=pending&limit=1")["reports"], 60)
    settled = instance.get("/v1/usage?customer=survivor&limit=200")["reports"]
    assert len(settled) == 40
    assert instance.is_clean()


def _report(instance: Running, number: int) -> int:
    report = {"id": f"survivor-{number}", "customer": "survivor", "rate": "sms", "quantity": 1}
    try:
        return int(instance.call("POST", "/v1/usage", report).status_code)
    except requests.RequestException:
        return 0


def _servers(instance: Running, *names: str) -> list:
    return [process for name in names for process in instance.processes(name)]
