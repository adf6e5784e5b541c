"""POST /v1/usage and what became of a report, over HTTP."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from models import database
from tests.support.web_calls import KEY, MIB, OTHER_KEY, REPORT, fields, problem, rows, send, without
from web.api.usage import MOST_REPORTS


def reports(count: int) -> list[dict[str, Any]]:
    return [{**REPORT, "id": f"call-{number}"} for number in range(count)]


def test_a_report_is_accepted_and_can_be_read(client):
    answer = send(
        client, "/v1/usage", {**REPORT, "metadata": {"k": [1, None]}, "occurred_at": "2026-01-31T13:00:00+02:00"}
    )
    assert (answer.status_code, answer.json) == (202, {"accepted": 1, "duplicates": 0})
    stored = client.get("/v1/usage/call-1", headers=KEY).json
    assert stored["received_at"].endswith("Z")
    assert without(stored, "received_at") == {
        **REPORT,
        "lines": None,
        "state": "pending",
        "units": 0,
        "shortfall": 0,
        "entry": None,
        "settled_at": None,
        "occurred_at": "2026-01-31T11:00:00Z",
        "metadata": {"k": [1, None]},
        "error": None,
    }


def test_a_report_that_comes_again_is_a_duplicate(client):
    send(client, "/v1/usage", REPORT)
    later = {**REPORT, "metadata": {"try": 2}, "occurred_at": "2026-01-31T12:00:00Z"}
    assert send(client, "/v1/usage", later).json == {"accepted": 0, "duplicates": 1}
    assert rows("usage_report") == 1


def test_an_id_with_other_content_is_a_conflict_and_none_of_its_batch_is_stored(client):
    send(client, "/v1/usage", REPORT)
    answer = send(client, "/v1/usage", {"reports": [{**REPORT, "id": "new"}, {**REPORT, "quantity": 124}]})
    assert problem(answer, 409) == "conflict"
    assert rows("usage_report") == 1


def test_a_batch_of_a_thousand_is_accepted_and_one_more_is_not(client):
    assert send(client, "/v1/usage", {"reports": reports(MOST_REPORTS)}).json["accepted"] == MOST_REPORTS
    assert fields(send(client, "/v1/usage", {"reports": reports(MOST_REPORTS + 1)})) == ["reports"]
    assert rows("usage_report") == MOST_REPORTS


def test_every_bad_item_of_a_batch_is_named_and_none_is_stored(client):
    batch = [
        REPORT,
        {**REPORT, "quantity": -1},
        {**REPORT, "customer": "a/b", "id": ""},
        without(REPORT, "rate"),
        "a report",
        {**REPORT, "colour": "red"},
    ]
    assert set(fields(send(client, "/v1/usage", {"reports": batch}))) == {
        "reports[1].quantity",
        "reports[2].customer",
        "reports[2].id",
        "reports[3].rate",
        "reports[4]",
        "reports[5].colour",
    }
    assert rows("usage_report") == 0


def test_every_unknown_rate_of_a_batch_is_named(client):
    batch = [REPORT, {**REPORT, "id": "2", "rate": "nope"}, {**REPORT, "id": "3", "rate": "voice call"}]
    assert fields(send(client, "/v1/usage", {"reports": batch})) == ["reports[1].rate", "reports[2].rate"]
    assert fields(send(client, "/v1/usage", {**REPORT, "rate": "nope"})) == ["rate"]
    assert rows("usage_report") == 0


WRONG: list[tuple[str, Any]] = [
    ("id", ""),
    ("id", "x" * 121),
    ("id", "a/b"),
    ("id", "a\\b"),
    ("id", "a\nb"),
    ("id", "a\x85b"),
    ("id", "."),
    ("id", ".."),
    ("id", 7),
    ("id", None),
    ("customer", ""),
    ("customer", "a/b"),
    ("customer", ["ada"]),
    ("customer", "a\0b"),
    ("rate", ""),
    ("rate", 1),
    ("quantity", -1),
    ("quantity", 10**12 + 1),
    ("quantity", 10**30),
    ("quantity", "7"),
    ("quantity", 1.0),
    ("quantity", 1.5),
    ("quantity", True),
    ("quantity", None),
    ("occurred_at", "2026-01-31"),
    ("occurred_at", "2026-01-31T12:00:00"),
    ("occurred_at", "2026-02-30T12:00:00Z"),
    ("occurred_at", "0001-01-01T00:00:00+23:00"),
    ("occurred_at", 1_700_000_000),
    ("metadata", []),
    ("metadata", "text"),
    ("metadata", {"long": "x" * 17_000}),
    ("unknown", 1),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_wrong_field_is_named_and_nothing_stored(client, field, value):
    body = str({**REPORT, field: value}) if value == 10**30 else {**REPORT, field: value}
    content = body.replace("'", '"').encode() if isinstance(body, str) else body
    assert fields(send(client, "/v1/usage", content)) == [field]
    assert rows("usage_report") == 0


@pytest.mark.parametrize("field", sorted(REPORT))
def test_a_missing_field_is_named(client, field):
    assert fields(send(client, "/v1/usage", without(REPORT, field))) == [field]


@pytest.mark.parametrize("quantity", [0, 10**12])
def test_the_limits_of_a_quantity_are_quantities(client, quantity):
    assert send(client, "/v1/usage", {**REPORT, "quantity": quantity}).status_code == 202


@pytest.mark.parametrize("name", ["x" * 120, "😀" * 120, "user@example.com", "a b%20c?#", "...", "ÿ", "%2F"])
def test_an_id_of_any_other_characters_is_stored_and_found(client, name):
    from urllib.parse import quote

    assert send(client, "/v1/usage", {**REPORT, "id": name}).status_code == 202
    assert client.get(f"/v1/usage/{quote(name, safe='')}", headers=KEY).json["id"] == name


BAD_JSON = (
    b"",
    b"{",
    b"[1,]",
    b'{"id": NaN}',
    b'{"quantity": Infinity}',
    b'{"id": "\xff"}',
    b"\xef\xbb\xbf{}",
    b"'x'",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"id": "a\nb"}',
)


@pytest.mark.parametrize("data", BAD_JSON, ids=lambda data: repr(data[:16]))
def test_bad_json_is_400(client, data):
    assert problem(send(client, "/v1/usage", data), 400) == "bad-request"


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b'"text"', b"true"])
def test_json_that_is_no_object_is_422(client, data):
    assert fields(send(client, "/v1/usage", data)) == ["body"]


@pytest.mark.parametrize("content", [{"reports": {}}, {"reports": None}, {"reports": "x"}, {"reports": []}])
def test_reports_are_a_list_with_something_in_it(client, content):
    assert fields(send(client, "/v1/usage", content)) == ["reports"]


def test_a_batch_has_no_fields_beside_its_reports(client):
    assert fields(send(client, "/v1/usage", {"reports": [REPORT], "id": "x"})) == ["id"]


STORED_NOWHERE = (
    (b'{"id":"a\\u0000","customer":"ada","rate":"sms","quantity":1}', ["id"]),
    (b'{"id":"a","customer":"\\ud83d","rate":"sms","quantity":1}', ["customer"]),
    (b'{"id":"a","customer":"ada","rate":"sms","quantity":1,"metadata":{"k":["x\\u0000"]}}', ["metadata.k[0]"]),
    (b'{"id":"a","customer":"ada","rate":"sms","quantity":1,"metadata":{"\\uDC00":1}}', ["metadata"]),
    (b'{"reports":[{"id":"a\\u0000","customer":"ada","rate":"sms","quantity":1}]}', ["reports[0].id"]),
)


@pytest.mark.parametrize(("data", "named"), STORED_NOWHERE)
def test_characters_that_cannot_be_stored_are_named(client, data, named):
    assert fields(send(client, "/v1/usage", data)) == named


def test_escapes_of_good_characters_are_good(client):
    data = b'{"id":"\\ud83d\\ude00\\u00e9\\\\u0000"' + b',"customer":"ada","rate":"sms","quantity":1}'
    assert fields(send(client, "/v1/usage", data)) == ["id"], "a backslash is none of an id's characters"
    data = b'{"id":"\\ud83d\\ude00","customer":"ada","rate":"sms","quantity":1,"metadata":{"k":"\\\\u0000"}}'
    assert send(client, "/v1/usage", data).status_code == 202
    assert database.read("SELECT external_id, metadata FROM usage_report") == [("😀", {"k": "\\u0000"})]


def test_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not(client):
    padded = b'{"id":"call-1","customer":"ada","rate":"sms","quantity":1}'
    assert send(client, "/v1/usage", padded + b" " * (MIB - len(padded))).status_code == 202
    assert problem(send(client, "/v1/usage", padded + b" " * (MIB + 1 - len(padded))), 413) == "too-large"
    assert rows("usage_report") == 1


def test_json_is_read_whatever_its_content_type(client):
    answer = client.post("/v1/usage", json=REPORT, headers=KEY, content_type="text/plain")
    assert answer.status_code == 202
    assert answer.content_type == "application/json"


def test_of_a_name_that_stands_twice_the_last_counts(client):
    data = b'{"id":"a","id":"b","customer":"ada","rate":"sms","quantity":1}'
    assert send(client, "/v1/usage", data).status_code == 202
    assert client.get("/v1/usage/b", headers=KEY).status_code == 200


def test_another_apps_report_is_not_there(client):
    send(client, "/v1/usage", REPORT)
    assert problem(client.get("/v1/usage/call-1", headers=OTHER_KEY), 404) == "not-found"
    assert client.get("/v1/usage", headers=OTHER_KEY).json == {"reports": [], "next": None}


def test_reports_are_listed_newest_first_in_pages(client):
    send(client, "/v1/usage", {"reports": [REPORT, {**REPORT, "id": "call-2"}]})
    send(client, "/v1/usage", {**REPORT, "id": "call-3", "customer": "bo"})
    first = client.get("/v1/usage?limit=2", headers=KEY).json
    rest = client.get(f"/v1/usage?limit=2&cursor={first['next']}", headers=KEY).json
    assert [report["id"] for report in first["reports"] + rest["reports"]] == ["call-3", "call-2", "call-1"]
    assert rest["next"] is None


def test_reports_are_listed_by_customer_and_state(client):
    send(client, "/v1/usage", {"reports": [REPORT, {**REPORT, "id": "call-2", "customer": "bo"}]})

    def ids(query: str) -> list[str]:
        return [report["id"] for report in client.get(f"/v1/usage?{query}", headers=KEY).json["reports"]]

    assert ids("customer=bo") == ["call-2"]
    assert ids("customer=nobody") == []
    assert ids("state=settled") == []
    assert ids("customer=&state=&limit=") == ["call-2", "call-1"]


BAD_QUERIES = (
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=-1", "limit"),
    ("limit=1.0", "limit"),
    ("limit=%2b1", "limit"),
    ("limit=x", "limit"),
    ("limit=²", "limit"),
    ("state=Pending", "state"),
    ("customer=a%2Fb", "customer"),
    ("customer=a%00b", "customer"),
    ("cursor=nonsense", "cursor"),
    ("cursor=%00", "cursor"),
)


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES)
def test_a_malformed_query_is_named(client, query, field):
    assert fields(client.get(f"/v1/usage?{query}", headers=KEY)) == [field]


@pytest.mark.parametrize("id", ["%2E", "%2E%2E", "a%5Cb", "a%00b", "a%0Ab", "x" * 121, "%FF"])
def test_an_id_in_a_path_obeys_the_same_rule(client, id):
    assert fields(client.get(f"/v1/usage/{id}", headers=KEY)) == ["id"]


def test_an_escaped_slash_in_a_path_is_a_bad_id(client):
    assert fields(client.get("/v1/usage/a%2Fb", headers=KEY)) == ["path"]
    assert fields(client.get("/v1/usage/%2Fb", headers=KEY)) == ["path"]


def test_a_report_that_is_pending_cannot_be_replayed(client):
    send(client, "/v1/usage", REPORT)
    assert problem(send(client, "/v1/usage/call-1/replay", b""), 409) == "conflict"
    assert problem(send(client, "/v1/usage/call-2/replay", b""), 404) == "not-found"


def test_a_dead_report_can_be_replayed(client):
    send(client, "/v1/usage", REPORT)
    database.write("UPDATE usage_report SET state = 'dead'")
    database.write("UPDATE usage_queue SET dead = true, error = 'boom'")
    assert client.get("/v1/usage/call-1", headers=KEY).json["error"] == "boom"
    answer = send(client, "/v1/usage/call-1/replay", b"")
    assert (answer.status_code, answer.json["state"], answer.json["error"]) == (202, "pending", None)


def test_what_is_accepted_is_received_now(client):
    before = datetime.now(timezone.utc)
    send(client, "/v1/usage", REPORT)
    received_at = datetime.fromisoformat(
        client.get("/v1/usage/call-1", headers=KEY).json["received_at"].replace("Z", "+00:00")
    )
    assert before <= received_at <= datetime.now(timezone.utc)
