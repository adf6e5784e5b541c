"""Voice therapy, as its document tells it: minutes are bought, talked away, and looked up afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.running import Running
from tests.support.waiting import wait_until
from tests.system.journeys.journey import advance, buy, buy_and_wait, checkout, moment, pay_at, with_token

APP = "voice-therapy"


def get(system: Running, path: str) -> Any:
    return system.get(path, app=APP)


def member(system: Running, customer: str) -> str:
    """A customer of the tier that may buy and talk."""
    answer = system.call("PATCH", f"/v1/customers/{customer}", {"tier": "firewall"}, app=APP)
    assert answer.status_code == 200
    return customer


def start(system: Running, customer: str, session: str, **more: Any) -> Any:
    return system.call("POST", "/v1/sessions", {"id": session, "customer": customer, **more}, app=APP)


def end(system: Running, session: str, **body: Any) -> Any:
    return system.post(f"/v1/sessions/{session}/end", body, app=APP, status=200)


def test_from_the_purchase_to_the_last_minute(system: Running) -> None:
    """Purchase journey, steps 2 to 6."""
    patient = member(system, "voice-patient")
    assert start(system, patient, "voice-0").status_code == 402
    buy_and_wait(system, patient, "voice_15", app=APP)

    status = get(system, f"/v1/customers/{patient}/balance")
    assert (status["available"], status["unit"]) == (15, "minute")
    assert moment(status["expiring_next"]["at"]) - moment(status["as_of"]) > timedelta(days=29, hours=23)

    begun = start(system, patient, "voice-1", metadata={"persona": "calm"}).json()
    assert (begun["state"], begun["available"]) == ("active", 15)
    ended = end(system, "voice-1", seconds=61, summary="We talked about sleep.")
    assert (ended["units"], ended["balance"], ended["shortfall"]) == (2, 13, 0)

    start(system, patient, "voice-2")
    exhausted = end(system, "voice-2", seconds=3600)
    assert (exhausted["units"], exhausted["balance"], exhausted["shortfall"]) == (13, 0, 47)
    assert start(system, patient, "voice-3").status_code == 402


def test_the_history_can_be_audited(system: Running) -> None:
    patient = member(system, "voice-audit")
    buy_and_wait(system, patient, "voice_15", app=APP)
    start(system, patient, "voice-audit-1", metadata={"persona": "stern"})
    end(system, "voice-audit-1", seconds=125, summary="A long day.")
    (session,) = get(system, f"/v1/customers/{patient}/sessions")["sessions"]
    assert (session["metadata"], session["summary"]) == ({"persona": "stern"}, "A long day.")
    assert session["duration_seconds"] == 125
    assert moment(session["started_at"]) <= moment(session["ended_at"])
    entries = get(system, f"/v1/customers/{patient}/entries")["entries"]
    assert [(entry["type"], entry["amount"]) for entry in entries] == [("deduction", -3), ("purchase", 15)]
    assert entries[0]["id"] == session["entry"]
    assert entries[0]["metadata"]["persona"] == "stern"
    (lot,) = get(system, f"/v1/customers/{patient}/explain")["lots"]
    assert lot["granted"] == lot["remaining"] + lot["held"] + sum(took["units"] for took in lot["took"])


def test_only_members_may_talk(system: Running) -> None:
    buy_and_wait(system, "voice-stranger", "voice_15", app=APP)
    refused = start(system, "voice-stranger", "voice-no")
    assert (refused.status_code, refused.json()["reasons"]) == (403, ["tier"])
    told = get(system, "/v1/customers/voice-stranger/eligibility")
    assert (told["eligible"], told["reasons"], told["eligible_at"]) == (False, ["tier"], None)


def test_the_lot_with_the_most_minutes_pays_first_and_then_the_next(system: Running) -> None:
    patient = member(system, "voice-lots")
    for _ in range(2):
        buy_and_wait(system, patient, "voice_15", app=APP)
    start(system, patient, "voice-lots-1")
    end(system, "voice-lots-1", seconds=5 * 60)
    start(system, patient, "voice-lots-2")
    end(system, "voice-lots-2", seconds=18 * 60)
    lots = get(system, f"/v1/customers/{patient}/explain")["lots"]
    took = [[part["units"] for part in lot["took"]] for lot in sorted(lots, key=lambda lot: lot["id"])]
    assert took == [[5, 3], [15]], "five from the first, then the other one whole, then the first again"


def test_minutes_are_gone_after_thirty_days(system: Running) -> None:
    patient = member(system, "voice-late")
    buy_and_wait(system, patient, "voice_15", app=APP)
    advance(system, "30d")
    assert get(system, f"/v1/customers/{patient}/balance")["available"] == 0
    assert start(system, patient, "voice-late-1").status_code == 402
    path = f"/v1/customers/{patient}/entries"
    wait_until(lambda: get(system, path)["entries"][0]["type"] == "expiry")


def test_a_session_that_is_left_is_settled_by_the_engine(system: Running) -> None:
    patient = member(system, "voice-left")
    buy_and_wait(system, patient, "voice_15", app=APP)
    start(system, patient, "voice-left-1")
    system.post("/v1/sessions/voice-left-1/heartbeat", app=APP, status=200)
    advance(system, "3m")
    wait_until(lambda: get(system, "/v1/sessions/voice-left-1")["state"] == "ended")
    session = get(system, "/v1/sessions/voice-left-1")
    assert (session["ended_by"], session["units"]) == ("heartbeat", 1)


def test_a_session_ends_with_its_minutes(system: Running) -> None:
    patient = member(system, "voice-empty")
    buy_and_wait(system, patient, "voice_15", app=APP)
    begun = start(system, patient, "voice-empty-1").json()
    assert moment(begun["ends_by"]) - moment(begun["started_at"]) == timedelta(minutes=15)
    advance(system, "16m")
    wait_until(lambda: get(system, "/v1/sessions/voice-empty-1")["state"] == "ended")
    session = get(system, "/v1/sessions/voice-empty-1")
    assert (session["ended_by"], session["units"], session["shortfall"]) == ("balance", 15, 0)


@pytest.mark.parametrize("what", ["balance", "sessions", "entries", "explain", "eligibility"])
def test_a_customer_sees_nobody_elses(system: Running, what: str) -> None:
    member(system, "voice-mine")
    path = f"/v1/customers/voice-mine/{what}"
    assert with_token(system, "voice-mine", path, app=APP) == 200
    assert with_token(system, "voice-mine", path, app=APP, of="voice-nosy") == 403


def test_a_payment_told_twice_counts_once(system: Running) -> None:
    told = buy(system, "voice-twice", "voice_15", app=APP)
    assert system.webhook(told, app=APP) == 200
    wait_until(lambda: system.balance("voice-twice", app=APP) == 15)
    assert len(get(system, "/v1/customers/voice-twice/entries")["entries"]) == 1


def test_a_member_buys_through_the_checkout_and_comes_back(system: Running) -> None:
    """Purchase journey, step 1: and what was bought so is not refunded by us."""
    refused = checkout(system, "voice-nobody", app=APP, pack="voice_15", status=403)
    assert refused["type"].endswith("/tier")
    patient = member(system, "voice-buyer")
    opened = checkout(system, patient, app=APP, pack="voice_15")
    assert opened["provider"] == "stripe"
    assert "9.99" in system.http.get(opened["url"], timeout=30).text
    assert pay_at(opened["url"], system).startswith("http://localhost:9/ok")
    wait_until(lambda: system.balance(patient, app=APP) == 15)
    (payment,) = get(system, f"/v1/customers/{patient}/payments")["payments"]
    assert (payment["money"], payment["credit"]) == ({"amount": "9.99", "currency": "usd"}, "unredeemed")
    refund = system.call(
        "POST", f"/v1/payments/{payment['id']}/refund", {"id": "vr", "reason": "changed mind"}, app=APP
    )
    assert refund.status_code == 409


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
