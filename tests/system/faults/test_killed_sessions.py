"""The engine killed around the commit that starts or ends a session: afterwards it happened once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobs import customers, maintenance, runs
from jobs.sessions import sessions
from models import clock
from models.catalog import catalog
from tests.support.cast import ADA, balance, give
from tests.support.gated import states
from tests.support.killed import killed_at

POINTS = ["session-before-commit", "session-after-commit"]
pytestmark = pytest.mark.usefixtures("db")


def start(slug: str, session: str, **more: Any) -> None:
    sessions.start(catalog.current()[slug], {"id": session, "customer": ADA, **more}, now=clock.now())


def run_and_die(job: str, slug: str, point: str) -> None:
    """The job in a process of its own, killed at the point."""
    killed_at(point, "manage.py", "run", job, "--app", slug)


def clean() -> bool:
    return all(check.ok for check in maintenance.check_books(now=clock.now()))


@pytest.mark.parametrize("point", POINTS)
def test_who_waited_is_started_once(point: str) -> None:
    start("echomind", "free")
    sessions.end(catalog.current()["echomind"], "free", {}, now=clock.now())
    give(ADA, 2, now=clock.now(), slug="echomind")
    start("echomind", "next", wait=True)
    clock.advance(timedelta(minutes=10))
    run_and_die("start-waiting", "echomind", point)
    runs.run("echomind", "start-waiting", now=clock.now())
    assert states("echomind") == [("free", "ended"), ("next", "active")]
    assert balance(ADA, "echomind") == 1
    assert clean()


@pytest.mark.parametrize("point", POINTS)
def test_what_was_left_is_settled_once(point: str) -> None:
    customers.patch(catalog.current()["voice-therapy"], ADA, {"tier": "firewall"}, now=clock.now())
    give(ADA, 60, now=clock.now(), slug="voice-therapy")
    start("voice-therapy", "talk")
    clock.advance(timedelta(minutes=61))
    run_and_die("settle-sessions", "voice-therapy", point)
    runs.run("voice-therapy", "settle-sessions", now=clock.now())
    assert states("voice-therapy") == [("talk", "ended")]
    assert balance(ADA, "voice-therapy") == 0
    assert clean()
