"""Packs bought through Stripe: one payment, one purchase, whatever tells of it and however often."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from jobs.inbox import events
from jobs.providers.stripe import events as stripe
from models import database
from models.errors import ProviderAway
from tests.support.cast import ADA, BO, balance, deliver, entries, event_states
from tests.support.providers.stripe_events import event, paid_session
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")


def bought(now: datetime, customer: str = ADA, pack: str = "starter", app: str = "ai-services", **more):
    return event("checkout.session.completed", paid_session(app, customer, pack, **more), created=now)


def test_a_paid_session_grants_its_pack(now: datetime) -> None:
    deliver("ai-services", bought(now), now=now)
    assert entries(ADA) == [("purchase", 100)]
    assert event_states("ai-services") == [("done", None)]


def test_the_same_event_again_changes_nothing(now: datetime) -> None:
    purchase = bought(now)
    assert deliver("ai-services", purchase, now=now) is True
    assert deliver("ai-services", purchase, now=now) is False
    assert entries(ADA) == [("purchase", 100)]


def test_two_events_of_one_payment_grant_once(now: datetime) -> None:
    deliver("ai-services", bought(now), now=now)
    deliver(
        "ai-services",
        event("checkout.session.async_payment_succeeded", paid_session("ai-services", ADA, "starter"), created=now),
        now=now,
    )
    assert entries(ADA) == [("purchase", 100)]


def test_one_event_received_twenty_times_at_once_grants_once(now: datetime) -> None:
    purchase = bought(now)

    def receive(_: int) -> int:
        try:
            return int(deliver("ai-services", purchase, now=now))
        finally:
            database.release()

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(receive, range(20))) == 1
    assert entries(ADA) == [("purchase", 100)]


def test_an_unpaid_session_waits_for_its_money(now: datetime) -> None:
    deliver("ai-services", bought(now, payment_status="unpaid"), now=now)
    assert entries(ADA) == []
    session = paid_session("ai-services", ADA, "starter", payment_status="paid")
    deliver("ai-services", event("checkout.session.async_payment_succeeded", session, created=now), now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_a_session_whose_money_never_comes_grants_nothing(now: datetime) -> None:
    deliver("ai-services", bought(now, payment_status="unpaid"), now=now)
    session = paid_session("ai-services", ADA, "starter", payment_status="unpaid")
    deliver("ai-services", event("checkout.session.async_payment_failed", session, created=now), now=now)
    assert entries(ADA) == []
    assert database.read("SELECT state FROM payment") == [("failed",)]


def test_the_late_news_that_a_payment_was_pending_does_not_take_it_back(now: datetime) -> None:
    deliver("ai-services", bought(now), now=now)
    deliver("ai-services", bought(now, payment_status="unpaid"), now=now)
    assert database.read("SELECT state, units_granted FROM payment") == [("settled", 100)]


def test_a_free_session_is_keyed_by_the_session(now: datetime) -> None:
    free = bought(now, payment_status="no_payment_required", payment_intent=None, amount_total=0)
    deliver("ai-services", free, now=now)
    assert entries(ADA) == [("purchase", 100)]
    assert database.read("SELECT reference FROM payment") == [("cs_test_1",)]


def test_units_are_the_catalogs_and_not_the_metadatas(now: datetime) -> None:
    metadata = {"app": "ai-services", "customer": ADA, "pack": "starter", "credits": "100000", "units": "7"}
    deliver("ai-services", bought(now, metadata=metadata, amount_total=99999999), now=now)
    assert balance(ADA) == 100


def test_a_quantity_multiplies_the_pack(now: datetime) -> None:
    items = {"data": [{"quantity": 3, "price": {"id": "price_unknown"}}]}
    deliver("ai-services", bought(now, line_items=items), now=now)
    assert balance(ADA) == 300


def test_the_customer_may_come_by_client_reference_id(now: datetime) -> None:
    deliver("ai-services", bought(now, metadata={"pack": "starter"}, client_reference_id=BO), now=now)
    assert balance(BO) == 100


def test_an_event_of_another_app_is_ignored(now: datetime) -> None:
    deliver("songs", bought(now, app="ai-services"), now=now)
    assert event_states("songs") == [("ignored", "the event belongs to the app 'ai-services'")]
    assert balance(ADA, "songs") == 0


def test_an_event_of_the_live_mode_is_ignored_in_a_sandbox(now: datetime) -> None:
    live = bought(now)
    live["livemode"] = True
    deliver("ai-services", live, now=now)
    assert event_states("ai-services")[0][0] == "ignored"
    assert balance(ADA) == 0


def test_an_event_type_that_is_not_used_is_ignored(now: datetime) -> None:
    deliver("ai-services", event("payment_method.attached", {"id": "pm_1"}, created=now), now=now)
    assert event_states("ai-services") == [("ignored", "payment_method.attached is not used")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {"pack": "starter"}, "client_reference_id": None}, "no customer"),
        ({"metadata": {"customer": "a/b", "pack": "starter"}}, "is not a valid customer name"),
        ({"metadata": {"customer": ADA, "pack": "gone"}}, "no pack 'gone'"),
        ({"metadata": {"customer": ADA}}, "no pack named"),
        ({"id": None, "payment_intent": None}, "malformed"),
        ({"amount_total": "10.00"}, "malformed"),
        ({"line_items": {"data": [{"quantity": -1}]}}, "malformed"),
        ({"line_items": {"data": [{"quantity": 10**12}]}}, "more than"),
        ({"metadata": {"customer": ADA, "pack": "starter"}, "mode": {"a": 1}}, "mode"),
    ],
)
def test_what_no_retry_will_mend_is_dead_at_once_and_says_why(change, reason: str, now: datetime) -> None:
    deliver("ai-services", bought(now, **change), now=now)
    ((state, error),) = event_states("ai-services")
    assert state in ("dead", "ignored")
    assert reason in (error or "")
    assert database.read("SELECT count(*) FROM entry") == [(0,)]


def test_a_dead_event_is_replayed_once_the_catalog_is_mended(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.catalog import catalog

    whole = catalog.current()
    app = whole["ai-services"]
    poor = type(app)(**{name: getattr(app, name) for name in app.__slots__} | {"packs": {}})
    catalog.use(catalog.Catalog({**whole.apps, "ai-services": poor}))
    deliver("ai-services", bought(now), now=now)
    assert event_states("ai-services")[0][0] == "dead"
    catalog.use(whole)
    events.replay("ai-services", 1, now=now)
    events.apply_pending(now=now)
    assert balance(ADA) == 100


def test_replaying_what_was_applied_changes_nothing(now: datetime) -> None:
    deliver("ai-services", bought(now), now=now)
    events.replay("ai-services", 1, now=now)
    events.apply_pending(now=now)
    assert entries(ADA) == [("purchase", 100)]
    assert event_states("ai-services") == [("done", None)]


def test_an_expiry_counts_from_the_posting_not_from_the_sale(now: datetime) -> None:
    late = now + timedelta(days=3)
    sold = event("checkout.session.completed", paid_session("voice-therapy", ADA, "voice_15"), created=now)
    deliver("voice-therapy", sold, now=late)
    assert database.read("SELECT expires_at FROM lot") == [(late + timedelta(days=30),)]


def test_a_provider_that_is_away_for_days_kills_no_event(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(app: Any, event: Any) -> Any:
        raise ProviderAway("no answer")

    monkeypatch.setattr(stripe, "needs_refetch", lambda app, event: True)
    monkeypatch.setattr(stripe, "prepare", away)
    told = event("checkout.session.completed", paid_session("ai-services", ADA, "starter"), created=now)
    for hour in range(30):
        deliver("ai-services", told, now=now + timedelta(hours=2 * hour))
    assert event_states("ai-services") == [("pending", "no answer")]
    monkeypatch.undo()
    deliver("ai-services", told, now=now + timedelta(hours=100))
    assert (event_states("ai-services"), balance(ADA)) == ([("done", None)], 100)


def test_a_provider_that_hangs_holds_up_no_other_app_and_is_asked_once_a_round(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    others_done = threading.Event()

    def hang(app: Any, event: Any) -> Any:
        asked.append(event.event_id)
        assert others_done.wait(30)
        raise ProviderAway("no answer")

    monkeypatch.setattr(stripe, "needs_refetch", lambda app, event: app.slug == "songs")
    monkeypatch.setattr(stripe, "prepare", hang)
    for number in range(20):
        for slug in ("songs", "ai-services"):
            told = event(
                "checkout.session.completed", paid_session(slug, ADA, "starter", number=f"{slug}{number}"), created=now
            )
            events.receive(slug, "stripe", told["id"], told["type"], orjson.dumps(told).decode(), now=now)
    drain = threading.Thread(target=lambda: (events.apply_pending(now=now), database.release()))
    drain.start()
    wait_until(lambda: balance(ADA) == 2000)
    assert events.apply_pending(now=now) == 0, "another drain leaves alone what this one asks about"
    others_done.set()
    drain.join()
    assert len(asked) <= 8
    assert {state for state, _ in event_states("songs")} == {"pending"}
