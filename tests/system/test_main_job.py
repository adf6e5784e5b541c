"""The main job over HTTP against running processes: bought, used, read back; expired and granted by the clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

from models import cycles
from tests.support.providers.stripe_events import event, invoice, paid_session, subscription
from tests.support.running import Running
from tests.support.waiting import wait_until


def wall() -> datetime:
    return datetime.now(timezone.utc)


def buy(system: Running, customer: str, pack: str, *, app: str = "ai-services") -> dict[str, Any]:
    purchase = event(
        "checkout.session.completed",
        paid_session(app, customer, pack, number=f"{customer}-{time.monotonic_ns()}"),
        created=wall(),
        event_id=f"evt_{customer}_{time.monotonic_ns()}",
    )
    assert system.webhook(purchase, app=app) == 200
    return purchase


def sandbox_now(system: Running) -> datetime:
    shown = system.get("/v1/customers/nobody/balance")["as_of"]
    return datetime.fromisoformat(shown.replace("Z", "+00:00"))


def test_a_purchase_sent_twenty_times_at_once_gives_its_credits_once(system: Running) -> None:
    purchase = event(
        "checkout.session.completed",
        paid_session("ai-services", "twenty", "starter", number="twenty"),
        created=wall(),
        event_id="evt_twenty",
    )
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: system.webhook(purchase), range(20))) == {200}
    wait_until(lambda: system.balance("twenty") == 100)
    assert system.webhook(purchase) == 200
    entries = system.get("/v1/customers/twenty/entries")["entries"]
    assert [(entry["type"], entry["amount"]) for entry in entries] == [("purchase", 100)]


def test_a_call_of_123_seconds_takes_three_and_explain_adds_up(system: Running) -> None:
    buy(system, "caller", "starter")
    wait_until(lambda: system.balance("caller") == 100)
    report = {"id": "caller-1", "customer": "caller", "rate": "voice_call", "quantity": 123}
    assert system.post("/v1/usage", report, status=202) == {"accepted": 1, "duplicates": 0}
    assert system.post("/v1/usage", report, status=202) == {"accepted": 0, "duplicates": 1}
    wait_until(lambda: system.balance("caller") == 97)
    settled = system.get("/v1/usage/caller-1")
    assert (settled["state"], settled["units"], settled["shortfall"]) == ("settled", 3, 0)
    explained = system.get("/v1/customers/caller/explain")
    (lot,) = explained["lots"]
    assert explained["balance"] == 97
    assert lot["granted"] == lot["remaining"] + lot["held"] + sum(took["units"] for took in lot["took"]) == 100


def test_a_pack_of_voice_therapy_is_gone_after_thirty_days(system: Running) -> None:
    buy(system, "patient", "voice_15", app="voice-therapy")
    wait_until(lambda: system.balance("patient", app="voice-therapy") == 15)
    system.post("/v1/sandbox/clock", {"advance": "29d"}, status=200)
    assert system.balance("patient", app="voice-therapy") == 15
    system.post("/v1/sandbox/clock", {"advance": "1d"}, status=200)
    assert system.balance("patient", app="voice-therapy") == 0
    path = "/v1/customers/patient/entries"
    wait_until(lambda: system.get(path, app="voice-therapy")["entries"][0]["type"] == "expiry")


def test_fourteen_months_of_a_plan_with_the_scheduler_down_for_two_of_them(rough: Running) -> None:
    _live_fourteen_months(rough)
    assert rough.is_clean()


def _live_fourteen_months(system: Running) -> None:
    """From the next 31 January on; the provider tells of each renewal, and of most of them late."""
    start = wall()
    anchor = datetime(start.year + 1, 1, 31, 10, 0, tzinfo=timezone.utc)
    _go_to(system, anchor)
    _tell(system, anchor, 0, "created")
    wait_until(lambda: system.balance("star", app="songs") == 1000)
    for number in range(1, 14):
        if number == 5:
            _suspend_scheduler(system, True)
        _go_to(system, cycles.cycle_start(anchor, number) + timedelta(hours=1))
        if number not in (5, 6):
            if number > 6:  # bills are reported from then on, and decide
                _pay(system, anchor, number)
            _tell(system, anchor, number, "updated")
            wait_until(lambda due=number: system.balance("star", app="songs") == 1000 * (due + 1))
        if number == 6:
            _suspend_scheduler(system, False)
            _pay(system, anchor, 5)
            _pay(system, anchor, 6)
            wait_until(lambda: system.balance("star", app="songs") == 7000)
    granted = system.get("/v1/customers/star/entries?type=subscription_grant&limit=200", app="songs")["entries"]
    months = sorted(entry["metadata"]["cycle_start"][:7] for entry in granted)
    assert len(months) == len(set(months)) == 14
    assert system.balance("star", app="songs") == 14_000


def _go_to(system: Running, moment: datetime) -> None:
    seconds = int((moment - sandbox_now(system)).total_seconds()) + 1
    system.post("/v1/sandbox/clock", {"advance": f"{seconds}s"}, status=200)


def _tell(system: Running, anchor: datetime, number: int, kind: str) -> None:
    begin, end = cycles.cycle_start(anchor, number), cycles.cycle_start(anchor, number + 1)
    it = subscription("songs", "star", "pro", anchor=anchor, start=begin, end=end)
    assert system.webhook(event(f"customer.subscription.{kind}", it, created=begin), app="songs") == 200


def _pay(system: Running, anchor: datetime, number: int) -> None:
    begin, end = cycles.cycle_start(anchor, number), cycles.cycle_start(anchor, number + 1)
    it = invoice("songs", "star", "pro", start=begin, end=end, number=str(number))
    assert system.webhook(event("invoice.paid", it, created=begin), app="songs") == 200


def _suspend_scheduler(system: Running, stopped: bool) -> None:
    for process in system.processes("scheduler.main"):
        process.suspend() if stopped else process.resume()


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
