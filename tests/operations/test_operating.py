"""What operators use: events, runs, the sandbox's clock, health and metrics."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from models import clock, database
from models.operations import metric_files
from tests.support.web_calls import KEY, OTHER_KEY, REPORT, fields, problem, send, signature

EVENT = {"id": "evt_1", "type": "customer.created", "livemode": False, "data": {"object": {"id": "cus_1"}}}


def deliver(client: Any, number: int, app: str = "ai-services", type_: str = "customer.created") -> None:
    raw = orjson.dumps({**EVENT, "id": f"evt_{number}", "type": type_})
    headers = {"Stripe-Signature": signature(raw)}
    assert client.post(f"/webhooks/stripe/{app}", data=raw, headers=headers).status_code == 200


def listed(client: Any, query: str = "", key: dict[str, str] = KEY) -> list[str]:
    return [event["event_id"] for event in client.get(f"/v1/events{query}", headers=key).json["events"]]


def test_events_are_listed_newest_first_by_app_state_provider_and_type(client):
    for number in (1, 2, 3):
        deliver(client, number)
    deliver(client, 4, type_="invoice.paid")
    deliver(client, 5, app="songs")
    database.write("UPDATE inbox_event SET state = 'dead' WHERE event_id = 'evt_2'")
    assert listed(client) == ["evt_4", "evt_3", "evt_2", "evt_1"]
    assert listed(client, key=OTHER_KEY) == ["evt_5"]
    assert listed(client, "?state=dead") == ["evt_2"]
    assert listed(client, "?type=invoice.paid&provider=stripe") == ["evt_4"]
    assert listed(client, "?provider=paypal") == []
    first = client.get("/v1/events?limit=3", headers=KEY).json
    assert listed(client, f"?limit=3&cursor={first['next']}") == ["evt_1"]


@pytest.mark.parametrize(("query", "named"), [("state=x", "state"), ("provider=x", "provider"), ("limit=x", "limit")])
def test_a_malformed_query_of_events_is_named(client, query, named):
    assert fields(client.get(f"/v1/events?{query}", headers=KEY)) == [named]


def test_an_event_shows_its_payload_and_entries(client):
    deliver(client, 1)
    shown = client.get("/v1/events/1", headers=KEY).json
    assert shown["payload"] == EVENT
    assert shown["entries"] == []
    assert (shown["event_id"], shown["state"], shown["attempts"], shown["error"]) == ("evt_1", "pending", 0, None)


def test_an_events_payload_is_shown_as_it_came_digit_by_digit(client):
    big = b'{"id": "evt_9", "type": "nothing.used", "amount": 123456789012345678901234, "rate": 0.10, "a": 1, "a": 2}'
    headers = {"Stripe-Signature": signature(big)}
    assert client.post("/webhooks/stripe/ai-services", data=big, headers=headers).status_code == 200
    assert b'"payload":' + big in client.get("/v1/events/1", headers=KEY).data
    assert b'"payload":' + big in send(client, "/v1/events/1/replay", {}).data


@pytest.mark.parametrize(
    "id", ["2", "0", "-1", "x", "1.0", "9223372036854775808", "99999999999999999999", "²", "evt_1"]
)
def test_an_event_that_is_not_there_is_404(client, id):
    deliver(client, 1)
    assert problem(client.get(f"/v1/events/{id}", headers=KEY), 404) == "not-found"
    assert problem(client.get("/v1/events/1", headers=OTHER_KEY), 404) == "not-found"


def test_a_dead_event_can_be_replayed(client):
    deliver(client, 1)
    database.write("UPDATE inbox_event SET state = 'dead', attempts = 8, error = 'boom'")
    answer = send(client, "/v1/events/1/replay", b"")
    assert (answer.status_code, answer.json["state"], answer.json["error"]) == (202, "pending", None)
    assert problem(send(client, "/v1/events/2/replay", b""), 404) == "not-found"
    assert problem(send(client, "/v1/events/1/replay", b"", key=OTHER_KEY), 404) == "not-found"


def test_a_run_is_for_the_keys_app_and_as_if_it_were_now(client):
    lapsing = {"id": "a", "customer": "ada", "units": 5, "reason": "welcome", "expires_after": "10d"}
    for key in (KEY, OTHER_KEY):
        send(client, "/v1/adjustments", lapsing, key=key)
    later = (datetime.now(timezone.utc) + timedelta(days=11)).isoformat()
    answer = send(client, "/v1/runs/expire", {"now": later})
    assert (answer.status_code, answer.json["job"]) == (200, "expire")
    assert answer.json["counts"]
    assert database.read("SELECT app FROM entry WHERE type = 'expiry'") == [("ai-services",)]
    assert clock.offset() == timedelta(0)


@pytest.mark.parametrize("job", ["nonsense", "Expire", "expire%20"])
def test_an_unknown_job_is_404(client, job):
    assert problem(send(client, f"/v1/runs/{job}", {}), 404) == "not-found"


@pytest.mark.parametrize("content", [{"now": "tomorrow"}, {"now": 7}, {"then": "2026-01-01T00:00:00Z"}])
def test_a_bad_run_names_its_field(client, content):
    assert fields(send(client, "/v1/runs/expire", content)) == list(content)


def test_the_sandboxs_clock_moves_forward(client):
    answer = send(client, "/v1/sandbox/clock", {"advance": "31d"})
    moved = datetime.fromisoformat(answer.json["now"].replace("Z", "+00:00"))
    assert answer.status_code == 200
    assert abs(moved - datetime.now(timezone.utc) - timedelta(days=31)) < timedelta(minutes=1)
    for duration in ("10m", "45s", "2h"):
        assert send(client, "/v1/sandbox/clock", {"advance": duration}).status_code == 200
    assert clock.offset() == timedelta(days=31, minutes=10, seconds=45, hours=2)


BAD_MOVES = ["", "31", "d", "-1d", "+1d", "1.5d", "1w", "31 d", "0s", "99999d", "9999999999999d", 31, None]


@pytest.mark.parametrize("advance", BAD_MOVES)
def test_a_bad_move_of_the_clock_moves_nothing(client, advance):
    assert fields(send(client, "/v1/sandbox/clock", {"advance": advance})) == ["advance"]
    assert clock.offset() == timedelta(0)


def test_the_clock_stays_within_what_calendars_can_bear(client):
    answers = [send(client, "/v1/sandbox/clock", {"advance": "36500d"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 422, 422]


# --- without a key


def test_the_process_says_that_it_is_up(client):
    assert client.get("/healthz").json == {"status": "ok"}


def test_all_is_ready(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "oldest_due_seconds": {"usage": 0.0, "inbox": 0.0}}


def reasons(client: Any) -> str:
    answer = client.get("/readyz")
    assert problem(answer, 503) == "not-ready"
    assert answer.headers["Retry-After"]
    return " ".join(answer.json["reasons"])


def test_not_ready_without_redis(client, monkeypatch):
    import redis

    monkeypatch.setattr("web.ops._client", redis.Redis(port=1, socket_connect_timeout=1))
    assert reasons(client) == "Redis does not respond"


def test_not_ready_with_migrations_missing(client, monkeypatch):
    monkeypatch.setattr("models.schema.pending_migrations", lambda: ["0099_more"])
    assert "0099_more" in reasons(client)


def test_not_ready_without_a_database(client, without_database):
    assert "database" in reasons(client)


def test_not_ready_when_a_queue_does_not_move(client):
    send(client, "/v1/usage", REPORT)
    assert client.get("/readyz").status_code == 200
    database.write("UPDATE usage_queue SET next_attempt_at = next_attempt_at - interval '10 minutes'")
    assert "usage" in reasons(client)


def test_a_row_that_waits_for_its_next_attempt_and_a_dead_one_are_in_nobodys_way(client):
    for number in (1, 2):
        deliver(client, number)
    database.write("UPDATE inbox_event SET received_at = received_at - interval '1 day'")
    database.write("UPDATE inbox_event SET next_attempt_at = now() + interval '1 hour' WHERE event_id = 'evt_1'")
    database.write("UPDATE inbox_event SET state = 'dead' WHERE event_id = 'evt_2'")
    assert client.get("/readyz").status_code == 200


@pytest.fixture
def without_database(monkeypatch):
    """The database cannot be reached."""
    from models.errors import Unavailable

    def away(*args: Any, **named: Any) -> None:
        raise Unavailable("the database cannot be reached")

    monkeypatch.setattr("models.database.connection", away)


def metric(client: Any, name: str, *labels: str) -> float:
    """The value of the one sample with that name and those labels."""
    pattern = re.compile(rf"^{name}\{{(.*)\}} (\S+)$|^{name} (\S+)$", re.MULTILINE)
    found = [
        float(match[2] or match[3])
        for match in pattern.finditer(client.get("/metrics").text)
        if all(label in (match[1] or "") for label in labels)
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_metrics_tell_how_the_queues_stand(client):
    send(client, "/v1/usage", {"reports": [REPORT, {**REPORT, "id": "call-2"}]})
    deliver(client, 1)
    database.write("UPDATE usage_queue SET dead = true WHERE report_id = (SELECT min(report_id) FROM usage_queue)")
    database.write("UPDATE inbox_event SET received_at = received_at - interval '1 hour'")
    assert metric(client, "scrip_database_up") == 1
    assert metric(client, "scrip_queue_pending_rows", 'queue="usage"') == 1
    assert metric(client, "scrip_queue_dead_rows", 'queue="usage"') == 1
    assert metric(client, "scrip_queue_pending_rows", 'queue="inbox"') == 1
    assert metric(client, "scrip_queue_oldest_seconds", 'queue="inbox"') >= 3600
    assert metric(client, "scrip_queue_overdue_seconds", 'queue="inbox"') < 3600


def test_metrics_count_requests_by_route_and_status(client):
    labels = ('method="GET"', 'path="/v1/usage/{id}"', 'status="404"')
    client.get("/v1/usage/nothing", headers=KEY)
    before = metric(client, "scrip_http_request_seconds_count", *labels)
    client.get("/v1/usage/nothing-else", headers=KEY)
    assert metric(client, "scrip_http_request_seconds_count", *labels) == before + 1


def test_metrics_are_answered_without_a_database(client, without_database):
    assert metric(client, "scrip_database_up") == 0


def test_counts_of_the_dead_are_forgotten_only_when_nobody_lives(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv(metric_files.VARIABLE, str(tmp_path))
    nobody = tmp_path / "counter_999999999.db"
    me = tmp_path / f"histogram_{os.getpid()}.db"
    for file in (nobody, me, tmp_path / "note.txt"):
        file.touch()
    metric_files.share(tmp_path / "elsewhere")
    assert nobody.exists()
    me.unlink()
    metric_files.share(tmp_path / "elsewhere")
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]
