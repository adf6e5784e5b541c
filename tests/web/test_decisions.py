"""Charges, holds, quotes and corrections over HTTP: shapes, refusals, the same again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from jobs.inbox import events
from models import clock, cycles
from tests.support.providers.stripe_events import event, subscription
from tests.support.web_calls import KEY, OTHER_KEY, fields, problem, rows, send, without

CHARGE = {"id": "c1", "customer": "ada", "rate": "voice_call", "quantity": 123}
HOLD = {"id": "h1", "customer": "ada", "units": 10, "expires_in": 600}
ADJUSTMENT = {"id": "a1", "customer": "ada", "units": 100, "reason": "welcome"}
REFUND = {"id": "r1", "entry": 1, "reason": "it broke off"}


@pytest.fixture
def ada(client):
    """Ada has 100 credits."""
    assert send(client, "/v1/adjustments", ADJUSTMENT).status_code == 201
    return client


def available(client: Any, customer: str = "ada") -> int:
    return int(client.get(f"/v1/customers/{customer}/balance", headers=KEY).json["available"])


def test_a_charge_takes_units_and_the_same_again_is_answered_alike(ada):
    first, again = send(ada, "/v1/charges", CHARGE), send(ada, "/v1/charges", {**CHARGE, "metadata": {"try": 2}})
    assert first.status_code == 201
    assert without(first.json, "entry") == {"id": "c1", "units": 3, "balance": 97}
    assert isinstance(first.json["entry"], int)
    assert (again.status_code, again.json) == (200, first.json)
    assert available(ada) == 97


def test_the_same_id_with_other_content_is_a_conflict(ada):
    send(ada, "/v1/charges", CHARGE)
    for change in ({"quantity": 124}, {"customer": "bo"}, {"rate": "sms"}):
        assert problem(send(ada, "/v1/charges", {**CHARGE, **change}), 409) == "conflict"
    assert available(ada) == 97


def test_a_charge_of_too_much_is_402_and_takes_nothing(ada):
    refused = send(ada, "/v1/charges", {"id": "c2", "customer": "ada", "units": 101})
    assert problem(refused, 402) == "insufficient-balance"
    assert (refused.json["balance"], refused.json["required"]) == (100, 101)
    assert available(ada) == 100
    send(ada, "/v1/adjustments", {**ADJUSTMENT, "id": "a2", "units": 1})
    assert send(ada, "/v1/charges", {"id": "c2", "customer": "ada", "units": 101}).status_code == 201


def test_a_charge_of_no_units_has_no_entry(client):
    answer = send(client, "/v1/charges", {**CHARGE, "quantity": 0})
    assert (answer.status_code, answer.json) == (201, {"id": "c1", "units": 0, "balance": 0, "entry": None})


def test_two_apps_may_use_the_same_ids(ada):
    send(ada, "/v1/adjustments", {**ADJUSTMENT, "units": 5}, key=OTHER_KEY)
    charge = {"id": "c1", "customer": "ada", "units": 5}
    assert send(ada, "/v1/charges", charge).json["balance"] == 95
    assert send(ada, "/v1/charges", charge, key=OTHER_KEY).json["balance"] == 0


UNITS = [0, -1, 10**12 + 1, "7", 1.5, 7.0, True, [], {}]
BAD_CHARGES: list[tuple[dict[str, Any], list[str]]] = [
    *[({"units": units, "rate": None, "quantity": None}, ["units"]) for units in UNITS],
    ({"units": 3}, ["rate"]),
    ({"rate": None, "units": 3}, ["quantity"]),
    ({"rate": None, "quantity": None}, ["rate"]),
    ({"rate": None}, ["rate"]),
    ({"quantity": None}, ["quantity"]),
    ({"quantity": -1}, ["quantity"]),
    ({"quantity": 10**12 + 1}, ["quantity"]),
    ({"quantity": True}, ["quantity"]),
    ({"rate": "nope"}, ["rate"]),
    ({"id": "a/b"}, ["id"]),
    ({"id": ""}, ["id"]),
    ({"id": 1, "customer": ".."}, ["id", "customer"]),
    ({"customer": None}, ["customer"]),
    ({"metadata": "x"}, ["metadata"]),
    ({"colour": None}, ["colour"]),
    ({"unit": 3}, ["unit"]),
]


@pytest.mark.parametrize(("change", "named"), BAD_CHARGES)
def test_a_bad_charge_names_its_fields_and_stores_nothing(client, change, named):
    assert sorted(fields(send(client, "/v1/charges", {**CHARGE, **change}))) == sorted(named)
    assert rows("account") == rows("request") == 0


@pytest.mark.parametrize("path", ["/v1/charges", "/v1/holds", "/v1/adjustments", "/v1/refunds", "/v1/sandbox/clock"])
def test_a_body_is_needed_and_must_be_json_and_an_object(client, path):
    assert problem(send(client, path, b""), 400) == "bad-request"
    assert problem(send(client, path, b'{"units": NaN}'), 400) == "bad-request"
    assert fields(send(client, path, b"[]")) == ["body"]
    assert problem(send(client, path, b" " * (1024 * 1024 + 1)), 413) == "too-large"


def test_a_hold_sets_units_aside_and_a_capture_spends_them(ada):
    held = send(ada, "/v1/holds", HOLD)
    assert held.status_code == 201
    assert without(held.json, "expires_at") == {"id": "h1", "units": 10, "state": "held", "available": 90}
    assert held.json["expires_at"].endswith("Z")
    assert send(ada, "/v1/holds", HOLD).json == held.json
    captured = send(ada, "/v1/holds/h1/capture", {"units": 7})
    assert (captured.status_code, captured.json) == (200, {"id": "h1", "state": "captured", "units": 7, "balance": 93})
    assert send(ada, "/v1/holds/h1/capture", {"units": 7}).json == captured.json
    assert problem(send(ada, "/v1/holds/h1/release", b""), 409) == "conflict"
    assert available(ada) == 93


def test_a_capture_without_a_body_spends_all(ada):
    send(ada, "/v1/holds", HOLD)
    assert send(ada, "/v1/holds/h1/capture", b"").json["units"] == 10


def test_a_capture_of_nothing_gives_all_back(ada):
    send(ada, "/v1/holds", HOLD)
    assert send(ada, "/v1/holds/h1/capture", {"units": 0}).json["units"] == 0
    assert available(ada) == 100


def test_a_released_hold_is_free_again(ada):
    send(ada, "/v1/holds", HOLD)
    released = send(ada, "/v1/holds/h1/release", {})
    assert (released.status_code, released.json["state"], released.json["balance"]) == (200, "released", 100)
    assert send(ada, "/v1/holds/h1/release", b"").json == released.json
    assert problem(send(ada, "/v1/holds/h1/capture", {}), 409) == "conflict"
    assert available(ada) == 100


def test_a_hold_of_too_much_is_402(ada):
    refused = send(ada, "/v1/holds", {**HOLD, "units": 101})
    assert problem(refused, 402) == "insufficient-balance"
    assert (refused.json["balance"], refused.json["required"]) == (100, 101)


BAD_HOLDS: list[tuple[dict[str, Any], str]] = [
    ({"expires_in": 59}, "expires_in"),
    ({"expires_in": 86_401}, "expires_in"),
    ({"expires_in": "600"}, "expires_in"),
    ({"units": 0}, "units"),
    ({"units": 10.0}, "units"),
    ({"rate": "sms"}, "rate"),
    ({"metadata": []}, "metadata"),
    ({"reason": ""}, "reason"),
    ({"note": "x"}, "note"),
]


@pytest.mark.parametrize(("change", "named"), BAD_HOLDS)
def test_a_bad_hold_names_its_field(client, change, named):
    assert fields(send(client, "/v1/holds", {**HOLD, **change})) == [named]


def test_a_hold_may_leave_its_expiry_to_the_default(ada):
    default = send(ada, "/v1/holds", without(HOLD, "expires_in"))
    assert default.status_code == 201
    assert send(ada, "/v1/holds", {**HOLD, "expires_in": 3600}).status_code == 200
    assert send(ada, "/v1/holds", {**HOLD, "expires_in": None}).status_code == 200


@pytest.mark.parametrize("way", ["capture", "release"])
def test_a_hold_that_is_not_ours_is_404(ada, way):
    send(ada, "/v1/holds", HOLD)
    assert problem(send(ada, f"/v1/holds/h2/{way}", {}), 404) == "not-found"
    assert problem(send(ada, f"/v1/holds/h1/{way}", {}, key=OTHER_KEY), 404) == "not-found"
    assert fields(send(ada, f"/v1/holds/%2E%2E/{way}", {})) == ["id"]


@pytest.mark.parametrize("units", [-1, "7", 1.5, 10**12 + 1])
def test_a_bad_capture_names_its_field(ada, units):
    send(ada, "/v1/holds", HOLD)
    assert fields(send(ada, "/v1/holds/h1/capture", {"units": units})) == ["units"]


def test_a_quote_tells_the_price_and_takes_nothing(ada):
    def ask(quantity: int) -> Any:
        query = {"rate": "voice_call", "quantity": quantity}
        return ada.get("/v1/customers/ada/quote", query_string=query, headers=KEY).json

    assert ask(123) == {"units": 3, "available": 100, "enough": True}
    assert ask(6001) == {"units": 101, "available": 100, "enough": False}
    assert ask(0) == {"units": 0, "available": 100, "enough": True}


def test_a_quote_for_an_unknown_customer_is_no_error_and_makes_none(client):
    answer = client.get("/v1/customers/nobody/quote?rate=sms&quantity=1", headers=KEY)
    assert answer.json == {"units": 1, "available": 0, "enough": False}
    assert rows("account") == 0


BAD_QUOTES = (
    ("rate=sms", ["quantity"]),
    ("quantity=1", ["rate"]),
    ("rate=sms&quantity=", ["quantity"]),
    ("rate=sms&quantity=-1", ["quantity"]),
    ("rate=sms&quantity=1.5", ["quantity"]),
    ("rate=sms&quantity=1e3", ["quantity"]),
    ("rate=sms&quantity=1000000000001", ["quantity"]),
    ("rate=nope&quantity=1", ["rate"]),
    ("rate=%00&quantity=1", ["rate"]),
)


@pytest.mark.parametrize(("query", "named"), BAD_QUOTES)
def test_a_bad_quote_names_its_fields(client, query, named):
    assert fields(client.get(f"/v1/customers/ada/quote?{query}", headers=KEY)) == named


def test_an_adjustment_takes_no_more_than_is_there_unless_debt_is_allowed(ada):
    take = {"id": "a2", "customer": "ada", "units": -150, "reason": "mistake"}
    assert problem(send(ada, "/v1/adjustments", take), 402) == "insufficient-balance"
    taken = send(ada, "/v1/adjustments", {**take, "allow_debt": True})
    assert (taken.status_code, taken.json["units"], taken.json["balance"]) == (201, -150, -50)


BAD_ADJUSTMENTS: list[tuple[dict[str, Any], str]] = [
    ({"units": 0}, "units"),
    ({"units": 10**12 + 1}, "units"),
    ({"units": -(10**12) - 1}, "units"),
    ({"units": "5"}, "units"),
    ({"units": 5.0}, "units"),
    ({"reason": ""}, "reason"),
    ({"reason": "  "}, "reason"),
    ({"reason": "x" * 501}, "reason"),
    ({"reason": None}, "reason"),
    ({"type": "purchase"}, "type"),
    ({"expires_after": "1 month"}, "expires_after"),
    ({"expires_after": "0d"}, "expires_after"),
    ({"expires_after": 30}, "expires_after"),
    ({"units": -5, "expires_after": "30d"}, "expires_after"),
    ({"allow_debt": 1}, "allow_debt"),
    ({"allow_debt": "true"}, "allow_debt"),
]


@pytest.mark.parametrize(("change", "named"), BAD_ADJUSTMENTS)
def test_a_bad_adjustment_names_its_field(client, change, named):
    assert fields(send(client, "/v1/adjustments", {**ADJUSTMENT, **change})) == [named]
    assert rows("account") == 0


def test_a_bonus_may_expire(client):
    bonus = {**ADJUSTMENT, "type": "bonus", "expires_after": "30d"}
    assert send(client, "/v1/adjustments", bonus).status_code == 201
    (lot,) = client.get("/v1/customers/ada/balance", headers=KEY).json["lots"]
    assert lot["expires_at"] is not None


def test_a_refund_gives_a_deduction_back_in_total_at_most_once(ada):
    entry = send(ada, "/v1/charges", CHARGE).json["entry"]
    part = send(ada, "/v1/refunds", {**REFUND, "entry": entry, "units": 2})
    assert (part.status_code, part.json["units"], part.json["balance"]) == (201, 2, 99)
    assert send(ada, "/v1/refunds", {**REFUND, "entry": entry, "units": 2}).json == part.json
    assert problem(send(ada, "/v1/refunds", {"id": "r2", "entry": entry, "units": 2, "reason": "x"}), 409) == "conflict"
    rest = send(ada, "/v1/refunds", {"id": "r3", "entry": entry, "reason": "x"})
    assert (rest.json["units"], rest.json["balance"]) == (1, 100)


def test_a_refund_is_of_our_own_deductions(ada):
    entry = send(ada, "/v1/charges", CHARGE).json["entry"]
    grant = entry - 1
    assert problem(send(ada, "/v1/refunds", {**REFUND, "entry": entry}, key=OTHER_KEY), 404) == "not-found"
    assert problem(send(ada, "/v1/refunds", {**REFUND, "entry": 2**63 - 1}), 404) == "not-found"
    assert fields(send(ada, "/v1/refunds", {**REFUND, "entry": grant})) == ["entry"]


@pytest.mark.parametrize("entry", [0, -1, "1", 1.0, 1e30, 2**63, None, True])
def test_an_entry_is_a_whole_number(client, entry):
    assert fields(send(client, "/v1/refunds", {**REFUND, "entry": entry})) == ["entry"]


def test_a_login_grants_what_the_plan_owes_once(client):
    now = clock.now()
    started = now - timedelta(days=40)
    year = subscription("songs", "star", "pro", anchor=started, start=started, end=cycles.cycle_start(started, 12))
    told = event("customer.subscription.created", year, created=started)
    events.receive("songs", "stripe", told["id"], told["type"], orjson.dumps(told).decode(), now=started)
    events.apply_pending(now=started)
    key = {"Authorization": "Bearer sk_sandbox_songs"}
    assert client.post("/v1/customers/star/grants", headers=key).get_json() == {"granted": 1000}
    assert client.post("/v1/customers/star/grants", headers=key).get_json() == {"granted": 0}
    assert client.post("/v1/customers/nobody/grants", headers=key).get_json() == {"granted": 0}
