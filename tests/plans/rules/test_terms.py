"""The terms of plans over time: a period uses those at its start, and a price once known stays known."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from models.catalog.apps import Plan
from models.cycles import LONG_AGO
from models.plans import codec
from models.plans.facts import Bill, Snapshot
from models.plans.terms import Terms, TermsBook, of_plan
from tests.plans.rules.samples import DAY, START, bill, item, line, month, snapshot, terms

OLD = terms("pro")
NEW = terms("pro", units=1500, prices=("price_pro", "price_year"), since=month(1))
GONE = terms("pro", units=1, prices=(), since=month(2))


def test_the_first_terms_hold_for_all_time_before_and_later_ones_from_their_start() -> None:
    known = TermsBook([replace(OLD, since=START), NEW])
    at = [START - 400 * DAY, START, month(1) - DAY / 86400, month(1), month(9)]
    assert [known.terms("pro", when).units for when in at] == [1000, 1000, 1000, 1500, 1500]  # type: ignore[union-attr]
    assert known.latest("pro") == NEW
    assert known.terms("none", START) is None


def test_a_price_once_known_stays_known_and_one_added_later_was_of_its_plan_before() -> None:
    known = TermsBook([OLD, NEW, GONE])
    assert known.plan_of("price_pro", month(9)) == "pro"
    assert known.plan_of("price_year", START) == "pro"
    assert known.plan_of("price_other", START) is None
    assert known.plan_of(None, START) is None


def test_a_price_that_moves_to_another_plan_is_of_each_in_its_time() -> None:
    moved = terms("max", prices=("price_max", "price_pro"), since=month(1))
    known = TermsBook([OLD, terms("max"), moved, replace(GONE, since=month(1))])
    assert known.plan_of("price_pro", START) == "pro"
    assert known.plan_of("price_pro", month(1)) == "max"


@given(st.permutations([OLD, NEW, GONE, terms("lite"), terms("max", since=month(1))]))
def test_the_order_of_the_rows_does_not_matter(rows: list[Terms]) -> None:
    assert TermsBook(rows).rows == TermsBook(reversed(rows)).rows


def test_the_terms_of_a_plan_of_the_catalog() -> None:
    plan = Plan("pro", 1000, 2900, "usd", stripe_price="price_1", stripe_prices=("price_2",), paypal_plan="P-1")
    found = of_plan(plan, LONG_AGO)
    assert set(found.prices) == {"price_1", "price_2", "P-1"}
    assert (found.units_of_trial, replace(found, trial_units=5).units_of_trial) == (1000, 5)
    assert found.content == replace(found, since=START).content
    assert found.content != replace(found, units=1).content


def test_facts_and_terms_are_read_as_they_were_written() -> None:
    told = snapshot(START, item("pro", 3), previous={"status": "trialing", "items": (item("lite"),), "anchor": START})
    paid = bill("in_1", line("pro", START, month(1), credits=("il_0",)), aliases=("pi_1",), credited_minor=5)
    assert codec.read(Snapshot, codec_content(told)) == told
    assert codec.read(Bill, codec_content(paid)) == paid
    assert codec.read(Terms, codec_content(NEW)) == NEW
    assert codec.read(Terms, {**codec_content(NEW), "of_a_later_version": 1}) == NEW


def codec_content(fact: object) -> dict[str, object]:
    import orjson

    found: dict[str, object] = orjson.loads(codec.write(fact))
    return found
