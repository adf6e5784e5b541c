"""Expiry: a lot pays until its time and not at it; a backlog costs nobody a lot that was alive on receipt."""

from __future__ import annotations

import pytest

from models import database
from models.planning.movements import Expire, Take
from tests.support.kernel import (
    ADA,
    APP,
    BO,
    Account,
    account,
    applied,
    day,
    entries,
    expire,
    failures,
    grant,
    hold,
    kernel,
    post,
    release,
    remaining,
    report,
    slug,
    take,
    unqueue,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")


def test_a_lot_pays_just_before_its_expiry() -> None:
    grant(10, expires_at=day(1))
    assert take(10, at=day(0.999)).units == 10


def test_a_lot_pays_nothing_at_its_expiry_swept_or_not() -> None:
    grant(10, expires_at=day(1))
    outcome = take(10, at=day(1))
    assert (outcome.units, outcome.shortfall, outcome.balance) == (0, 10, 0)


def test_each_lot_that_lapses_has_an_entry_of_its_own_oldest_first() -> None:
    grant(10, expires_at=day(2))
    grant(20, expires_at=day(1))
    grant(30)
    assert expire(at=day(3)).units == 30
    assert entries()[-2:] == [("expiry", -20), ("expiry", -10)]
    assert remaining() == [0, 0, 30]
    assert failures(day(3)) == {}


def test_a_second_sweep_finds_nothing() -> None:
    grant(10, expires_at=day(1))
    expire(at=day(2))
    assert expire(at=day(2)).units == 0
    assert entries() == [("bonus", 10), ("expiry", -10)]


def test_any_post_lapses_what_has_expired_first() -> None:
    grant(10, expires_at=day(1))
    grant(5, at=day(2))
    assert entries() == [("bonus", 10), ("expiry", -10), ("bonus", 5)]


def test_a_post_lapses_only_the_accounts_that_it_names() -> None:
    grant(10, expires_at=day(1))
    grant(10, to=BO, expires_at=day(1))
    expire(at=day(2))
    assert (remaining(), remaining(BO)) == ([0], [10])


def test_an_outcome_shows_no_expired_units_even_before_they_lapse() -> None:
    grant(10, expires_at=day(1))
    grant(5)
    report(day(0.5))
    outcome = expire(at=day(2))
    assert (outcome.units, outcome.balance, outcome.available) == (0, 5, 5)
    assert account().balance == 15


def test_an_unsettled_report_keeps_a_lot_that_was_alive_on_receipt() -> None:
    grant(10, expires_at=day(1))
    report(day(0.5))
    assert expire(at=day(2)).units == 0
    unqueue()
    assert take(4, at=day(2), received_at=day(0.5)).units == 4
    assert expire(at=day(2)).units == 6
    assert failures(day(2)) == {}


def test_a_kept_lot_pays_reports_only() -> None:
    grant(10, expires_at=day(1))
    report(day(0.5))
    assert take(4, at=day(2)).units == 0


def test_the_batch_that_settles_a_report_keeps_its_lots_too() -> None:
    grant(10, expires_at=day(1))
    outcomes = post(
        Expire(app=APP, customer=ADA), Take(app=APP, customer=ADA, units=4, received_at=day(0.5)), at=day(2)
    )
    assert [outcome.units for outcome in outcomes] == [0, 4]


def test_a_report_received_at_the_expiry_keeps_nothing() -> None:
    grant(10, expires_at=day(1))
    report(day(1))
    assert expire(at=day(2)).units == 10


def test_a_dead_report_keeps_nothing() -> None:
    grant(10, expires_at=day(1))
    report(day(0.5), dead=True)
    assert expire(at=day(2)).units == 10


def test_another_customers_report_keeps_nothing() -> None:
    grant(10, expires_at=day(1))
    report(day(0.5), of=BO)
    report(day(0.5), app=slug("largest_first"))
    assert expire(at=day(2)).units == 10


def test_the_oldest_report_decides() -> None:
    grant(10, expires_at=day(1))
    grant(10, expires_at=day(3))
    report(day(2))
    report(day(0.5))
    assert expire(at=day(4)).units == 0


def test_a_report_that_still_waits_keeps_its_lots_while_a_later_one_is_settled() -> None:
    grant(10, expires_at=day(1))
    grant(10, expires_at=day(3))
    report(day(0.5))
    take(4, at=day(4), received_at=day(2))
    assert remaining() == [10, 6]


def test_only_the_lots_that_were_alive_on_receipt_are_kept() -> None:
    grant(10, expires_at=day(1))
    grant(10, expires_at=day(3))
    report(day(2))
    assert expire(at=day(4)).units == 10
    assert remaining() == [0, 10]


def test_a_lot_bought_after_the_receipt_pays_at_the_settlement() -> None:
    report(day(0))
    grant(10, at=day(1))
    unqueue()
    assert take(4, at=day(2), received_at=day(0)).units == 4


def test_a_report_from_a_clock_that_is_ahead_is_judged_now() -> None:
    app = slug(shortfall="debt")
    grant(10, app=app, expires_at=day(1))
    outcome = take(4, app=app, at=day(0.9), received_at=day(1.1))
    assert (outcome.units, outcome.balance) == (4, 6)
    assert account(app=app) == Account(balance=6, held=0, debt=0)


def test_held_units_do_not_lapse() -> None:
    grant(10, expires_at=day(1))
    hold(4)
    assert expire(at=day(2)).units == 6
    assert account() == Account(balance=4, held=4, debt=0)
    assert failures(day(2)) == {}


def test_units_released_into_a_lot_kept_for_a_report_stay_for_it() -> None:
    grant(10, expires_at=day(1))
    hold(10)
    report(day(0.5))
    release(at=day(2))
    assert remaining() == [10]
    unqueue()
    assert take(10, at=day(2), received_at=day(0.5)).units == 10


def test_a_lot_remembers_what_lapsed_of_it() -> None:
    grant(10, expires_at=day(1))
    applied(take(4))
    expire(at=day(2))
    assert database.read("SELECT granted, remaining, lapsed, open FROM lot") == [(10, 0, 6, False)]
