"""The order of snapshots: the provider's clock, then created, updated, deleted, then previous values, then the key."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from models.plans.facts import CREATED, DELETED, Snapshot
from models.plans.rules.timeline import LONGEST_TIE, SKEW, Timeline
from tests.plans.rules.samples import DAY, HOUR, START, item, month, snapshot

LATER = month(24)
FIRST = snapshot(START, item("lite"), key="evt_5", rank=CREATED)


def keys(told: Sequence[Snapshot]) -> list[str]:
    return [one.key for one in Timeline(told, LATER).snapshots]


def every_order_is(told: Sequence[Snapshot], expected: list[str]) -> None:
    for order in itertools.permutations(told):
        assert keys(order) == expected


def test_the_providers_clock_orders_and_the_order_of_arrival_does_not() -> None:
    told = [replace(FIRST, key=f"evt_{9 - n}", at=START + n * HOUR, plan=f"p{n}") for n in range(4)]
    every_order_is(told, ["evt_9", "evt_8", "evt_7", "evt_6"])


def test_of_one_moment_created_precedes_updated_and_deleted_comes_last() -> None:
    updated = replace(FIRST, key="evt_4", rank=1, status="past_due")
    deleted = replace(FIRST, key="evt_1", rank=DELETED, status="canceled")
    every_order_is([FIRST, updated, deleted], ["evt_5", "evt_4", "evt_1"])


def test_updates_of_one_moment_follow_their_previous_values() -> None:
    told = [
        replace(FIRST, key="evt_3", rank=1, status="past_due", previous={"status": "active"}),
        replace(FIRST, key="evt_2", rank=1, status="unpaid", previous={"status": "past_due"}),
        replace(FIRST, key="evt_1", rank=1, status="canceled", previous={"status": "unpaid"}),
    ]
    every_order_is([FIRST, *told], ["evt_5", "evt_3", "evt_2", "evt_1"])


def test_a_circle_of_previous_values_is_ordered_by_key() -> None:
    one = replace(FIRST, key="evt_1", rank=1, status="past_due", previous={"status": "active"})
    other = replace(FIRST, key="evt_2", rank=1, status="active", previous={"status": "past_due"})
    every_order_is([one, other], ["evt_1", "evt_2"])


@given(st.lists(st.sampled_from(["active", "past_due", "unpaid", "trialing"]), min_size=1, max_size=LONGEST_TIE + 5),
       st.randoms(use_true_random=False))  # fmt: skip
def test_ties_of_any_kind_have_one_order(statuses: list[str], dice: object) -> None:
    told = [
        replace(FIRST, key=f"evt_{n:02}", rank=1, status=status, previous={"status": statuses[n - 1]} if n else {})
        for n, status in enumerate(statuses)
    ]
    mixed = list(told)
    dice.shuffle(mixed)  # type: ignore[attr-defined]
    assert keys(mixed) == keys(told)


def test_a_snapshot_that_equals_both_neighbours_is_dropped() -> None:
    told = [replace(FIRST, key=f"evt_{n}", at=START + n * DAY) for n in range(5)]
    changed = replace(told[2], status="past_due")
    every_order_is([*told[:2], changed, *told[3:]], ["evt_0", "evt_1", "evt_2", "evt_3", "evt_4"])
    assert keys(told) == ["evt_0", "evt_4"]


def test_a_time_in_the_future_is_unknown_until_it_comes() -> None:
    to_come = replace(FIRST, key="evt_6", at=START + 9 * DAY, status="canceled", rank=DELETED)
    before = Timeline([FIRST, to_come], START)
    assert before.latest == FIRST
    assert before.ended_at is None
    assert before.unknown_until == to_come.at - SKEW
    assert Timeline([FIRST, to_come], to_come.at).ended_at == to_come.at


def test_a_late_report_of_the_start_does_not_revive_what_ended() -> None:
    deleted = replace(FIRST, key="evt_6", at=START + DAY, rank=DELETED, status="canceled", ended_at=START + DAY)
    for order in itertools.permutations([FIRST, deleted]):
        found = Timeline(order, LATER)
        assert found.latest == deleted
        assert found.ended_at == START + DAY


def test_a_change_within_an_hour_of_the_start_of_a_period_belongs_to_it() -> None:
    changed = replace(FIRST, key="evt_6", at=month(1) + HOUR, plan="pro", rank=1)
    assert Timeline([FIRST, changed], LATER).in_force(month(1)) == changed
    late = replace(changed, at=month(1) + HOUR + DAY / 86400)
    assert Timeline([FIRST, late], LATER).in_force(month(1)) == FIRST
