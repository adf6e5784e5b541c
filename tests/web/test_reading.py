"""The reading side over HTTP: who may read what, and in which shape."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from models import database
from models.ledger import entries
from tests.support.posting import grant, take
from web.api.entries import EntryType
from web.http import csv as csv_export

KEY = {"Authorization": "Bearer sk_sandbox_ai-services"}
CSV = {**KEY, "Accept": "text/csv"}
NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR = timedelta(hours=1)


def read(client: Any, path: str, expected: int = 200, **query: str) -> dict[str, Any]:
    response = client.get(path, headers=KEY, query_string=query)
    assert response.status_code == expected, response.json
    return response.json


def lines(client: Any, path: str, **query: str) -> list[list[str]]:
    response = client.get(path, headers=CSV, query_string=query)
    assert response.status_code == 200
    assert response.content_type == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(response.text)))


@pytest.fixture
def history(db):
    """Ada was given 100 two hours ago and has used 3 an hour ago."""
    grant("ada", 100, key="bonus:1", now=NOW - 2 * HOUR)
    meta = {"rate": "voice_call", "quantity": 123, "metadata": {"call": "7"}}
    take("ada", 3, key="usage:1", now=NOW - HOUR, meta=meta, reason="voice_call", actor="usage")


PATHS = (
    "/v1/catalog",
    "/v1/customers",
    "/v1/customers/ada",
    "/v1/customers/ada/balance",
    "/v1/customers/ada/entries",
    "/v1/customers/ada/stats",
    "/v1/customers/ada/explain",
    "/v1/entries",
    "/v1/entries/1",
    "/v1/operations",
)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_reads_without_a_key(client, path):
    assert client.get(path).status_code == 401


def test_the_catalog_shows_packs_rates_and_plans(client):
    seen = read(client, "/v1/catalog")
    assert (seen["app"], seen["unit"]) == ("ai-services", "credit")
    assert seen["packs"]["starter"]["price"] == {"amount": "10.00", "currency": "usd"}
    assert seen["rates"]["gpt4"]["per"] == 1000


def test_the_balance_has_its_lots_and_times_in_utc(client, history):
    seen = read(client, "/v1/customers/ada/balance")
    assert (seen["balance"], seen["available"], seen["held"], seen["debt"]) == (97, 97, 0, 0)
    (lot,) = seen["lots"]
    assert (lot["source"], lot["granted"], lot["remaining"], lot["expires_at"]) == ("bonus", 100, 97, None)
    assert seen["updated_at"] == (NOW - HOUR).isoformat().replace("+00:00", "Z")
    assert seen["as_of"].endswith("Z")


def test_the_balance_of_a_time_before_is_asked_with_any_offset(client, history):
    at = (NOW - 1.5 * HOUR).astimezone(timezone(timedelta(hours=9))).isoformat()
    assert read(client, "/v1/customers/ada/balance", as_of=at)["balance"] == 100


@pytest.mark.parametrize("at", ["2999-01-01T00:00:00Z", "yesterday", "2026-01-01", "2026-01-01T00:00:00"])
def test_a_time_that_cannot_be_is_a_422_that_names_it(client, at):
    problem = read(client, "/v1/customers/ada/balance", 422, as_of=at)
    assert problem["errors"][0]["field"] == "as_of"


def test_reading_of_a_customer_nobody_knows_shows_zeros_and_empty_lists(client):
    assert read(client, "/v1/customers/nobody/balance")["balance"] == 0
    assert read(client, "/v1/customers/nobody/entries") == {"entries": [], "next": None}
    assert read(client, "/v1/customers/nobody/stats")["last_entry"] is None
    assert read(client, "/v1/customers/nobody/explain")["lots"] == []
    assert read(client, "/v1/customers/nobody", 404)["status"] == 404


def test_entries_come_by_page(client, history):
    first = read(client, "/v1/customers/ada/entries", limit="1")
    second = read(client, "/v1/customers/ada/entries", limit="1", cursor=first["next"])
    assert [row["amount"] for row in first["entries"] + second["entries"]] == [-3, 100]
    assert second["next"] is None
    assert first["entries"][0]["metadata"] == {"rate": "voice_call", "quantity": 123, "call": "7"}


def test_entries_are_filtered_by_type_and_time(client, history):
    at = (NOW - HOUR).isoformat()
    assert len(read(client, "/v1/customers/ada/entries", **{"from": at})["entries"]) == 1
    assert read(client, "/v1/customers/ada/entries", to=at)["entries"][0]["type"] == "bonus"
    assert read(client, "/v1/entries", type="deduction", customer="ada")["entries"][0]["amount"] == -3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"type": "gift"}, "type"),
        ({"from": "now"}, "from"),
        ({"to": "7"}, "to"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"cursor": "%%%"}, "cursor"),
    ],
)
def test_a_bad_query_is_a_422_that_names_the_field(client, query, field):
    for path in ("/v1/customers/ada/entries", "/v1/entries"):
        assert read(client, path, 422, **query)["errors"][0]["field"] == field


@pytest.mark.parametrize("type_", get_args(EntryType))
def test_every_type_of_entry_can_be_asked_for(client, type_):
    assert read(client, "/v1/entries", type=type_)["entries"] == []


def test_csv_has_one_header_line_and_all_entries(client, history):
    header, *rows = lines(client, "/v1/customers/ada/entries", limit="1")
    assert header[:4] == ["id", "customer", "amount", "type"]
    assert [(row[1], row[2], row[3]) for row in rows] == [("ada", "-3", "deduction"), ("ada", "100", "bonus")]
    assert rows[0][header.index("metadata")] == '{"call":"7","rate":"voice_call","quantity":123}'
    assert rows[0][header.index("created_at")] == (NOW - HOUR).isoformat().replace("+00:00", "Z")


def test_csv_of_nothing_is_the_header_alone(client):
    assert len(lines(client, "/v1/customers/nobody/entries")) == 1


def test_csv_of_all_customers_can_be_filtered(client, history):
    grant("bob", 5, key="bonus:2", now=NOW)
    assert len(lines(client, "/v1/entries")) == 4
    assert [row[1] for row in lines(client, "/v1/entries", type="bonus")[1:]] == ["bob", "ada"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_csv_text_that_a_spreadsheet_would_run_is_quoted(client, db, start):
    grant("ada", 5, key="bonus:1", now=NOW, reason=f"{start}HYPERLINK()")
    header, row = lines(client, "/v1/customers/ada/entries")
    assert row[header.index("reason")] == f"'{start}HYPERLINK()"
    assert row[header.index("amount")] == "5"


def test_csv_is_read_in_chunks_and_no_line_is_lost_between_them(client, db, monkeypatch):
    grant("ada", 100, key="bonus:1", now=NOW)
    for number in range(11):
        take("ada", 1, key=f"usage:{number}", now=NOW)
    monkeypatch.setattr(csv_export, "LINES_A_CHUNK", 4)
    monkeypatch.setattr(entries, "CHUNK", 3)
    rows = lines(client, "/v1/customers/ada/entries")[1:]
    assert [row[2] for row in rows] == ["-1"] * 11 + ["100"]


def test_json_is_the_answer_to_those_who_take_anything(client, history):
    for accept in ("*/*", "text/html, */*;q=0.1", "application/json, text/csv"):
        response = client.get("/v1/customers/ada/entries", headers={**KEY, "Accept": accept})
        assert response.content_type == "application/json"


def test_one_entry_has_its_allocations(client, history):
    entry = read(client, "/v1/customers/ada/entries")["entries"][0]
    lot = read(client, "/v1/customers/ada/balance")["lots"][0]
    seen = read(client, f"/v1/entries/{entry['id']}")
    assert seen == {**entry, "allocations": [{"lot": lot["id"], "amount": -3}]}


@pytest.mark.parametrize("entry", ["0", "99999999", "abc", "1.5", "-1", str(2**64)])
def test_an_entry_that_is_not_there_is_a_404(client, entry):
    read(client, f"/v1/entries/{entry}", 404)


def test_another_apps_entries_do_not_exist(client, db):
    entry_id = grant("eve", 5, key="bonus:1", now=NOW, app="songs").entry_id
    read(client, f"/v1/entries/{entry_id}", 404)
    assert read(client, "/v1/entries")["entries"] == []
    assert read(client, "/v1/customers/eve/balance")["balance"] == 0


def test_stats_and_explain_agree_with_the_balance(client, history):
    stats = read(client, "/v1/customers/ada/stats")
    assert (stats["balance"], stats["total_granted"], stats["total_spent"]) == (97, 100, 3)
    assert stats["by_rate"] == {"voice_call": 3}
    assert stats["last_entry"]["amount"] == -3
    told = read(client, "/v1/customers/ada/explain")
    assert (told["balance"], told["debt"]) == (97, 0)
    assert [(part["type"], part["units"]) for part in told["lots"][0]["took"]] == [("deduction", 3)]


def patch(client: Any, customer: str, body: Any, status: int = 200) -> dict[str, Any]:
    response = client.patch(f"/v1/customers/{customer}", headers=KEY, json=body)
    assert response.status_code == status, response.json
    return response.json


def test_a_customer_is_made_changed_found_and_shown(client):
    made = patch(client, "ada", {"tier": "gold", "email": "ada@example.com"})
    assert made == read(client, "/v1/customers/ada")
    assert (made["tier"], made["timezone"], made["activation_key"]) == ("gold", None, None)
    changed = patch(client, "ada", {"tier": None, "timezone": "Europe/London"})
    assert (changed["tier"], changed["email"], changed["timezone"]) == (None, "ada@example.com", "Europe/London")
    found = read(client, "/v1/customers", query="EXAMPLE")
    assert found == {"customers": [changed], "next": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tier": 7}, "tier"),
        ({"tier": ""}, "tier"),
        ({"email": "nobody"}, "email"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"balance": 5}, "balance"),
        ([], "body"),
    ],
)
def test_a_bad_patch_names_the_field_and_makes_no_customer(client, body, field):
    assert patch(client, "ada", body, 422)["errors"][0]["field"] == field
    assert database.read("SELECT count(*) FROM account") == [(0,)]


def test_the_operation_log_is_read_with_filters(client, history):
    seen = read(client, "/v1/operations", customer="ada", status="SUCCESS", limit="1")
    (line,) = seen["operations"]
    assert (line["operation"], line["details"]["key"]) == ("TRACK_USAGE", "usage:1")
    rest = read(client, "/v1/operations", customer="ada", status="SUCCESS", cursor=seen["next"])
    assert [line["details"]["key"] for line in rest["operations"]] == ["bonus:1"]
    assert read(client, "/v1/operations", 422, status="DONE")["errors"][0]["field"] == "status"


def test_a_customers_token_reads_that_customer_alone(client, history):
    answer = client.post("/v1/customers/ada/tokens", headers=KEY, json={})
    assert answer.status_code == 201, answer.json
    token = {"Authorization": f"Bearer {answer.json['token']}"}
    for path in ("balance", "entries", "stats", "explain"):
        assert client.get(f"/v1/customers/ada/{path}", headers=token).status_code == 200
        assert client.get(f"/v1/customers/bob/{path}", headers=token).status_code == 403
    for path in ("/v1/entries", "/v1/operations", "/v1/customers"):
        assert client.get(path, headers=token).status_code == 403
