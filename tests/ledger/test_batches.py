"""Batches: many movements, many accounts, keys that come twice, all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.errors import SerializationFailure

from models import database
from models.ledger import post as ledger
from models.ledger.post import plan
from models.planning.movements import Capture, Freeze, Grant, Hold, Movement, Reverse, Take
from tests.support.kernel import (
    ADA,
    APP,
    BO,
    CY,
    PATIENT,
    account,
    applied,
    day,
    entries,
    expiries,
    failures,
    grant,
    kernel,
    post,
    remaining,
    slug,
    take,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")


def test_no_movements_are_no_work() -> None:
    assert post() == []


def test_a_key_that_comes_twice_in_one_batch_is_posted_once() -> None:
    grant(10)
    outcomes = post(_take(4, key="usage:r1"), _take(4, key="usage:r1"))
    assert [outcome.status for outcome in outcomes] == ["applied", "already"]
    assert outcomes[1].entry_id == outcomes[0].entry_id
    assert remaining() == [6]


def test_a_hold_that_comes_twice_in_one_batch_is_placed_once() -> None:
    grant(10)
    movement = Hold(app=APP, customer=ADA, key="hold:h", units=4, expires_at=day(1))
    first, second = post(movement, movement)
    assert (first.status, second.status) == ("applied", "already")
    assert account().held == 4


def test_a_key_that_was_refused_is_free_to_be_tried_again() -> None:
    assert take(4, key="charge:a", on_shortfall="reject").status == "refused"
    grant(10)
    assert take(4, key="charge:a", on_shortfall="reject").status == "applied"


def test_a_key_belongs_to_the_app_whoever_used_it_first() -> None:
    grant(10)
    grant(10, to=BO)
    first, second = post(_take(4, key="charge:a"), _take(4, key="charge:a", of=BO))
    assert (first.status, second.status) == ("applied", "already")
    assert (remaining(), remaining(BO)) == ([6], [10])


def test_movements_of_an_account_are_applied_in_their_order() -> None:
    outcomes = post(_take(4), Grant(app=APP, customer=ADA, units=10, type="bonus", source="gift"), _take(4))
    assert [(outcome.units, outcome.balance) for outcome in outcomes] == [(0, 0), (10, 10), (4, 6)]


def test_each_outcome_shows_the_balance_after_its_own_movement() -> None:
    grant(10)
    outcomes = post(_take(1), _take(2), _take(3))
    assert [(outcome.balance, outcome.available) for outcome in outcomes] == [(9, 9), (7, 7), (4, 4)]


def test_a_batch_may_touch_many_accounts_of_many_apps() -> None:
    other = slug("largest_first", "debt")
    grant(10)
    grant(10, to=BO)
    outcomes = post(_take(4), _take(5, of=BO), _take(6, of=CY), _take(7, app=other))
    assert [outcome.units for outcome in outcomes] == [4, 5, 0, 7]
    assert [account(name).balance for name in (ADA, BO, CY)] == [6, 5, 0]
    assert account(app=other).debt == 7
    assert failures() == {}


def test_lots_made_in_a_batch_pay_in_it() -> None:
    post(
        Grant(app=APP, customer=ADA, units=10, type="bonus", source="gift"),
        Grant(app=APP, customer=ADA, units=10, type="bonus", source="gift", expires_at=day(1)),
        _take(15),
    )
    assert remaining() == [5, 0]
    assert failures() == {}


def test_a_lot_that_is_made_between_two_takes_finds_its_place_in_the_order() -> None:
    grant(10, expires_at=day(2))
    grant(10, expires_at=day(3))
    post(
        _take(1),
        Grant(app=APP, customer=ADA, units=10, type="bonus", source="gift", expires_at=day(1)),
        _take(5),
    )
    assert remaining() == [9, 10, 5]


def test_a_refund_between_two_takes_revives_its_lot_where_it_now_belongs() -> None:
    grant(5, app=PATIENT, expires_at=day(1))
    spent = applied(take(5, app=PATIENT))
    grant(10, app=PATIENT, expires_at=day(5))
    post(
        Take(app=PATIENT, customer=ADA, units=1),
        Reverse(app=PATIENT, customer=ADA, entry_id=spent),
        Take(app=PATIENT, customer=ADA, units=2),
        at=day(2),
    )
    assert (expiries(app=PATIENT), remaining(app=PATIENT)) == ([day(9), day(5)], [5, 7])


def test_a_freeze_between_two_takes_stops_the_second() -> None:
    bought = [grant(10)]
    outcomes = post(
        _take(1),
        Freeze(app=APP, customer=ADA, entry_ids=bought, frozen=True),
        _take(1),
        Freeze(app=APP, customer=ADA, entry_ids=bought, frozen=False),
        _take(1),
    )
    assert [(outcome.units, outcome.available) for outcome in outcomes] == [(1, 9), (9, 0), (0, 0), (9, 9), (1, 8)]


def test_a_capture_in_the_batch_of_its_hold_frees_for_what_follows() -> None:
    grant(10)
    outcomes = post(
        Hold(app=APP, customer=ADA, key="hold:h", units=10, expires_at=day(1)),
        _take(5),
        Capture(app=APP, customer=ADA, hold_key="hold:h", units=4),
        _take(5),
    )
    assert [outcome.units for outcome in outcomes] == [10, 0, 4, 5]
    assert failures() == {}


def test_entries_of_a_batch_are_numbered_without_a_gap() -> None:
    grant(10)
    post(_take(1), _take(2, on_shortfall="reject"), _take(50, on_shortfall="reject"), _take(3))
    assert database.read("SELECT seq, balance_before, balance_after FROM entry ORDER BY id") == [
        (1, 0, 10),
        (2, 10, 9),
        (3, 9, 7),
        (4, 7, 4),
    ]


def test_an_entry_says_why_and_by_whom() -> None:
    grant(10)
    take(4, key="usage:r1", reason="voice_call", actor="usage", meta={"rate": "voice_call"}, occurred_at=day(-1))
    sql = "SELECT key, reason, actor, meta, occurred_at, created_at FROM entry ORDER BY id DESC LIMIT 1"
    assert database.read(sql) == [("usage:r1", "voice_call", "usage", {"rate": "voice_call"}, day(-1), day(0))]


@pytest.mark.parametrize("text", ['"', "\\", "{}", ",", "NULL", "ä\u2028 'x' \\\" %s", " ", "\t\n"])
def test_any_text_is_stored_as_it_is(text: str) -> None:
    grant(10, to=text, key=f"gift:{text}", reason=text, actor=text, meta={text: [text]})
    stored = database.read(
        "SELECT customer, key, reason, actor, meta FROM entry JOIN account ON account.id = account_id"
    )
    assert stored == [(text, f"gift:{text}", text, text, {text: [text]})]


def test_an_error_in_a_batch_leaves_nothing_of_it() -> None:
    grant(10)
    with pytest.raises(ValueError, match="negative"):
        post(_take(4), _take(-1))
    assert (remaining(), entries()) == ([10], [("bonus", 10)])


def test_posts_of_one_transaction_build_on_each_other() -> None:
    def work(conn: ledger.Connection) -> list[int]:
        (granted,) = ledger.post(
            conn, [Grant(app=APP, customer=ADA, units=10, type="bonus", source="gift")], now=day(0)
        )
        (taken,) = ledger.post(conn, [_take(4)], now=day(0))
        assert taken.entry_id
        (given,) = ledger.post(conn, [Reverse(app=APP, customer=ADA, entry_id=taken.entry_id)], now=day(0))
        return [granted.balance, taken.balance, given.balance]

    assert database.transaction(work) == [10, 6, 10]
    assert failures() == {}


def test_a_large_batch_on_many_accounts_adds_up() -> None:
    post(*[Grant(app=APP, customer=f"c{n}", units=100, type="bonus", source="gift") for n in range(200)])
    movements: list[Movement] = [_take(n % 7, of=f"c{n % 200}", key=f"usage:{n}") for n in range(2000)]
    outcomes = post(*movements)
    assert sum(outcome.units for outcome in outcomes) == sum(n % 7 for n in range(2000))
    assert database.read("SELECT sum(balance) FROM account") == [(20_000 - sum(n % 7 for n in range(2000)),)]
    assert failures() == {}


def test_an_app_that_left_the_catalog_keeps_its_customers_under_the_defaults() -> None:
    grant(10, app="gone")
    assert take(25, app="gone").units == 10


def _take(units: int, *, of: str = ADA, app: str = APP, key: str = "", on_shortfall: object = None) -> Take:
    return Take(app=app, customer=of, key=key, units=units, on_shortfall=on_shortfall)  # type: ignore[arg-type]


def test_a_row_that_moved_under_the_lock_is_noticed_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the ledger updates a lot; if somebody does, the write must not miss it silently."""
    grant(100)
    planned = plan

    def moved(*state: Any, **options: Any) -> Any:
        database.connection().execute("UPDATE lot SET remaining = remaining")
        return planned(*state, **options)

    monkeypatch.setattr(ledger, "plan", moved)
    with pytest.raises(SerializationFailure):
        take(1)
    monkeypatch.setattr(ledger, "plan", planned)
    take(1)
    assert account().balance == 99
