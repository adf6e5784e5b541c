"""Sessions over HTTP: every answer of the contract, and bad input that stores nothing."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from models import clock, database
from tests.support.cast import ADA, BO, give
from tests.support.gated import states
from tests.support.web_calls import bearer, fields, problem, rows, send

ECHO = {"Authorization": "Bearer sk_sandbox_echomind"}
VOICE = {"Authorization": "Bearer sk_sandbox_voice-therapy"}
SONGS = {"Authorization": "Bearer sk_sandbox_songs"}
BEGIN = {"id": "s1", "customer": ADA}


def now() -> datetime:
    return datetime.now(timezone.utc)


def start(client: Any, key: dict[str, str] = ECHO, **body: Any) -> Any:
    return send(client, "/v1/sessions", {"customer": ADA, **body}, key=key)


def end(client: Any, session: str = "s1", key: dict[str, str] = ECHO, **body: Any) -> Any:
    return send(client, f"/v1/sessions/{session}/end", body, key=key)


def advance(client: Any, text: str) -> None:
    assert send(client, "/v1/sandbox/clock", {"advance": text}, key=ECHO).status_code == 200


def talker(client: Any, minutes: int = 15) -> None:
    send(client, f"/v1/customers/{ADA}", {"tier": "firewall"}, key=VOICE, method="PATCH")
    give(ADA, minutes, now=clock.now(), slug="voice-therapy")


def test_a_session_from_its_start_to_its_end(client: Any) -> None:
    talker(client)
    begun = start(client, VOICE, id="s1", metadata={"persona": "calm"})
    assert begun.status_code == 201
    assert set(begun.json) == {"id", "state", "available", "started_at", "ends_by", "free"}
    assert (begun.json["state"], begun.json["available"], begun.json["free"]) == ("active", 15, False)
    assert start(client, VOICE, id="s1").status_code == 200
    alive = send(client, "/v1/sessions/s1/heartbeat", b"", key=VOICE)
    assert alive.status_code == 200
    assert 895 <= alive.json["remaining_seconds"] <= 900
    ended = end(client, key=VOICE, seconds=61, summary="Fine.")
    assert ended.status_code == 200
    assert ended.json == {
        "id": "s1", "state": "ended", "units": 2, "shortfall": 0, "balance": 13, "duration_seconds": 61,
        "cooldown_until": None, "ended_by": "client",
    }  # fmt: skip
    assert end(client, key=VOICE, seconds=3600).json == ended.json
    assert problem(send(client, "/v1/sessions/s1/heartbeat", b"", key=VOICE), 409) == "conflict"
    seen = client.get("/v1/sessions/s1", headers=VOICE).json
    assert client.get(f"/v1/customers/{ADA}/sessions", headers=VOICE).json == {"sessions": [seen], "next": None}
    assert (seen["metadata"], seen["summary"], seen["ended_by"]) == ({"persona": "calm"}, "Fine.", "client")


def test_each_refusal_has_its_status_and_all_reasons(client: Any) -> None:
    assert problem(start(client, VOICE), 403) == "tier"
    assert start(client, id="s1").status_code == 201
    active = start(client)
    assert problem(active, 409) == "active-session"
    assert (active.json["session"], active.json["reasons"]) == ("s1", ["active_session", "balance"])
    end(client)
    cooling = start(client)
    assert problem(cooling, 429) == "cooldown"
    assert 595 <= int(cooling.headers["Retry-After"]) <= 600
    assert cooling.json["reasons"] == ["cooldown", "balance"]
    assert cooling.json["eligible_at"].endswith("Z")
    advance(client, "10m")
    poor = start(client)
    assert problem(poor, 402) == "insufficient-balance"
    assert (poor.json["balance"], poor.json["required"], poor.json["reasons"]) == (0, 1, ["balance"])


def test_waiting_is_202_and_can_be_cancelled(client: Any) -> None:
    start(client, id="s1")
    end(client)
    waits = start(client, id="w1", wait=True)
    assert waits.status_code == 202
    assert waits.json == {"id": "w1", "state": "waiting", "starts_at": None, "reasons": ["cooldown", "balance"]}
    assert problem(end(client, "w1"), 409) == "conflict"
    again = send(client, "/v1/sessions/w1/cancel", b"", key=ECHO)
    assert (again.status_code, again.json) == (200, {"id": "w1", "state": "cancelled"})
    assert send(client, "/v1/sessions/w1/cancel", b"", key=ECHO).json == again.json
    assert problem(send(client, "/v1/sessions/s1/cancel", b"", key=ECHO), 409) == "conflict"


def test_eligibility_tells_the_server_time(client: Any) -> None:
    start(client, id="s1")
    end(client)
    give(ADA, 1, now=clock.now(), slug="echomind")
    told = client.get(f"/v1/customers/{ADA}/eligibility", headers=ECHO).json
    assert (told["eligible"], told["reasons"], told["available"]) == (False, ["cooldown"], 1)
    assert 595 <= told["cooldown_seconds"] <= 600
    assert told["server_time"] < told["eligible_at"]


@pytest.mark.parametrize("call", ["end", "heartbeat", "cancel"])
def test_a_session_that_does_not_exist_or_is_another_apps_is_404(client: Any, call: str) -> None:
    assert problem(send(client, f"/v1/sessions/none/{call}", b"", key=ECHO), 404) == "not-found"
    start(client, id="s1")
    assert problem(send(client, f"/v1/sessions/s1/{call}", b"", key=SONGS), 404) == "not-found"
    assert problem(client.get("/v1/sessions/s1", headers=SONGS), 404) == "not-found"
    assert states("echomind") == [("s1", "active")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"seconds": -1}, "seconds"),
        ({"seconds": 604_801}, "seconds"),
        ({"seconds": 1.5}, "seconds"),
        ({"seconds": "60"}, "seconds"),
        ({"seconds": True}, "seconds"),
        ({"minutes": 1}, "minutes"),
        ({"summary": 7}, "summary"),
        ({"summary": "x" * 20_001}, "summary"),
    ],
)
def test_an_absurd_end_is_refused_and_the_session_goes_on(client: Any, body: dict[str, Any], field: str) -> None:
    start(client, id="s1")
    assert fields(end(client, **body)) == [field]
    assert states("echomind") == [("s1", "active")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"customer": ""}, "customer"),
        ({"customer": "a/b"}, "customer"),
        ({"customer": 7}, "customer"),
        ({"customer": ADA, "id": "x" * 121}, "id"),
        ({"customer": ADA, "wait": 1}, "wait"),
        ({"customer": ADA, "started_at": "2026-01-01T00:00:00Z"}, "started_at"),
        ({"customer": ADA, "metadata": []}, "metadata"),
        ({}, "customer"),
    ],
)
def test_a_wrong_start_names_the_field_and_stores_nothing(client: Any, body: dict[str, Any], field: str) -> None:
    assert fields(send(client, "/v1/sessions", body, key=ECHO)) == [field]
    assert (rows("session"), rows("account"), rows("operation_error")) == (0, 0, 0)


def test_an_app_without_a_gate_says_so(client: Any) -> None:
    assert fields(start(client, SONGS)) == ["app"]
    assert fields(client.get(f"/v1/customers/{ADA}/eligibility", headers=SONGS)) == ["app"]


def token(client: Any, customer: str) -> dict[str, str]:
    answer = send(client, f"/v1/customers/{customer}/tokens", {}, key=ECHO)
    return bearer(answer.json["token"])


def test_a_customer_sees_the_own_sessions_only(client: Any) -> None:
    start(client, id="s1")
    mine, other = token(client, ADA), token(client, BO)
    assert client.get("/v1/sessions/s1", headers=mine).status_code == 200
    assert client.get(f"/v1/customers/{ADA}/eligibility", headers=mine).status_code == 200
    assert problem(client.get("/v1/sessions/s1", headers=other), 403) == "forbidden"
    assert problem(client.get(f"/v1/customers/{ADA}/sessions", headers=other), 403) == "forbidden"
    assert problem(start(client, mine), 403) == "forbidden"
    assert problem(end(client, key=mine), 403) == "forbidden"


def test_sessions_are_listed_newest_first_by_state_and_page(client: Any) -> None:
    for number in range(3):
        start(client, id=f"s{number}", customer=f"c{number}")
    assert client.get("/v1/customers/nobody/sessions", headers=ECHO).json == {"sessions": [], "next": None}
    database.connection().execute("UPDATE session SET account_id = 1")
    first = client.get("/v1/customers/c0/sessions?limit=2", headers=ECHO).json
    assert [it["id"] for it in first["sessions"]] == ["s2", "s1"]
    rest = client.get(f"/v1/customers/c0/sessions?limit=2&cursor={first['next']}", headers=ECHO).json
    assert ([it["id"] for it in rest["sessions"]], rest["next"]) == (["s0"], None)
    assert client.get("/v1/customers/c0/sessions?state=ended", headers=ECHO).json["sessions"] == []
    assert fields(client.get("/v1/customers/c0/sessions?state=done", headers=ECHO)) == ["state"]


def test_the_log_tells_of_sessions(client: Any) -> None:
    start(client, id="s1", metadata={"mood": "low"})
    end(client)
    start(client)
    lines = client.get("/v1/operations?operation=SESSION", headers=ECHO).json["operations"]
    assert sorted(line["status"] for line in lines) == ["ERROR", "STARTED", "STARTED", "SUCCESS"]
    (done,) = [line for line in lines if line["status"] == "SUCCESS"]
    assert (done["details"]["ended_by"], done["details"]["metadata"]) == ("client", {"mood": "low"})
