"""What is owed, by the sentences of docs/plans.md and with their numbers. Pure: no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from models.cycles import cycle_start
from models.plans.facts import CreditNote, Opening, OpeningPeriod, Promise, Returned, Session
from tests.plans.rules.samples import (
    ADA,
    BOOK,
    DAY,
    HOUR,
    START,
    WEEK,
    YEAR,
    account,
    again,
    bill,
    book,
    change,
    facts,
    item,
    line,
    month,
    snapshot,
    terms,
    units,
)

LATER = month(24)
YEAR_OF_LITE = bill("in_year", line("lite", START, month(12), interval=YEAR))
YEAR_OF_PRO = bill("in_year", line("pro", START, month(12), interval=YEAR))
ON_PRO = snapshot(START, item("pro"))


# --- periods


def test_a_year_is_granted_by_the_month() -> None:
    assert units(facts(YEAR_OF_PRO, ON_PRO), LATER) == {month(n): 1000 for n in range(12)}


def test_months_are_those_of_the_anchor_clamped_to_the_end_of_a_month() -> None:
    anchor = START + 30 * DAY
    year = bill("in_1", line("pro", anchor, cycle_start(anchor, 12), interval=YEAR))
    starts = list(units(facts(year, snapshot(anchor, item("pro", start=anchor), anchor=anchor)), LATER))
    assert [(start.month, start.day) for start in starts[:4]] == [(1, 31), (2, 28), (3, 31), (4, 30)]


@pytest.mark.parametrize(("unit", "count", "days"), [("day", 1, 1), ("week", 1, 7), ("week", 2, 14), ("day", 45, 45)])
def test_days_and_weeks_are_granted_once_per_interval(unit: str, count: int, days: int) -> None:
    interval = replace(WEEK, unit=unit, count=count)
    spans = [(START + n * days * DAY, START + (n + 1) * days * DAY) for n in range(5)]
    bills = [bill(f"in_{n}", line("pro", *span, interval=interval)) for n, span in enumerate(spans)]
    assert units(facts(*bills), LATER) == {start: 1000 for start, _ in spans}


def test_a_paid_period_is_owed_at_once_and_the_next_month_of_a_year_when_it_begins() -> None:
    assert units(facts(YEAR_OF_PRO), START - 3 * DAY) == {START: 1000}
    assert len(units(facts(YEAR_OF_PRO), month(1) - HOUR)) == 1
    assert len(units(facts(YEAR_OF_PRO), month(1))) == 2


# --- what covers


@pytest.mark.parametrize("state", ["draft", "open", "failed", "uncollectible", "void"])
def test_a_bill_that_is_not_paid_covers_nothing_whatever_the_status_says(state: str) -> None:
    unpaid = bill("in_1", line("pro", START, month(1)), state=state)
    assert units(facts(unpaid, ON_PRO), LATER) == {}
    paid = again(unpaid, state="paid")
    assert units(facts(unpaid, ON_PRO, paid), LATER) == {START: 1000}, "paid takes precedence over any other report"


def test_a_status_alone_covers_a_period_until_a_bill_of_it_or_of_an_earlier_one_is_reported() -> None:
    renewed = snapshot(month(1), item("pro", start=month(1)))
    assert units(facts(ON_PRO, renewed), month(1)) == {START: 1000, month(1): 1000}
    unpaid = bill("in_1", line("pro", START, month(1)), state="open")
    assert units(facts(ON_PRO, renewed, unpaid), month(1)) == {}


def test_a_status_that_names_a_bill_which_was_not_reported_is_believed_after_an_hour() -> None:
    named = replace(ON_PRO, latest_invoice="in_1")
    assert units(facts(named), START + HOUR - DAY / 86400) == {}
    assert units(facts(named), START + HOUR) == {START: 1000}
    assert units(facts(replace(named, is_fetched=True)), START) == {START: 1000}


@pytest.mark.parametrize("status", ["unpaid", "incomplete", "incomplete_expired", "past_due", "canceled", "paused"])
def test_other_statuses_cover_nothing(status: str) -> None:
    assert units(facts(replace(ON_PRO, status=status)), LATER) == {}


def test_a_bill_of_nothing_covers_whole() -> None:
    assert units(facts(bill("in_1", line("pro", START, month(1)), total_minor=0, paid_minor=0)), LATER) == {START: 1000}


@pytest.mark.parametrize(("credited", "left"), [(0, 1000), (250, 750), (1000, 0), (5000, 0)])
def test_a_credit_note_before_the_payment_lowers_what_the_bill_covers(credited: int, left: int) -> None:
    note = CreditNote("cn_1", "cn_1", "in_1", credited)
    paid = bill("in_1", line("pro", START, month(1)))
    assert sum(units(facts(paid, notes=(note,)), LATER).values()) == left
    void = CreditNote("cn_1:void", "cn_1", "in_1", credited, is_void=True)
    assert sum(units(facts(paid, notes=(void, note)), LATER).values()) == 1000


def test_a_session_that_is_unpaid_stands_for_an_open_bill() -> None:
    unpaid = Session("evt_1", "cs_1", START, is_paid=False)
    assert units(facts(ON_PRO, sessions=(unpaid,)), LATER) == {}
    assert units(facts(ON_PRO, sessions=(unpaid, replace(unpaid, key="evt_2", is_paid=True))), LATER) == {START: 1000}


# --- lines and shares


@pytest.mark.parametrize("is_prorated", [True, False])
def test_a_stub_of_15_of_30_days_of_pro_is_500(is_prorated: bool) -> None:
    start, anchor = month(3) + 15 * DAY, month(4)
    stub = bill("in_1", line("pro", start, anchor, is_prorated=is_prorated, amount_minor=500))
    told = snapshot(start, item("pro", start=start, end=anchor), anchor=anchor)
    assert sum(units(facts(stub, told), anchor - HOUR).values()) == 500
    assert sum(units(facts(stub), anchor - HOUR).values()) == 500, "the subscription was not reported"


def test_two_items_of_one_subscription_are_owed_each() -> None:
    lines = (line("lite", START, month(1)), line("pro", START, month(1), item="si_2"))
    two = snapshot(START, item("lite"), item("pro", id="si_2"))
    assert units(facts(bill("in_1", *lines), two), LATER) == {START: 1100}
    renewed = bill("in_2", *(replace(one, start=month(1), end=month(2)) for one in lines))
    assert units(facts(bill("in_1", *lines), two, renewed), LATER) == {START: 1100, month(1): 1100}


def test_an_item_by_the_week_beside_one_by_the_month_has_its_own_periods() -> None:
    weeks = [
        bill(f"in_w{n}", line("lite", START + 7 * n * DAY, START + 7 * (n + 1) * DAY, item="si_2", interval=WEEK))
        for n in range(4)
    ]
    assert sum(units(facts(bill("in_1", line("pro", START, month(1))), *weeks), LATER).values()) == 1400


def test_three_seats_grant_three_times() -> None:
    assert units(facts(bill("in_1", line("pro", START, month(1), 3))), LATER) == {START: 3000}


def test_a_line_of_no_plan_covers_nothing_and_is_noted() -> None:
    other = bill("in_1", line("pro", START, month(1), price="price_of_support"))
    assert units(facts(other), LATER) == {}
    assert "in_1 is paid and has no line for a plan" in account(facts(other), LATER).notes[0]


# --- trials


TRIAL_END = START + 14 * DAY
IN_TRIAL = snapshot(START, item("pro", end=TRIAL_END), status="trialing", trial_start=START, trial_end=TRIAL_END,
                    anchor=TRIAL_END)  # fmt: skip
TRIAL_BILL = bill("in_trial", line("pro", START, TRIAL_END, amount_minor=0))


@pytest.mark.parametrize("told", [(IN_TRIAL,), (TRIAL_BILL,), (IN_TRIAL, TRIAL_BILL)])
def test_a_trial_grants_once(told: tuple[object, ...]) -> None:
    billed = [replace(one, reason="subscription_create") if one is TRIAL_BILL else one for one in told]
    assert sum(units(facts(*billed), LATER).values()) == 1000
    assert sum(units(facts(*billed), LATER, book(trial_units=50)).values()) == 50


def test_an_extended_trial_grants_once_and_the_first_paid_period_whole() -> None:
    moved = TRIAL_END + 9 * DAY
    extended = replace(IN_TRIAL, key="evt_2", at=TRIAL_END - DAY, trial_end=moved, anchor=moved)
    again_for_nothing = bill("in_2", line("pro", TRIAL_END - DAY, moved, amount_minor=0), reason="subscription_update")
    paid = bill("in_3", line("pro", moved, cycle_start(moved, 1)))
    told = facts(IN_TRIAL, TRIAL_BILL, extended, again_for_nothing, paid)
    assert units(told, LATER) == {START: 1000, moved: 1000}


def test_free_days_of_a_running_subscription_grant_nothing() -> None:
    paid, until = bill("in_1", line("pro", START, month(1))), month(1) + 10 * DAY
    free = bill("in_2", line("pro", month(1), until, amount_minor=0))
    told = snapshot(month(1), item("pro", start=month(1), end=until), status="trialing", trial_end=until, anchor=until)
    assert units(facts(paid, ON_PRO, free, told), LATER) == {START: 1000}


def test_a_trial_by_the_month_grants_each_month() -> None:
    end = month(3)
    told = snapshot(START, item("pro", end=end), status="trialing", trial_start=START, trial_end=end, anchor=end)
    assert units(facts(told), LATER, book(trial_grants="monthly")) == {month(n): 1000 for n in range(3)}
    assert units(facts(told), LATER) == {START: 1000}


# --- changes


def test_lite_to_max_after_six_and_a_half_months_of_a_year() -> None:
    at = month(6) + 15.5 * DAY
    told = facts(YEAR_OF_LITE, change("in_up", ("lite", 1), ("max", 1), at, month(12)))
    found = units(told, LATER)
    assert [found[month(n)] - 100 for n in range(12)] == [0] * 6 + [2450] + [4900] * 5


def test_a_change_owes_nothing_before_a_paid_bill_carries_it_unless_it_is_trusted() -> None:
    at, bought = month(0) + 15.5 * DAY, bill("in_1", line("lite", START, month(1)))
    told = (bought, snapshot(START, item("lite")), snapshot(at, item("pro")))
    assert units(facts(*told), LATER) == {START: 100}
    assert units(facts(*told), LATER, book(on_upgrade_unbilled="trust")) == {START: 100 + 450}
    upgrade = change("in_up", ("lite", 1), ("pro", 1), at, month(1), state="open")
    assert units(facts(*told, upgrade), LATER) == {START: 100}
    assert units(facts(*told, again(upgrade, state="paid")), LATER) == {START: 550}


def test_a_full_upgrade_owes_the_whole_difference() -> None:
    told = facts(bill("in_1", line("lite", START, month(1))),
                 change("in_up", ("lite", 1), ("pro", 1), START + 20 * DAY, month(1)))  # fmt: skip
    assert units(told, LATER, book(on_upgrade="full")) == {START: 1000}


def test_plans_that_flip_on_one_day_are_one_upgrade() -> None:
    at = START + 15.5 * DAY
    bills = [
        change(f"in_c{n}", (old, 1), (new, 1), at + n * HOUR, month(1))
        for n, (old, new) in enumerate([("lite", "max"), ("max", "lite"), ("lite", "max")])
    ]
    assert units(facts(bill("in_1", line("lite", START, month(1))), *bills), LATER) == {START: 100 + 2450}


def test_more_seats_are_an_upgrade_and_only_seats_above_the_most_so_far_are_new() -> None:
    at, bought = START + 15.5 * DAY, bill("in_1", line("pro", START, month(1)))
    up = change("in_2", ("pro", 1), ("pro", 3), at, month(1))
    assert units(facts(bought, up), LATER) == {START: 2000}
    down = change("in_3", ("pro", 3), ("pro", 1), at + HOUR, month(1))
    assert units(facts(bought, up, down), LATER) == {START: 2000}
    once_more = change("in_4", ("pro", 1), ("pro", 3), at + 2 * HOUR, month(1))
    assert units(facts(bought, up, down, once_more), LATER) == {START: 2000}


def test_a_downgrade_takes_nothing_from_the_running_month() -> None:
    told = facts(bill("in_1", line("pro", START, month(1))),
                 change("in_2", ("pro", 1), ("lite", 1), START + 3 * DAY, month(1)))  # fmt: skip
    assert units(told, LATER) == {START: 1000}


def test_a_renewal_owes_whole() -> None:
    told = facts(
        bill("in_1", line("lite", START, month(1))),
        change("in_2", ("lite", 1), ("max", 1), START + 15.5 * DAY, month(1)),
        bill("in_3", line("max", month(1), month(2))),
    )
    assert units(told, LATER) == {START: 2550, month(1): 5000}


def test_a_change_from_the_year_to_the_month_on_day_40_stops_the_months_of_the_year() -> None:
    at = START + 40 * DAY
    new = bill("in_m", line("pro", at, month(12), id="c", amount_minor=-800, is_prorated=True, interval=YEAR),
               line("pro", at, cycle_start(at, 1)))  # fmt: skip
    assert units(facts(YEAR_OF_PRO, new), LATER) == {START: 1000, month(1): 1000, at: 1000}


# --- the end, refunds


def ended(at_month: int) -> object:
    return snapshot(month(at_month), item("pro"), status="canceled", ended_at=month(at_month), rank=2)


@pytest.mark.parametrize(("back", "months"), [(6000, 6), (9000, 3), (12000, 0), (0, 12)])
def test_after_the_end_a_refund_counts_backwards_from_the_end_of_its_bill(back: int, months: int) -> None:
    returned = {"in_year": Returned(back, 12000)}
    told = facts(ON_PRO, YEAR_OF_PRO, ended(6), returned=returned)
    assert units(told, LATER) == {month(n): 1000 for n in range(months)}


def test_while_it_runs_a_refund_takes_its_share_of_each_month() -> None:
    told = facts(ON_PRO, YEAR_OF_PRO, returned={"in_year": Returned(6000, 12000)})
    assert units(told, LATER) == {month(n): 500 for n in range(12)}


def test_after_the_end_only_a_paid_bill_that_stands_covers() -> None:
    assert units(facts(ON_PRO, ended(0)), LATER) == {}
    assert len(units(facts(ON_PRO, YEAR_OF_PRO, ended(3)), LATER)) == 12


# --- pauses


def test_months_that_begin_in_a_pause_are_owed_only_if_they_are_paid_or_given() -> None:
    paused = snapshot(START + 20 * DAY, item("pro"), is_paused=True)
    later = snapshot(month(1), item("pro", start=month(1)), is_paused=True)
    assert units(facts(ON_PRO, paused, later), month(1)) == {START: 1000}
    assert units(facts(ON_PRO, paused, later), month(1), book(paused_grants=True)) == {START: 1000, month(1): 1000}
    paid = bill("in_2", line("pro", month(1), month(2)))
    assert units(facts(ON_PRO, paused, later, paid), month(1)) == {month(1): 1000, START: 1000}


# --- openings, promises


def test_what_was_granted_before_is_owed_as_it_stands_and_later_bills_add_what_is_new() -> None:
    opening = Opening(month(1), (OpeningPeriod("lite", START, month(1), 100),))
    assert units(facts(ON_PRO, opening=opening), START + DAY) == {START: 100}
    late = bill("in_1", line("pro", START, month(1)))
    assert units(facts(ON_PRO, late, opening=opening), START + DAY) == {START: 1000}


def test_what_a_checkout_promised_holds_for_the_first_paid_period() -> None:
    promise = Promise(ADA, "pro", 1200)
    told = [bill(f"in_{n}", line("pro", month(n), month(n + 1), 2)) for n in range(2)]
    assert units(facts(ON_PRO, *told, promise=promise), LATER) == {START: 2400, month(1): 2000}


# --- terms


def test_a_period_uses_the_terms_that_were_in_force_at_its_start() -> None:
    later = terms("pro", units=1500, since=month(3) + DAY)
    found = units(facts(ON_PRO, YEAR_OF_PRO), LATER, type(BOOK)([*BOOK.rows, later]))
    assert found == {month(n): 1000 if n < 4 else 1500 for n in range(12)}


def test_tolerance_of_an_anchor_that_moves_a_little_grants_nothing_again() -> None:
    moved = replace(ON_PRO, key="evt_2", at=START + HOUR, anchor=START + timedelta(seconds=40))
    paid = bill("in_1", line("pro", START, month(1)))
    assert units(facts(ON_PRO, moved, paid), LATER) == {START: 1000}
