"""Holds: set aside, captured, released, expired; each once, whatever is repeated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import runs
from jobs.ledger import holds
from models import database
from models.errors import Conflict, InsufficientBalance, NotFound
from tests.support.cast import ADA, app, balance, entries, give

pytestmark = pytest.mark.usefixtures("db")


def hold(now: datetime, **body: Any) -> dict[str, Any]:
    return holds.create(app(), {"id": "h1", "customer": ADA, "units": 20, **body}, now=now)[0]


def test_a_hold_lowers_what_is_available_and_not_the_balance(now: datetime) -> None:
    give(ADA, 50, now=now)
    assert hold(now)["available"] == 30
    assert database.read("SELECT balance, held FROM account") == [(50, 20)]


def test_a_hold_beyond_what_is_available_is_refused(now: datetime) -> None:
    give(ADA, 10, now=now)
    with pytest.raises(InsufficientBalance):
        hold(now)
    assert database.read("SELECT held FROM account") == [(0,)]


def test_capturing_spends_and_a_repeat_gets_the_same_answer(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    first = holds.capture(app(), "h1", {}, now=now)
    assert first == {"id": "h1", "state": "captured", "units": 20, "balance": 30}
    assert holds.capture(app(), "h1", {}, now=now) == first
    assert entries(ADA) == [("bonus", 50), ("deduction", -20)]


def test_capturing_less_frees_the_rest(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    assert holds.capture(app(), "h1", {"units": 5}, now=now)["balance"] == 45
    assert database.read("SELECT balance, held FROM account") == [(45, 0)]


def test_capturing_more_takes_the_rest_from_what_is_available_or_nothing(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    with pytest.raises(InsufficientBalance) as refused:
        holds.capture(app(), "h1", {"units": 51}, now=now)
    assert refused.value.required == 51
    assert holds.capture(app(), "h1", {"units": 50}, now=now)["balance"] == 0


def test_capturing_nothing_closes_the_hold_without_an_entry(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    assert holds.capture(app(), "h1", {"units": 0}, now=now)["balance"] == 50
    assert entries(ADA) == [("bonus", 50)]


def test_releasing_frees_it_and_a_repeat_gets_the_same_answer(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    first = holds.release(app(), "h1", now=now)
    assert (first["state"], first["balance"]) == ("released", 50)
    assert holds.release(app(), "h1", now=now) == first


def test_a_captured_hold_is_not_released_and_a_released_one_not_captured(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    holds.capture(app(), "h1", {}, now=now)
    with pytest.raises(Conflict, match="captured"):
        holds.release(app(), "h1", now=now)
    hold(now, id="h2")
    holds.release(app(), "h2", now=now)
    with pytest.raises(Conflict, match="released"):
        holds.capture(app(), "h2", {}, now=now)


def test_a_capture_with_other_units_is_a_conflict(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    holds.capture(app(), "h1", {"units": 5}, now=now)
    with pytest.raises(Conflict):
        holds.capture(app(), "h1", {"units": 6}, now=now)


def test_an_expired_hold_is_released_by_the_engine_and_cannot_be_captured(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now, expires_in=60)
    late = now + timedelta(seconds=60)
    with pytest.raises(Conflict, match="expired"):
        holds.capture(app(), "h1", {}, now=late)
    assert runs.run(None, "release-holds", now=late)["counts"] == {"holds": 1, "units": 20}
    assert database.read("SELECT h.state, a.held FROM hold h, account a") == [("expired", 0)]
    with pytest.raises(Conflict, match="expired"):
        holds.release(app(), "h1", now=late)


def test_a_hold_of_another_app_does_not_exist(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)
    with pytest.raises(NotFound):
        holds.capture(app("songs"), "h1", {}, now=now)


def test_captures_and_releases_at_once_end_in_one_of_them(now: datetime) -> None:
    give(ADA, 50, now=now)
    hold(now)

    def try_it(number: int) -> str:
        try:
            done = holds.capture(app(), "h1", {}, now=now) if number % 2 else holds.release(app(), "h1", now=now)
            return str(done["state"])
        except Conflict:
            return "conflict"
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(try_it, range(16)))
    winners = set(results) - {"conflict"}
    assert len(winners) == 1
    assert results.count("conflict") == 8
    assert balance(ADA) == (30 if winners == {"captured"} else 50)
