"""Whose a subscription is: the metadata, the session that names it, the checkout's promise, the provider's customer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from models.plans.facts import Promise, Session
from models.plans.rules.owner import Owner
from tests.plans.rules.samples import DAY, HOUR, START, account, bill, facts, item, line, month, snapshot, units

LATER = month(24)
NAMELESS = snapshot(START, item("pro"), customer=None, provider_customer="cus_1")
OF_BO = Session("evt_s", "cs_1", START, is_paid=True, customer="bo")
OF_CY = Promise("cy", "pro", 1000)


def owner(*told: Any, **more: Any) -> Owner:
    return account(facts(*told, **more), LATER).owner


def test_each_source_decides_before_the_next_one() -> None:
    every: dict[str, Any] = {"sessions": (OF_BO,), "promise": OF_CY, "mapped": frozenset({"di"})}
    named = replace(NAMELESS, customer="ada")
    assert owner(named, **every).latest == "ada"
    assert owner(NAMELESS, **every).latest == "bo"
    assert owner(NAMELESS, **{**every, "sessions": ()}).latest == "cy"
    assert owner(NAMELESS, mapped=frozenset({"di"})).latest == "di"


def test_the_customer_behind_the_providers_customer_decides_after_an_hour_only() -> None:
    told = facts(NAMELESS, mapped=frozenset({"di"}))
    assert units(told, START + HOUR - DAY / 86400) == {}
    assert units(told, START + HOUR) == {START: 1000}


def test_a_providers_customer_that_stands_for_two_decides_nothing() -> None:
    found = owner(NAMELESS, mapped=frozenset({"di", "eve"}))
    assert found.latest is None
    assert "'cus_1' stands for several customers (di, eve)" in str(found.problem)
    assert account(facts(NAMELESS, mapped=frozenset({"di", "eve"})), LATER).owed == []


@pytest.mark.parametrize(
    ("told", "says"),
    [(NAMELESS, "names 'cus_1'"), (replace(NAMELESS, provider_customer=None), "put it there")],
)
def test_without_any_of_them_the_problem_names_the_field(told: Any, says: str) -> None:
    assert says in str(owner(told).problem)


def test_a_changed_customer_has_the_periods_that_start_after_the_change() -> None:
    first = replace(NAMELESS, customer="ada", items=(item("pro", end=month(3)),))
    moved = replace(first, key="evt_2", at=month(1) + 9 * DAY, customer="bo")
    paid = [bill(f"in_{n}", line("pro", month(n), month(n + 1)), customer=None) for n in range(3)]
    for order in itertools.permutations([first, moved, *paid]):
        found = account(facts(*order), LATER)
        assert [(one.start, one.customer) for one in found.owed] == [
            (START, "ada"), (month(1), "ada"), (month(2), "bo"),
        ]  # fmt: skip


def test_the_metadata_of_a_bill_name_the_customer_at_its_creation() -> None:
    told = (replace(NAMELESS, customer="ada"), bill("in_2", line("pro", month(1), month(2)), customer="bo"))
    assert [one.customer for one in account(facts(*told), LATER).owed] == ["ada", "bo"]
    assert owner(*told).at(START) == "ada"


def test_metadata_that_come_later_leave_what_the_session_named_before() -> None:
    named = replace(NAMELESS, key="evt_2", at=START + 9 * DAY, customer="ada")
    found = owner(NAMELESS, named, sessions=(OF_BO,))
    assert (found.at(START), found.at(month(1))) == ("bo", "ada")


def test_the_promise_of_a_checkout_of_another_customer_does_not_count() -> None:
    told = facts(replace(NAMELESS, customer="ada"), promise=Promise("cy", "pro", 9999))
    assert units(told, LATER) == {START: 1000}
