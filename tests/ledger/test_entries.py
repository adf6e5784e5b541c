"""Entries: listed newest first, a page at a time or streamed whole, and one alone with what it touched."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from models import database, pagination
from models.errors import Invalid, NotFound
from models.ledger import entries
from models.ledger.entries import Selection
from models.planning.movements import Take
from tests.support.posting import APP, grant, post, refund, take

MINUTE = timedelta(minutes=1)


def listed(limit: int = 50, cursor: str | None = None, **wanted: Any) -> tuple[list[dict[str, Any]], str | None]:
    return entries.list_page(Selection(app=APP, **wanted), limit=limit, cursor=cursor)


def history(customer: str, now: Any, deductions: int) -> None:
    """A grant, then deductions of 1, 2, 3… a minute apart."""
    grant(customer, 1000, key=f"bonus:{customer}", now=now)
    for number in range(1, deductions + 1):
        take(customer, number, key=f"usage:{customer}-{number}", now=now + number * MINUTE)


def test_an_entry_tells_what_it_did_and_what_it_was_told(db, now):
    meta = {"rate": "sms", "quantity": 3, "metadata": {"song": "42"}}
    grant("ada", 10, key="bonus:1", now=now)
    told = {"meta": meta, "reason": "sms", "actor": "usage", "occurred_at": now}
    outcome = take("ada", 3, key="usage:1", now=now + MINUTE, **told)
    rows, _ = listed(customer="ada")
    assert rows[0] == {
        "id": outcome.entry_id,
        "customer": "ada",
        "amount": -3,
        "type": "deduction",
        "reason": "sms",
        "balance_before": 10,
        "balance_after": 7,
        "reverses": None,
        "metadata": {"rate": "sms", "quantity": 3, "song": "42"},
        "created_at": now + MINUTE,
        "occurred_at": now,
        "key": "usage:1",
        "actor": "usage",
    }
    assert rows[1]["metadata"] == {}


def test_pages_go_on_where_they_stopped_whatever_came_meanwhile(db, now):
    history("ada", now, 6)
    first, cursor = listed(customer="ada", limit=3)
    take("ada", 99, key="usage:late", now=now + 9 * MINUTE)
    second, cursor = listed(customer="ada", limit=3, cursor=cursor)
    third, end = listed(customer="ada", limit=3, cursor=cursor)
    assert [row["amount"] for row in first + second + third] == [-6, -5, -4, -3, -2, -1, 1000]
    assert end is None


def test_a_full_last_page_says_that_it_is_the_last(db, now):
    history("ada", now, 3)
    rows, following = listed(customer="ada", limit=4)
    assert (len(rows), following) == (4, None)


def test_the_list_of_the_app_has_all_its_customers_and_no_other_apps(db, now):
    history("ada", now, 1)
    history("bob", now, 1)
    grant("eve", 5, key="bonus:eve", now=now, app="songs")
    rows, cursor = listed(limit=3)
    rest, end = listed(limit=3, cursor=cursor)
    assert [(row["customer"], row["amount"]) for row in rows + rest] == [
        ("bob", -1),
        ("bob", 1000),
        ("ada", -1),
        ("ada", 1000),
    ]
    assert end is None


def test_entries_are_chosen_by_type_and_by_time(db, now):
    history("ada", now, 4)
    assert [row["amount"] for row in listed(customer="ada", type="bonus")[0]] == [1000]
    since, until = now + MINUTE, now + 3 * MINUTE
    assert [row["amount"] for row in listed(customer="ada", since=since, until=until)[0]] == [-2, -1]
    assert [row["amount"] for row in listed(type="deduction", until=now + 2 * MINUTE)[0]] == [-1]


def test_a_customer_nobody_knows_has_no_entries(db):
    assert listed(customer="nobody") == ([], None)


@pytest.mark.parametrize(
    "cursor", ["x", "", "WzFd!", "é", "W10", "WyJhIl0", "WzEsMl0", "Wy0xXQ", "WzEuNV0", "W3RydWVd"]
)
def test_a_cursor_that_was_not_given_out_is_refused(db, cursor):
    with pytest.raises(Invalid) as refusal:
        listed(customer="ada", cursor=cursor)
    assert refusal.value.errors[0][0] == "cursor"


def test_a_cursor_beyond_what_the_database_can_count_is_refused(db):
    with pytest.raises(Invalid):
        listed(cursor=pagination.encode("entries", [2**63]))


def test_the_stream_has_every_entry_once_however_it_is_cut(db, now, monkeypatch):
    history("ada", now, 7)
    monkeypatch.setattr(entries, "CHUNK", 4)
    for wanted in ({"customer": "ada"}, {}, {"customer": "ada", "type": "deduction"}):
        streamed = list(entries.stream(Selection(app=APP, **wanted)))
        assert streamed == listed(limit=200, **wanted)[0]


def test_the_stream_is_of_the_moment_it_began(db, now, monkeypatch):
    history("ada", now, 7)
    monkeypatch.setattr(entries, "CHUNK", 2)
    stream = entries.stream(Selection(app=APP, customer="ada"))
    first = next(stream)
    take("ada", 99, key="usage:late", now=now + 9 * MINUTE)
    assert len([first, *stream]) == 8


def test_one_entry_names_the_lots_and_the_debt_that_it_touched(db, now):
    grant("ada", 4, key="bonus:1", now=now)
    grant("ada", 3, key="bonus:2", now=now)
    entry_id = take("ada", 10, key="usage:1", now=now, on_shortfall="debt").entry_id
    assert entry_id
    told = entries.get(APP, entry_id)
    lots = [lot for (lot,) in database.read("SELECT id FROM lot ORDER BY id")]
    assert told["allocations"] == [
        {"lot": lots[0], "amount": -4},
        {"lot": lots[1], "amount": -3},
        {"lot": None, "amount": -3},
    ]
    assert told["amount"] == -10


def test_a_refund_names_the_entry_that_it_reverses(db, now):
    grant("ada", 4, key="bonus:1", now=now)
    entry_id = take("ada", 3, key="usage:1", now=now).entry_id
    back = refund("ada", entry_id or 0, key="refund:1", now=now)
    assert entries.get(APP, back.entry_id or 0)["reverses"] == entry_id


@pytest.mark.parametrize("entry_id", [0, 99, 2**63 - 1, 2**70])
def test_an_entry_that_is_not_there_is_not_found(db, entry_id):
    with pytest.raises(NotFound):
        entries.get(APP, entry_id)


def test_another_apps_entry_is_not_found(db, now):
    entry_id = grant("eve", 5, key="bonus:eve", now=now, app="songs").entry_id
    with pytest.raises(NotFound):
        entries.get(APP, entry_id or 0)


def test_the_last_page_of_a_long_history_is_read_from_indexes_alone(db, now):
    """What makes a page cost the same at ten million entries as at ten thousand."""
    grant("ada", 10**6, key="bonus:1", now=now)
    for batch in range(4):
        post(*(Take(app=APP, customer="ada", key=f"usage:{batch}-{n}", units=1) for n in range(500)), now=now)
    database.write("ANALYZE")
    for statement in (entries.OF_CUSTOMER, entries.OF_APP):
        values = {"app": APP, "customer": "ada", "below": pagination.LARGEST_POSITION, "limit": 51}
        plan = [line for (line,) in database.read("EXPLAIN " + statement.format(filters=""), values)]
        assert any("Index Scan Backward" in line and "entry" in line for line in plan), plan
        assert not any("Sort" in line or ("on entry" in line and "Seq Scan" in line) for line in plan), plan
