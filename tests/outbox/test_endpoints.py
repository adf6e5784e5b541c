"""Endpoints and deliveries over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from jobs.outbox import sender
from models import clock, database
from models.access import keys
from models.outbox.messages import Message, emit
from tests.support.peers.receivers import receiving
from tests.support.web_calls import KEY, OTHER_KEY, bearer, fields, problem, rows, send

ENDPOINT = {"id": "main", "url": "https://app.example/hook", "events": ["balance.low"]}


def create(client: Any, **more: Any) -> dict[str, Any]:
    answer = send(client, "/v1/endpoints", {**ENDPOINT, **more})
    assert answer.status_code == 201, answer.json
    return answer.json


def call(client: Any, method: str, path: str, key: dict[str, str] = KEY) -> Any:
    return client.open(path, method=method, headers=key)


def say(customer: str = "ada") -> None:
    message = Message("ai-services", "balance.low", customer, {"balance": 5})
    database.transaction(lambda conn: emit(conn, [message], now=clock.now()))


def listed(client: Any, path: str = "/v1/deliveries", key: dict[str, str] = KEY) -> list[dict[str, Any]]:
    answer = call(client, "GET", path, key)
    assert answer.status_code == 200, answer.json
    return answer.json["endpoints" if "endpoints" in path else "deliveries"]


def test_an_endpoint_is_made_and_listed_without_its_secret(client: Any) -> None:
    made = create(client)
    assert made["secret"].startswith("whsec_")
    assert (made["id"], made["url"], made["events"], made["status"]) == (*ENDPOINT.values(), "enabled")
    (shown,) = listed(client, "/v1/endpoints")
    assert shown == {name: value for name, value in made.items() if name != "secret"}


def test_the_same_again_is_answered_alike_and_other_content_is_a_conflict(client: Any) -> None:
    made = create(client)
    again = send(client, "/v1/endpoints", ENDPOINT)
    assert (again.status_code, again.json) == (200, made)
    assert problem(send(client, "/v1/endpoints", {**ENDPOINT, "events": []}), 409) == "conflict"
    assert problem(send(client, "/v1/endpoints", {**ENDPOINT, "url": "https://b.example"}), 409) == "conflict"
    assert rows("endpoint") == 1


def test_without_an_id_each_is_a_new_one(client: Any) -> None:
    ids = {send(client, "/v1/endpoints", {"url": ENDPOINT["url"]}).json["id"] for _ in range(3)}
    assert len(ids) == 3
    pages = [call(client, "GET", "/v1/endpoints?limit=2").json]
    pages.append(call(client, "GET", f"/v1/endpoints?limit=2&cursor={pages[0]['next']}").json)
    assert {it["id"] for page in pages for it in page["endpoints"]} == ids
    assert pages[1]["next"] is None


def test_one_id_sent_ten_times_at_once_makes_one_endpoint(client: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from web.app import create_app

    web = create_app()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(web.test_client(), "/v1/endpoints", ENDPOINT), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json["secret"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": 7}, "url"),
        ({"url": ""}, "url"),
        ({"url": "https://10.0.0.1"}, "url"),
        ({"url": "https://a.example/\x00"}, "url"),
        ({"events": "balance.low"}, "events"),
        ({"events": ["balance.low", "balance.high"]}, "events[1]"),
        ({"events": [1]}, "events[0]"),
        ({"id": "a/b"}, "id"),
        ({"secret": "whsec_x"}, "secret"),
    ],
)
def test_bad_content_is_refused_by_the_name_of_its_field(client: Any, change: dict[str, Any], field: str) -> None:
    assert fields(send(client, "/v1/endpoints", {**ENDPOINT, **change})) == [field]
    assert rows("endpoint") == 0


def test_a_url_is_required(client: Any) -> None:
    assert fields(send(client, "/v1/endpoints", {})) == ["url"]


def test_a_deleted_endpoint_is_gone_and_its_id_free(client: Any) -> None:
    first = create(client)
    assert call(client, "DELETE", "/v1/endpoints/main").json == {"id": "main", "deleted": True}
    assert listed(client, "/v1/endpoints") == []
    assert call(client, "DELETE", "/v1/endpoints/main").status_code == 404
    assert create(client)["secret"] != first["secret"]


def test_rotating_answers_with_a_new_secret(client: Any) -> None:
    made = create(client)
    answer = send(client, "/v1/endpoints/main/rotate", b"")
    assert answer.status_code == 200
    assert answer.json["secret"] != made["secret"]
    assert answer.json["old_secret_until"] > made["created_at"]


def test_a_test_message_goes_to_its_endpoint_whatever_it_wants(client: Any) -> None:
    with receiving() as receiver:
        made = create(client, url=receiver.url)
        create(client, id="other", events=None)
        answer = send(client, "/v1/endpoints/main/test", b"")
        assert (answer.status_code, answer.json["type"], answer.json["state"]) == (202, "endpoint.test", "pending")
        sender.deliver_due(now=clock.now())
        data = {"app": "ai-services", "customer": None, "endpoint": "main"}
        assert receiver.verified(made["secret"])["data"] == data
    (delivery,) = listed(client)
    assert (delivery["id"], delivery["state"], delivery["endpoint"]) == (answer.json["id"], "delivered", "main")
    assert delivery["payload"] == receiver.told[0]


def test_a_disabled_endpoint_says_why_and_is_enabled_again(client: Any) -> None:
    with receiving(410) as receiver:
        create(client, url=receiver.url)
        say()
        sender.deliver_due(now=clock.now())
    (shown,) = listed(client, "/v1/endpoints")
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "the endpoint returned 410 Gone")
    (delivery,) = listed(client, "/v1/deliveries?state=failed&customer=ada&endpoint=main&type=balance.low")
    assert problem(send(client, "/v1/endpoints/main/test", b""), 409) == "conflict"
    assert problem(send(client, f"/v1/deliveries/{delivery['id']}/replay", b""), 409) == "conflict"
    assert send(client, "/v1/endpoints/main/enable", b"").json["status"] == "enabled"
    replayed = send(client, f"/v1/deliveries/{delivery['id']}/replay", b"")
    assert (replayed.status_code, replayed.json["state"]) == (202, "pending")
    errors = call(client, "GET", "/v1/operations?status=ERROR").json["operations"]
    assert [it["details"]["endpoint"] for it in errors if it["operation"] == "WEBHOOK"] == ["main"]


def test_a_delivery_shows_what_it_carries(client: Any) -> None:
    create(client)
    say()
    (delivery,) = listed(client)
    assert delivery["message_id"].startswith("msg_")
    assert (delivery["state"], delivery["attempts"], delivery["status_code"], delivery["error"]) == (
        "pending",
        0,
        None,
        None,
    )
    assert delivery["payload"]["data"] == {"app": "ai-services", "customer": "ada", "balance": 5}
    assert delivery["payload"]["timestamp"] == delivery["created_at"]


@pytest.mark.parametrize("query", ["state=sent", "cursor=x", "limit=0", "customer=%00"])
def test_a_bad_filter_is_refused(client: Any, query: str) -> None:
    assert fields(call(client, "GET", f"/v1/deliveries?{query}")) == [query.partition("=")[0]]


def test_another_app_sees_and_changes_nothing(client: Any) -> None:
    create(client)
    say()
    (delivery,) = listed(client)
    for method, path in (
        ("DELETE", "/v1/endpoints/main"),
        ("POST", "/v1/endpoints/main/rotate"),
        ("POST", "/v1/endpoints/main/enable"),
        ("POST", "/v1/endpoints/main/test"),
        ("POST", f"/v1/deliveries/{delivery['id']}/replay"),
    ):
        assert problem(call(client, method, path, OTHER_KEY), 404) == "not-found"
    assert listed(client, "/v1/endpoints", OTHER_KEY) == []
    assert listed(client, "/v1/deliveries?customer=ada", OTHER_KEY) == []
    other = send(client, "/v1/endpoints", ENDPOINT, key=OTHER_KEY)
    assert other.status_code == 201


def test_only_the_scope_admin_may(client: Any, now: datetime) -> None:
    key = bearer(keys.create("ai-services", ["read", "write"], now=now))
    for method, path in (
        ("GET", "/v1/endpoints"),
        ("GET", "/v1/deliveries"),
        ("POST", "/v1/endpoints"),
        ("DELETE", "/v1/endpoints/main"),
        ("POST", "/v1/deliveries/1/replay"),
    ):
        assert problem(call(client, method, path, key), 403) == "forbidden"


def test_the_outbox_is_measured_and_does_not_make_scrip_unready(client: Any) -> None:
    create(client)
    say()
    database.write("UPDATE outbox_delivery SET next_attempt_at = now() - interval '1 hour'")
    metrics = call(client, "GET", "/metrics").get_data(as_text=True)
    assert 'scrip_queue_pending_rows{queue="outbox"} 1.0' in metrics
    assert call(client, "GET", "/readyz").json["oldest_due_seconds"].keys() == {"usage", "inbox"}
