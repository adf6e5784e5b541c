"""Input at the edge of what can be written down: stored whole or refused by name, and always readable."""

from __future__ import annotations

import pytest

from models import clock
from tests.support.cast import give, settle_all
from tests.support.web_calls import KEY, problem, send


def nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


HUGE = ["123456789012345678901234567890", "1e20", "-9223372036854775809", "18446744073709551616"]


@pytest.mark.parametrize("number", HUGE)
def test_a_number_of_any_size_in_metadata_can_be_read_back(client, number: str) -> None:
    give("ada", 100, now=clock.now())
    body = f'{{"id": "big", "customer": "ada", "rate": "sms", "quantity": 1, "metadata": {{"n": {number}}}}}'.encode()
    assert send(client, "/v1/usage", body).status_code == 202
    assert send(client, "/v1/charges", body).status_code == 201
    assert settle_all(now=clock.now()) == 1
    for path in ("/v1/usage", "/v1/usage/big", "/v1/entries", "/v1/customers/ada/entries", "/v1/customers/ada/stats"):
        answer = client.get(path, headers=KEY)
        assert answer.status_code == 200, path
    assert client.get("/v1/usage/big", headers=KEY).get_json()["state"] == "settled"
    assert client.get("/v1/operations?customer=ada", headers=KEY).status_code == 200


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/charges"])
def test_metadata_that_is_nested_too_deep_is_refused_by_name(client, path: str) -> None:
    give("ada", 100, now=clock.now())
    body = {"id": "deep", "customer": "ada", "rate": "sms", "quantity": 1}
    assert send(client, path, {**body, "metadata": nested(32)}).status_code in (201, 202)
    for levels in (33, 200):
        assert problem(send(client, path, {**body, "id": "deeper", "metadata": nested(levels)}), 422) == "invalid"


def test_every_bad_report_is_named_whatever_is_wrong_with_it(client) -> None:
    reports = [
        {"id": "a", "customer": "ada", "rate": "sms", "quantity": 1},
        {"id": "b", "customer": "ada", "rate": "zz", "quantity": -1},
        {"id": "c", "customer": "ada", "rate": "zz", "quantity": 1},
        7,
    ]
    errors = send(client, "/v1/usage", {"reports": reports}).get_json()["errors"]
    assert [error["field"] for error in errors] == [
        "reports[1].quantity",
        "reports[1].rate",
        "reports[2].rate",
        "reports[3]",
    ]


def test_what_the_engine_noted_on_an_entry_is_not_hidden_by_metadata(client) -> None:
    give("ada", 100, now=clock.now())
    forged = {"rate": "forged", "quantity": -5, "mine": True}
    body = {"id": "f", "customer": "ada", "rate": "sms", "quantity": 1, "metadata": forged}
    entry = send(client, "/v1/charges", body).get_json()["entry"]
    shown = client.get(f"/v1/entries/{entry}", headers=KEY).get_json()["metadata"]
    assert (shown["rate"], shown["quantity"], shown["mine"]) == ("sms", 1, True)


def test_a_cursor_of_another_list_is_refused(client) -> None:
    for number in range(3):
        give("ada", 1, now=clock.now(), key=f"g:{number}")
    following = client.get("/v1/customers/ada/entries?limit=1", headers=KEY).get_json()["next"]
    assert client.get(f"/v1/customers/ada/entries?limit=1&cursor={following}", headers=KEY).status_code == 200
    for path in ("/v1/entries", "/v1/customers", "/v1/usage", "/v1/events", "/v1/operations"):
        assert problem(client.get(f"{path}?cursor={following}", headers=KEY), 422) == "invalid"


def test_a_repeat_gets_the_same_answer_to_the_byte(client) -> None:
    body = {"id": "a1", "customer": "ada", "units": 5, "reason": "x"}
    assert send(client, "/v1/adjustments", body).data == send(client, "/v1/adjustments", body).data
