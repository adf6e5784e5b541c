"""Usage with lines: several rates and quantities that become one entry, priced line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobs import usage
from models import clock, database
from models.catalog import catalog
from models.ledger.verify import verify
from models.reports import margin as reports_margin
from models.reports import usage as reports_usage
from models.reports.periods import Span
from tests.support.cast import ADA, app, balance, entries, give, settle_all
from tests.support.sales import buy
from tests.support.web_calls import KEY, fields, problem, send

LINES = [{"rate": "voice_call", "quantity": 61}, {"rate": "sms", "quantity": 3}, {"rate": "gpt4", "quantity": 10}]
USE = {"id": "use-1", "customer": ADA, "lines": LINES}


@pytest.fixture(autouse=True)
def books_add_up(db: str) -> Iterator[None]:
    yield
    checks = verify(database.connection(), now=clock.now(), alarm_age=timedelta(days=3650))
    assert [text for check in checks for text in check.failures] == []


@pytest.fixture
def ada(client: Any, now: datetime) -> Any:
    """Ada has 100 credits."""
    give(ADA, 100, now=now)
    return client


def get(client: Any, path: str) -> Any:
    return client.get(path, headers=KEY).json


def entry(client: Any) -> dict[str, Any]:
    """The newest entry."""
    return dict(get(client, f"/v1/customers/{ADA}/entries")["entries"][0])


def priced(*units: int) -> list[dict[str, Any]]:
    """The lines as the entry records them."""
    terms = ([1, 60, 0], [1, 1, 0], [60, 1000, 0])
    lines = [{**line, "price": price, "units": n} for line, price, n in zip(LINES, terms, units, strict=False)]
    lines[2]["rounding"] = "carry"
    return lines


def test_a_report_with_lines_is_one_entry(ada: Any) -> None:
    assert send(ada, "/v1/usage", {**USE, "metadata": {"chat": 7}}).json == {"accepted": 1, "duplicates": 0}
    settle_all(now=clock.now())
    shown = get(ada, "/v1/usage/use-1")
    assert (shown["rate"], shown["quantity"], shown["lines"]) == (None, None, LINES)
    assert (shown["state"], shown["units"], shown["shortfall"]) == ("settled", 6, 0)
    assert entries(ADA) == [("bonus", 100), ("deduction", -6)]
    posted = entry(ada)
    assert (posted["reason"], posted["id"]) == ("voice_call, sms, gpt4", shown["entry"])
    carried = {"gpt4": {"units": 1, "before": "0", "after": "2/5"}}
    assert posted["metadata"] == {"lines": priced(2, 3, 1), "carried": carried, "chat": 7}


def test_the_same_lines_are_a_duplicate_and_others_a_conflict(ada: Any) -> None:
    send(ada, "/v1/usage", USE)
    assert send(ada, "/v1/usage", USE).json == {"accepted": 0, "duplicates": 1}
    for other in (
        {"lines": LINES[::-1]},
        {"lines": LINES[:2]},
        {"lines": [{**LINES[0], "quantity": 62}, *LINES[1:]]},
    ):
        assert problem(send(ada, "/v1/usage", {**USE, **other}), 409) == "conflict"
        assert problem(send(ada, "/v1/usage", {"reports": [USE, {**USE, **other}]}), 409) == "conflict"
    single = {"id": "use-1", "customer": ADA, **LINES[0]}
    assert problem(send(ada, "/v1/usage", single), 409) == "conflict"
    settle_all(now=clock.now())
    assert balance(ADA) == 94


def test_reports_with_and_without_lines_go_in_one_batch(ada: Any) -> None:
    batch = [USE, {"id": "use-2", "customer": ADA, "rate": "sms", "quantity": 4}, {**USE, "id": "use-3"}]
    assert send(ada, "/v1/usage", {"reports": batch}).json == {"accepted": 3, "duplicates": 0}
    settle_all(now=clock.now())
    assert [get(ada, f"/v1/usage/use-{n}")["units"] for n in (1, 2, 3)] == [6, 4, 6]
    assert [row["lines"] for row in get(ada, "/v1/usage")["reports"]] == [LINES, None, LINES]


def test_a_charge_with_lines_is_all_or_nothing(ada: Any) -> None:
    answer = send(ada, "/v1/charges", USE)
    assert (answer.status_code, answer.json["units"], answer.json["balance"]) == (201, 6, 94)
    assert send(ada, "/v1/charges", USE).json == answer.json
    assert problem(send(ada, "/v1/charges", {**USE, "lines": LINES[:2]}), 409) == "conflict"
    dear = {**USE, "id": "dear", "lines": [LINES[0], {"rate": "phone_number", "quantity": 1}]}
    refused = send(ada, "/v1/charges", dear)
    assert (refused.status_code, refused.json["required"], refused.json["balance"]) == (402, 102, 94)
    assert entry(ada)["metadata"]["lines"] == priced(2, 3, 1)


def test_a_charge_with_lines_is_refunded(ada: Any) -> None:
    made = send(ada, "/v1/charges", USE).json["entry"]
    assert send(ada, "/v1/refunds", {"id": "r", "entry": made, "units": 2, "reason": "sorry"}).json["balance"] == 96
    assert send(ada, "/v1/refunds", {"id": "r2", "entry": made, "reason": "sorry"}).json["units"] == 4
    took = get(ada, f"/v1/customers/{ADA}/explain")["lots"][0]["took"]
    assert [(part["type"], part["units"]) for part in took] == [("deduction", 6), ("refund", -2), ("refund", -4)]


def test_a_hold_with_lines_rounds_each_up(ada: Any) -> None:
    send(ada, "/v1/charges", {"id": "c", "customer": ADA, "rate": "gpt4", "quantity": 5})
    assert send(ada, "/v1/holds", USE).json["units"] == 6
    assert send(ada, "/v1/holds/use-1/capture", {"units": 4}).json["balance"] == 95
    assert [line["units"] for line in entry(ada)["metadata"]["lines"]] == [2, 3, 1]


def test_a_quote_of_lines(ada: Any) -> None:
    path = f"/v1/customers/{ADA}/quote?lines=voice_call:61&lines=sms:3"
    assert get(ada, path) == {"units": 5, "available": 100, "enough": True}
    quote = get(ada, f"{path}&lines=gpt4:10")
    assert quote == {"units": 6, "available": 100, "enough": True, "rounded_up": 6, "carried": {"gpt4": "0"}}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("lines=fax:1", ["lines[0].rate"]),
        ("lines=sms:1&lines=fax:1", ["lines[1].rate"]),
        ("lines=sms", ["lines[0]"]),
        ("lines=sms:x", ["lines[0]"]),
        ("lines=sms:1.5", ["lines[0]"]),
        ("lines=sms:-1", ["lines[0]"]),
        ("lines=:1", ["lines[0].rate"]),
        ("lines=sms:1000000000001", ["lines[0].quantity"]),
        ("lines=sms:1&rate=sms", ["rate"]),
        ("lines=sms:1&quantity=1", ["quantity"]),
        ("rate=sms", ["quantity"]),
        ("quantity=1", ["rate"]),
        ("", ["rate"]),
        ("lines=", ["rate"]),
        ("rate=fax&quantity=1", ["rate"]),
        ("lines=sms%00:1", ["lines"]),
        ("&".join(["lines=sms:1"] * 21), ["lines"]),
    ],
)
def test_a_bad_quote_names_the_parameter(ada: Any, query: str, named: list[str]) -> None:
    answer = ada.get(f"/v1/customers/{ADA}/quote?{query}", headers=KEY)
    assert (answer.status_code, fields(answer)) == (422, named)


BAD = [
    ({"lines": []}, ["lines"]),
    ({"lines": None}, ["lines"]),
    ({"lines": {}}, ["lines"]),
    ({"lines": "sms:1"}, ["lines"]),
    ({"lines": LINES, "rate": "sms"}, ["rate"]),
    ({"lines": LINES, "quantity": 1}, ["quantity"]),
    ({"lines": [*LINES[:2], {"rate": "fax", "quantity": 1}]}, ["lines[2].rate"]),
    ({"lines": [{"rate": "sms"}]}, ["lines[0].quantity"]),
    ({"lines": [{"quantity": 1}]}, ["lines[0].rate"]),
    ({"lines": [{"rate": "sms", "quantity": "7"}]}, ["lines[0].quantity"]),
    ({"lines": [{"rate": "sms", "quantity": -1}]}, ["lines[0].quantity"]),
    ({"lines": [{"rate": "sms", "quantity": True}]}, ["lines[0].quantity"]),
    ({"lines": [{"rate": "sms", "quantity": 1, "units": 1}]}, ["lines[0].units"]),
    ({"lines": [{"rate": 7, "quantity": 1}]}, ["lines[0].rate"]),
    ({"lines": [None]}, ["lines[0]"]),
    ({"lines": LINES * 7}, ["lines"]),
    ({"lines": [{"rate": "phone_number", "quantity": 10**12}] * 20}, ["lines"]),
]


@pytest.mark.parametrize(("body", "named"), BAD, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/charges", "/v1/holds"])
def test_bad_lines_are_named_and_nothing_is_stored(ada: Any, path: str, body: dict[str, Any], named: list[str]) -> None:
    if body.get("lines", 0) is None and path != "/v1/usage":
        named = ["rate"]  # null counts as absent
    answer = send(ada, path, {"id": "bad", "customer": ADA, **body})
    assert (answer.status_code, fields(answer)) == (422, named)
    assert database.read("SELECT count(*) FROM usage_report") == [(0,)]
    assert balance(ADA) == 100


def test_a_batch_names_the_line_of_each_bad_report(ada: Any) -> None:
    bad = {**USE, "id": "use-2", "lines": [*LINES[:2], {"rate": "fax", "quantity": 1}]}
    assert fields(send(ada, "/v1/usage", {"reports": [USE, bad]})) == ["reports[1].lines[2].rate"]
    both = {**USE, "id": "use-3", "rate": "sms"}
    neither = {"id": "use-4", "customer": ADA}
    answer = send(ada, "/v1/usage", {"reports": [both, bad, neither]})
    assert fields(answer) == ["reports[0].rate", "reports[1].lines[2].rate", "reports[2].rate"]


def test_units_and_lines_are_not_combined(ada: Any) -> None:
    assert fields(send(ada, "/v1/charges", {**USE, "units": 3})) == ["lines"]


def test_a_shortfall_is_that_of_the_last_lines(client: Any, now: datetime) -> None:
    give(ADA, 4, now=now)
    send(client, "/v1/usage", USE)
    settle_all(now=clock.now())
    shown = get(client, "/v1/usage/use-1")
    assert (shown["units"], shown["shortfall"]) == (4, 2)
    assert used() == {"sms": (2, 1), "voice_call": (2, 1), "gpt4": (0, 1)}
    assert get(client, f"/v1/customers/{ADA}/stats")["by_rate"] == {"gpt4": 0, "sms": 2, "voice_call": 2}


def used(slug: str = "ai-services") -> dict[str, tuple[int, int]]:
    """(units, reports) by rate."""
    rows = reports_usage.groups(Span(app=slug), "rate")
    return {row["key"]: (row["units"], row["reports"]) for row in rows}


def test_each_line_counts_under_its_rate(ada: Any) -> None:
    send(ada, "/v1/charges", USE)
    send(ada, "/v1/usage", {**USE, "lines": [*LINES[:1], {"rate": "sms", "quantity": 4}, LINES[1]]})
    send(ada, "/v1/usage", {"id": "single", "customer": ADA, "rate": "sms", "quantity": 2})
    send(ada, "/v1/charges", {"id": "units", "customer": ADA, "units": 5})
    settle_all(now=clock.now())
    assert used() == {"sms": (12, 4), "other": (5, 1), "voice_call": (4, 2), "gpt4": (1, 1)}
    assert sum(units for units, _ in used().values()) == 100 - balance(ADA)
    by_rate = get(ada, f"/v1/customers/{ADA}/stats")["by_rate"]
    assert by_rate == {"gpt4": 1, "sms": 12, "voice_call": 4}


def test_a_refund_is_taken_from_the_last_lines(ada: Any) -> None:
    made = send(ada, "/v1/charges", USE).json["entry"]
    send(ada, "/v1/refunds", {"id": "r", "entry": made, "units": 2, "reason": "sorry"})
    assert used() == {"voice_call": (2, 1), "sms": (2, 1), "gpt4": (0, 1)}
    send(ada, "/v1/refunds", {"id": "r2", "entry": made, "reason": "sorry"})
    assert used() == {"voice_call": (0, 1), "sms": (0, 1), "gpt4": (0, 1)}


def test_what_a_capture_takes_beyond_its_lines_is_of_the_last(ada: Any) -> None:
    send(ada, "/v1/holds", USE)
    send(ada, "/v1/holds/use-1/capture", {"units": 16})
    assert used() == {"gpt4": (11, 1), "sms": (3, 1), "voice_call": (2, 1)}


def test_the_margin_of_each_line(client: Any, now: datetime) -> None:
    """Of songs: 25 credits of `starter` (100 for $4.99) for a song, 5 for a beat; they cost $0.40 and $0.08."""
    from jobs.ledger import charges, refunds

    buy(ADA, "starter", "1", now=now, amount_total=499)
    lines = [{"rate": "song_generation", "quantity": 1}, {"rate": "beat_generation", "quantity": 2}]
    made = charges.charge(app("songs"), {"id": "c", "customer": ADA, "lines": lines}, now=now)[0]["entry"]
    assert margins() == {
        "song_generation": (25, "1.25", "0.40", "0.85"),
        "beat_generation": (10, "0.50", "0.16", "0.34"),
    }
    refunds.refund(app("songs"), {"id": "r", "entry": made, "units": 5, "reason": "sorry"}, now=now)
    assert {rate: row[:2] for rate, row in margins().items()} == {
        "song_generation": (25, "1.25"),
        "beat_generation": (5, "0.25"),
    }
    refunds.refund(app("songs"), {"id": "r2", "entry": made, "reason": "sorry"}, now=now)
    assert margins() == {}


def margins() -> dict[str, tuple[Any, ...]]:
    rows = reports_margin.rates(app("songs"), Span(app="songs"))
    return {row["rate"]: (row["units"], *(str(row[name]) for name in ("revenue", "cost", "margin"))) for row in rows}


def test_the_cost_of_a_carried_rate_is_that_of_the_units_it_took(client: Any, now: datetime) -> None:
    """Most reports of a token have no entry; the cost must be that of all tokens, not of those that have one."""
    whole = catalog.current()
    rate = replace(app("songs").rates["song_generation"], units=60, per=1000, rounding="carry", cost=Decimal("0.20"))
    catalog.use(
        catalog.Catalog({**whole.apps, "songs": replace(app("songs"), rates={"token": replace(rate, key="token")})})
    )
    buy(ADA, "starter", "1", now=now, amount_total=499)
    usage.accept(app("songs"), [token(n) for n in range(1000)], now=now)
    settle_all(now=clock.now())
    assert margins() == {"token": (60, "2.99", "0.20", "2.79")}
    lines = [{"rate": "token", "quantity": 500}, {"rate": "token", "quantity": 500}]
    usage.accept(app("songs"), [{"id": "two", "customer": ADA, "lines": lines}], now=now)
    settle_all(now=clock.now())
    assert margins()["token"][:3] == (100, "4.99", "0.40")


def token(number: int) -> dict[str, Any]:
    return {"id": f"t{number}", "customer": ADA, "rate": "token", "quantity": 1}


def test_the_operation_log_names_the_lines(ada: Any) -> None:
    send(ada, "/v1/usage", USE)
    operations = get(ada, f"/v1/operations?customer={ADA}&operation=TRACK_USAGE")["operations"]
    assert operations[0]["details"]["lines"] == LINES
