"""Laws of the plan alone, without a database: units are conserved, entries add up, nothing goes below zero."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.planning.movements import Capture, Clawback, Expire, Freeze, Grant, Hold, Movement, Release, Reverse, Take
from models.planning.plan import plan
from models.planning.state import BURN_ORDERS, NEVER, Account, Lot, Plan, Policy, Posted, State

MANY = settings(max_examples=5 * settings().max_examples)  # cheap: there is no database
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
EARLIER = NOW - timedelta(hours=3)
UNITS = st.integers(0, 30)
HOURS = st.none() | st.integers(-5, 5)
POLICIES = st.builds(
    Policy,
    burn_order=st.sampled_from(sorted(BURN_ORDERS)),
    on_shortfall=st.sampled_from(["partial", "debt", "reject"]),
    refund_grace=st.sampled_from([timedelta(0), timedelta(hours=2)]),
)


def at(hours: int | None) -> datetime:
    return NEVER if hours is None else NOW + timedelta(hours=hours)


def movement(kind: type[Movement], **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Movement]:
    return st.builds(kind, app=st.just("app"), customer=st.just("ada"), **values)


HOLD_KEYS = st.sampled_from(["hold:1", "hold:2", "hold:3"])
MOVEMENTS = st.lists(
    st.one_of(
        movement(Take, units=UNITS, received_at=st.sampled_from([None, None, EARLIER])),
        movement(Take, units=UNITS, on_shortfall=st.sampled_from(["partial", "debt", "reject"])),
        movement(
            Grant,
            units=UNITS,
            type=st.just("bonus"),
            source=st.just("gift"),
            expires_at=HOURS.map(lambda hours: None if hours is None else at(hours)),
            priority=st.integers(0, 1),
        ),
        movement(Hold, key=HOLD_KEYS, units=UNITS, up_to=st.booleans(), expires_at=st.just(NOW)),
        movement(Capture, hold_key=HOLD_KEYS, units=st.none() | UNITS),
        movement(Release, hold_key=HOLD_KEYS),
        movement(Reverse, entry_id=st.just(2), units=st.none() | UNITS),
        movement(Clawback, entry_id=st.just(1), target_units=UNITS),
        movement(Freeze, entry_ids=st.lists(st.integers(1, 6)), frozen=st.booleans()),
        movement(Expire),
    ),
    min_size=1,
    max_size=8,
)


@st.composite
def states(draw: st.DrawFn) -> State:
    """An account with a few lots; entry 1 granted the first of them, entry 2 is a deduction that it paid for."""
    account = Account(1, "app", "ada", policy=draw(POLICIES))
    bought, spent = draw(st.integers(1, 30)), draw(UNITS)
    first = Lot(1, 1, 1, bought + spent, bought, expires_at=at(draw(HOURS)), effective_at=EARLIER)
    account.lots = [first] + [
        Lot(
            *(id, 1, 0, 30, draw(st.integers(1, 30))),
            expires_at=at(draw(HOURS)),
            frozen=draw(st.booleans()) and draw(st.booleans()),
            priority=draw(st.integers(0, 1)),
            effective_at=EARLIER + timedelta(minutes=draw(st.integers(0, 2))),
        )
        for id in range(2, draw(st.integers(2, 6)))
    ]
    account.balance = sum(lot.remaining for lot in account.lots)
    account.oldest_unsettled_at = draw(st.sampled_from([None, None, EARLIER]))
    granted = Posted(1, "app", 1, "purchase", bought + spent, [(1, bought + spent)])
    deducted = Posted(2, "app", 1, "deduction", -spent, [(1, -spent)] if spent else [])
    return State(
        accounts={("app", "ada"): account},
        lots={lot.id: lot for lot in account.lots},
        posted={1: granted, 2: deducted},
    )


def work_out(state: State, movements: Sequence[Movement], first_id: int = 100) -> Plan:
    ids = itertools.count(first_id).__next__
    return plan(state, movements, now=NOW, entry_ids=ids, lot_ids=ids, hold_ids=ids)


def account_of(state: State) -> Account:
    return state.accounts["app", "ada"]


def units_of(account: Account) -> dict[int, int]:
    return {lot.id: lot.remaining + lot.held for lot in account.lots}


@MANY
@given(states(), MOVEMENTS)
def test_the_balance_is_what_the_lots_have_less_the_debt(state: State, movements: list[Movement]) -> None:
    work_out(state, movements)
    account = account_of(state)
    assert account.balance == sum(units_of(account).values()) - account.debt
    assert account.held == sum(lot.held for lot in account.lots)


@MANY
@given(states(), MOVEMENTS)
def test_nothing_goes_below_zero(state: State, movements: list[Movement]) -> None:
    work_out(state, movements)
    account = account_of(state)
    assert account.debt >= 0
    assert all(lot.remaining >= 0 and lot.held >= 0 and lot.expired >= 0 for lot in account.lots)


@MANY
@given(states(), MOVEMENTS)
def test_debt_stands_only_where_nothing_could_pay(state: State, movements: list[Movement]) -> None:
    work_out(state, movements)
    account = account_of(state)
    assert not account.debt or not account.payers(1, NOW)


@MANY
@given(states(), MOVEMENTS)
def test_entries_form_a_chain_from_the_balance_before_to_the_balance_after(
    state: State, movements: list[Movement]
) -> None:
    balance, number = account_of(state).balance, account_of(state).seq
    for entry in work_out(state, movements).entries:
        number += 1
        assert (entry.seq, entry.balance_before) == (number, balance)
        balance += entry.amount
    assert (account_of(state).seq, account_of(state).balance) == (number, balance)


@MANY
@given(states(), MOVEMENTS)
def test_allocations_say_what_happened_to_every_lot_and_to_the_debt(state: State, movements: list[Movement]) -> None:
    before = units_of(account_of(state))
    it = work_out(state, movements)
    by_entry: dict[int, int] = defaultdict(int)
    by_lot: dict[int | None, int] = defaultdict(int)
    for entry_id, lot_id, units in it.allocations:
        assert units
        by_entry[entry_id] += units
        by_lot[lot_id] += units
    assert by_entry == {entry.id: entry.amount for entry in it.entries}
    after = units_of(account_of(state))
    assert {lot: units - before.get(lot, 0) for lot, units in after.items()} == {lot: by_lot[lot] for lot in after}
    assert account_of(state).debt == -by_lot[None]


@MANY
@given(states(), MOVEMENTS)
def test_all_that_changed_is_marked_to_be_written(state: State, movements: list[Movement]) -> None:
    before = copy.deepcopy(state.lots)
    it = work_out(state, movements)
    for lot in account_of(state).lots:
        was = before.get(lot.id)
        if was is None:
            assert lot.id in it.new_lot_ids
            continue
        if (was.remaining, was.held, was.open) != (lot.remaining, lot.held, lot.open):
            assert lot.id in it.burned_lots
        if (was.expired, was.frozen, was.expires_at) != (lot.expired, lot.frozen, lot.expires_at):
            assert lot.id in it.altered_lots
    assert all(lot.open == (lot.remaining > 0 or lot.held > 0) for lot in account_of(state).lots)
    assert not it.entries or it.accounts


@MANY
@given(states(), MOVEMENTS)
def test_what_is_shown_is_what_the_lots_that_live_add_up_to(state: State, movements: list[Movement]) -> None:
    last = work_out(state, movements).outcomes[-1]
    account = account_of(state)
    alive = [lot for lot in account.lots if lot.expires_at > NOW]
    assert last.balance == sum(lot.remaining for lot in alive) + account.held - account.debt
    assert last.available == max(0, sum(lot.remaining for lot in alive if not lot.frozen) - account.debt)


@MANY
@given(states(), MOVEMENTS, st.integers(0, 8))
def test_one_batch_is_the_same_as_two(state: State, movements: list[Movement], cut: int) -> None:
    twin = copy.deepcopy(state)
    whole = work_out(state, movements)
    first = work_out(twin, movements[:cut])
    second = work_out(twin, movements[cut:], first_id=1000)
    assert [told(it) for it in whole.entries] == [told(it) for it in [*first.entries, *second.entries]]
    assert [(o.status, o.units, o.balance) for o in whole.outcomes] == [
        (o.status, o.units, o.balance) for o in [*first.outcomes, *second.outcomes]
    ]


def told(entry: Any) -> tuple[Any, ...]:
    return entry.type, entry.amount, entry.balance_before, entry.seq


@MANY
@given(states(), UNITS, st.sampled_from(["partial", "debt", "reject"]), st.sampled_from([None, EARLIER]))
def test_a_take_burns_in_order_and_only_what_may_pay(
    state: State, units: int, rule: Any, received_at: datetime | None
) -> None:
    work_out(state, [Expire(app="app", customer="ada")])
    account = account_of(state)
    before = {lot.id: lot.remaining for lot in account.lots}
    when = received_at or NOW
    able = [lot for lot in copy.deepcopy(account.lots) if lot.remaining and not lot.frozen and lot.expires_at > when]
    able.sort(key=BURN_ORDERS[account.policy.burn_order])
    take = Take(app="app", customer="ada", units=units, on_shortfall=rule, received_at=received_at)
    (outcome,) = work_out(state, [take]).outcomes
    burned = [before[lot.id] - state.lots[lot.id].remaining for lot in able]
    there = sum(lot.remaining for lot in able)
    expected = 0 if rule == "reject" and units > there else min(units, there)
    assert sum(burned) == expected == sum(before.values()) - sum(lot.remaining for lot in account.lots)
    full = [part == lot.remaining for part, lot in zip(burned, able, strict=True)]
    started = [part > 0 for part in burned]
    assert all(full[n] for n in range(len(able)) if any(started[n + 1 :]))
    assert outcome.units + outcome.shortfall == units or outcome.status == "refused"
