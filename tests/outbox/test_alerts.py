"""Alerts: a balance that falls is told of once per crossing, a lot before it lapses and when it has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.outbox import endpoints
from models import database, times
from models.ledger import balances
from models.ledger import post as ledger
from models.planning.movements import Expire, Grant, Take
from tests.support.cast import ADA, BO, app, balance, give, post

pytestmark = pytest.mark.usefixtures("db")


def listen(now: datetime, slug: str = "ai-services", **more: Any) -> dict[str, Any]:
    """An endpoint of the app."""
    return endpoints.create(app(slug), {"id": "main", "url": "https://app.example/hook", **more}, now=now)[0]


def take(units: int, customer: str = ADA, **more: Any) -> Take:
    return Take(app="ai-services", customer=customer, units=units, **more)


def told() -> list[tuple[str, dict[str, Any]]]:
    """(type, data) of all that was told, oldest first."""
    return database.read("SELECT type, data FROM outbox_message ORDER BY id")


def crossings() -> list[tuple[str, int]]:
    """(customer, threshold) of what was told of balances."""
    return [(data["customer"], data["threshold"]) for type_, data in told() if type_.startswith("balance.")]


def test_a_balance_that_falls_to_a_threshold_is_told(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now)
    (outcome,) = post(take(5), now=now)
    expected = {
        "app": "ai-services",
        "customer": ADA,
        "balance": 20,
        "threshold": 20,
        "unit": "credit",
        "entry": outcome.entry_id,
    }
    assert told() == [("balance.low", expected)]


def test_falling_further_below_it_is_not_told_again(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now)
    for _ in range(5):
        post(take(2), now=now)
    assert crossings() == [(ADA, 20)]


def test_several_thresholds_in_one_step_are_told_each_and_zero_as_exhausted(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now)
    post(take(25), now=now)
    assert [(type_, data["threshold"]) for type_, data in told()] == [
        ("balance.low", 20),
        ("balance.low", 5),
        ("balance.exhausted", 0),
    ]


def test_up_and_down_again_is_told_again(now: datetime) -> None:
    listen(now)
    for _ in range(3):
        give(ADA, 10, now=now)
        post(take(6), now=now)
        post(take(4), now=now)
    assert crossings() == [(ADA, 5), (ADA, 0)] * 3


def test_every_crossing_of_a_batch_is_told_once(now: datetime) -> None:
    listen(now)
    give(ADA, 30, now=now)
    give(BO, 30, now=now)
    post(*[take(4, customer) for _ in range(7) for customer in (ADA, BO)], now=now)
    assert sorted(crossings()) == [(ADA, 5), (ADA, 20), (BO, 5), (BO, 20)]


def test_a_fall_that_the_same_batch_makes_good_is_not_told(now: datetime) -> None:
    listen(now)
    give(ADA, 30, now=now)
    more = Grant(app="ai-services", customer=ADA, units=50, type="bonus", source="gift")
    post(take(28), more, now=now)
    assert crossings() == []
    post(take(40), now=now)
    assert crossings() == [(ADA, 20)]


def test_overdrawing_is_told_as_exhausted_once(now: datetime) -> None:
    listen(now)
    give(ADA, 3, now=now)
    post(take(5, on_shortfall="debt"), now=now)
    post(take(5, on_shortfall="debt"), now=now)
    assert balance(ADA) == -7
    assert crossings() == [(ADA, 0)]


def test_what_is_rolled_back_is_not_told(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now)

    def spend_and_fail(conn: Any) -> None:
        ledger.post(conn, [take(25)], now=now)
        raise ValueError

    with pytest.raises(ValueError):
        database.transaction(spend_and_fail)
    assert told() == []


def test_a_movement_that_is_repeated_tells_nothing_new(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now)
    for _ in range(3):
        post(take(20, key="charge:1"), now=now)
    assert crossings() == [(ADA, 20), (ADA, 5)]


def test_thirty_at_once_cross_each_threshold_once(now: datetime) -> None:
    listen(now)
    give(ADA, 30, now=now)

    def spend(_: int) -> None:
        try:
            post(take(1), now=now)
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(30)))
    assert sorted(crossings()) == [(ADA, 0), (ADA, 5), (ADA, 20)]


def test_an_app_without_thresholds_is_not_told_of_balances(now: datetime) -> None:
    listen(now, slug="songs")
    give(ADA, 25, now=now, slug="songs")
    post(Take(app="songs", customer=ADA, units=25), now=now)
    assert told() == []


def test_nothing_is_stored_where_nobody_listens(now: datetime) -> None:
    give(ADA, 25, now=now, expires_at=now + timedelta(hours=1))
    post(take(20), now=now)
    runs.run(None, "expire", now=now + timedelta(hours=2))
    assert told() == []


def test_only_what_an_endpoint_wants_is_stored(now: datetime) -> None:
    listen(now, events=["balance.exhausted"])
    give(ADA, 25, now=now)
    post(take(25), now=now)
    assert [type_ for type_, _ in told()] == ["balance.exhausted"]


def test_a_lot_that_lapses_is_told_with_its_units(now: datetime) -> None:
    listen(now)
    give(ADA, 100, now=now, expires_at=now + timedelta(hours=1))
    give(ADA, 100, now=now)
    post(take(30), now=now)
    later = now + timedelta(hours=2)
    post(Expire(app="ai-services", customer=ADA), now=later)
    post(Expire(app="ai-services", customer=ADA), now=later)
    ((lot, entry),) = database.read("SELECT a.lot_id, e.id FROM entry e JOIN allocation a ON a.entry_id = e.id"
                                     " WHERE e.type = 'expiry'")  # fmt: skip
    data = {"app": "ai-services", "customer": ADA, "lot": lot, "units": 70, "entry": entry}
    assert told() == [("lot.expired", data)]


def test_a_lapse_that_empties_the_balance_is_told_as_both(now: datetime) -> None:
    listen(now)
    give(ADA, 25, now=now, expires_at=now + timedelta(hours=1))
    runs.run(None, "expire", now=now + timedelta(hours=2))
    assert sorted(type_ for type_, _ in told()) == ["balance.exhausted", "balance.low", "balance.low", "lot.expired"]


def emit_expiring(now: datetime, slug: str | None = None) -> int:
    return sum(step.counts["lots"] for step in runs.chunks("tell-expiring", now=now, app=slug))


def test_a_lot_is_told_before_it_lapses_and_once(now: datetime) -> None:
    listen(now)
    give(ADA, 100, now=now, expires_at=now + timedelta(days=4))
    give(ADA, 50, now=now)
    assert emit_expiring(now) == 0
    soon = now + timedelta(days=1)
    assert (emit_expiring(soon), emit_expiring(soon), emit_expiring(soon + timedelta(days=1))) == (1, 0, 0)
    ((lot,),) = database.read("SELECT id FROM lot WHERE expires_at IS NOT NULL")
    data = {"app": "ai-services", "customer": ADA, "lot": lot, "units": 100, "expires_at": "2026-03-14T12:00:00Z"}
    assert told() == [("lot.expiring", data)]


def test_units_that_end_with_their_period_are_reported_before_its_end(now: datetime) -> None:
    listen(now, events=["lot.expiring"])
    end = now + timedelta(days=31)
    period = {"subscription_id": 1, "period_start": now, "per_period": True}
    give(ADA, 100, now=now, expires_at=end + timedelta(days=3), **period)
    assert emit_expiring(end - timedelta(days=4)) == 0
    assert emit_expiring(end - timedelta(days=2)) == 1
    assert told()[0][1]["expires_at"] == times.write(end)
    expiring = balances.current(app(), ADA, now=end - timedelta(days=2))["expiring_next"]
    assert expiring == {"units": 100, "at": end}
    assert balances.current(app(), ADA, now=end)["expiring_next"]["at"] == end + timedelta(days=3)


def test_a_lot_that_is_spent_or_has_lapsed_is_not_told_to_be_expiring(now: datetime) -> None:
    listen(now, events=["lot.expiring"])
    give(ADA, 100, now=now, expires_at=now + timedelta(days=1))
    post(take(100), now=now)
    give(BO, 100, now=now, expires_at=now + timedelta(days=1))
    assert emit_expiring(now + timedelta(days=1)) == 0
    assert told() == []


def test_more_lots_than_a_chunk_are_told_each_once(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.outbox import expiry_alerts

    monkeypatch.setattr(expiry_alerts, "CHUNK", 2)
    listen(now)
    for number in range(5):
        give(f"c{number}", 10, now=now, expires_at=now + timedelta(days=1))
    assert emit_expiring(now) == 5
    assert emit_expiring(now) == 0


def test_only_the_apps_that_are_asked_for_and_listen_are_told(now: datetime) -> None:
    listen(now)
    listen(now, slug="songs", events=["lot.expired"])
    give(ADA, 10, now=now, expires_at=now + timedelta(days=1))
    give(ADA, 10, now=now, slug="songs", expires_at=now + timedelta(days=1))
    assert emit_expiring(now, "songs") == 0
    assert emit_expiring(now) == 1


def test_a_lot_that_was_told_is_not_told_again_after_messages_are_pruned(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.outbox import expiry_alerts as alerts

    monkeypatch.setattr(alerts, "_horizons", lambda conn, now, app: {"ai-services": now + timedelta(days=400)})
    listen(now)
    give(ADA, 10, now=now, expires_at=now + timedelta(days=300))
    give(BO, 10, now=now, expires_at=now + timedelta(days=50))
    assert emit_expiring(now) == 2
    database.write("UPDATE outbox_delivery SET state = 'delivered'")
    much_later = now + timedelta(days=200)
    runs.run(None, "expire", now=now + timedelta(days=60))
    maintenance.prune(now=much_later)
    assert [data["customer"] for type_, data in told() if type_ == "lot.expiring"] == [ADA]
    assert emit_expiring(much_later) == 0
