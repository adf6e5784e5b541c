"""Carried rates on a real database: however usage is batched, ordered, repeated and refunded, the units add up exactly.

What was charged at a rate is the exact sum of all quantities × units ÷ per, rounded up once, at every moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import usage
from jobs.ledger import charges, refunds
from models import database
from models.catalog import catalog
from models.catalog.apps import Rate
from models.errors import InsufficientBalance
from models.ledger import carries
from models.ledger.verify import verify
from models.planning.carry import Carry
from models.usage import reports
from tests.support import emptied
from tests.support.cast import app, balance, give, settle_all

SLUG = "ai-services"
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
CUSTOMERS = ("ada", "bo")
GIVEN = 10**7
RATES = ("gpt4", "gpt35", "sms")
# Awkward terms: primes, a unit that is a multiple of `per`, fractions that never end in decimals.
TERMS = st.tuples(st.integers(1, 200), st.sampled_from([1, 3, 7, 60, 997, 1000]))


@pytest.fixture(autouse=True)
def shipped(db: str) -> Iterator[None]:
    yield
    catalog.use(None)


@dataclass(frozen=True)
class Use:
    """One report or charge. `lines`: (rate, quantity); one line is written without `lines`."""

    customer: str
    lines: tuple[tuple[str, int], ...]
    charged: bool

    def body(self, number: int) -> dict[str, Any]:
        lines = [{"rate": rate, "quantity": quantity} for rate, quantity in self.lines]
        return {"id": f"use-{number}", "customer": self.customer, **(lines[0] if len(lines) == 1 else {"lines": lines})}


LINE = st.tuples(st.sampled_from(RATES), st.integers(0, 3000))
USES = st.lists(
    st.builds(Use, st.sampled_from(CUSTOMERS), st.lists(LINE, min_size=1, max_size=3).map(tuple), st.booleans()),
    max_size=25,
)


def begin(terms: dict[str, tuple[int, int]], units: int = GIVEN) -> None:
    """An empty ledger, whose customers have so many units, under a catalog of these rates."""
    emptied.empty()
    use_terms(terms)
    for customer in CUSTOMERS:
        if units:
            give(customer, units, now=NOW)


def use_terms(terms: dict[str, tuple[int, int]]) -> None:
    rates = {key: Rate(key, *each, rounding="each" if key == "sms" else "carry") for key, each in terms.items()}
    whole = catalog.current()
    catalog.use(catalog.Catalog({**whole.apps, SLUG: replace(whole.apps[SLUG], rates=rates)}))


def apply(use: Use, number: int) -> int | None:
    """Report or charge it. Returns the entry of a charge that has one."""
    if not use.charged:
        usage.accept(app(), [use.body(number)], now=NOW)
        return None
    try:
        return charges.charge(app(), use.body(number), now=NOW)[0]["entry"]
    except InsufficientBalance:
        return None


def due(uses: Sequence[Use], terms: dict[str, tuple[int, int]], customer: str) -> int:
    """The price of the customer's usage: each rate's exact sum rounded up once, but `sms` line by line."""
    exact = {rate: Fraction(0) for rate in RATES}
    rounded = 0
    for use in uses:
        for rate, quantity in use.lines if use.customer == customer else ():
            cost = Fraction(quantity * terms[rate][0], terms[rate][1])
            if rate == "sms":
                rounded += math.ceil(cost)
            else:
                exact[rate] += cost
    return rounded + sum(map(math.ceil, exact.values()))


def failures() -> list[str]:
    checks = verify(database.connection(), now=NOW, alarm_age=timedelta(days=365))
    return [text for check in checks for text in check.failures]


ALL_TERMS = st.fixed_dictionaries(dict.fromkeys(RATES, TERMS))


@given(
    terms=ALL_TERMS, uses=USES, limit=st.integers(1, 30), settle=st.lists(st.booleans(), min_size=25), data=st.data()
)
def test_any_order_batching_and_repetition_costs_the_same(
    terms: dict[str, tuple[int, int]], uses: list[Use], limit: int, settle: list[bool], data: st.DataObject
) -> None:
    begin(terms)
    order = data.draw(st.permutations(range(len(uses))))
    for number, settles in zip(order, settle, strict=False):
        apply(uses[number], number)
        if settles:
            usage.settle(now=NOW, limit=limit)
            apply(uses[number], number)
    while usage.settle(now=NOW, limit=limit):
        pass
    for customer in CUSTOMERS:
        assert GIVEN - balance(customer) == due(uses, terms, customer)
    assert failures() == []


@given(terms=ALL_TERMS, uses=USES, refunded=st.lists(st.integers(0, 24), max_size=6), late=st.booleans())
def test_refunds_at_any_time_change_no_price(
    terms: dict[str, tuple[int, int]], uses: list[Use], refunded: list[int], late: bool
) -> None:
    """A refund between two uses, after all of them, or none: each use costs the same."""
    uses = [replace(use, charged=True) for use in uses]

    def run(when: str) -> tuple[list[int], int]:
        begin(terms)
        costs, returned, entries = [], 0, {}
        for number, use in enumerate(uses):
            answer = charges.charge(app(), use.body(number), now=NOW)[0]
            costs.append(answer["units"])
            entries[number] = answer
            if when == "between" and number in refunded:
                returned += _refund(number, answer)
        if when == "after":
            returned = sum(_refund(number, entries[number]) for number in set(refunded) & entries.keys())
        assert sum(balance(customer) for customer in CUSTOMERS) == 2 * GIVEN - sum(costs) + returned
        assert failures() == []
        return costs, returned

    never, between = run("never"), run("after" if late else "between")
    assert between[0] == never[0]
    assert between[1] == sum(never[0][number] for number in set(refunded) if number < len(uses))


def _refund(number: int, answer: dict[str, Any]) -> int:
    if answer["entry"] is None:
        return 0
    body = {"id": f"refund-{number}", "entry": answer["entry"], "reason": "sorry"}
    first, _ = refunds.refund(app(), body, now=NOW)
    assert refunds.refund(app(), body, now=NOW) == (first, False)
    return int(answer["units"])


@given(uses=USES, units=st.integers(0, 60), rule=st.sampled_from(["partial", "debt", "reject"]))
def test_too_few_units_leave_no_fraction_behind(uses: list[Use], units: int, rule: Any) -> None:
    """What is refused is not carried; what is taken in part is carried whole."""
    terms = {"gpt4": (60, 1000), "gpt35": (2, 7), "sms": (1, 1)}
    begin(terms, units)
    whole = catalog.current()
    catalog.use(catalog.Catalog({**whole.apps, SLUG: replace(whole.apps[SLUG], on_shortfall=rule)}))
    for number, use in enumerate(uses):
        apply(use, number)
    settle_all(now=NOW)
    for customer in CUSTOMERS:
        shown = [reports.get(SLUG, use.body(n)["id"]) for n, use in enumerate(uses) if not use.charged]
        taken = [use for use in uses if not use.charged]
        rows = [(use, row) for use, row in zip(taken, shown, strict=True) if use.customer == customer]
        settled = [(use, row) for use, row in rows if row["state"] == "settled"]
        made = [
            use for n, use in enumerate(uses) if use.charged and use.customer == customer and _charged(n) is not None
        ]
        charged = sum(_charged(n) or 0 for n, use in enumerate(uses) if use.charged and use.customer == customer)
        priced = charged + sum(row["units"] + row["shortfall"] for _, row in settled)
        assert priced == due([use for use, _ in settled] + made, terms, customer)
    assert failures() == []


def _charged(number: int) -> int | None:
    """The units of the charge; None if it was refused."""
    sql = "SELECT answer ->> 'units' FROM request WHERE resource = 'charge' AND id = %s"
    rows = database.read(sql, [f"use-{number}"])
    return int(rows[0][0]) if rows else None


@given(steps=st.lists(st.tuples(st.integers(0, 2000), TERMS), min_size=1, max_size=30))
def test_changed_prices_never_lose_or_invent_a_part_of_a_unit(steps: list[tuple[int, tuple[int, int]]]) -> None:
    """The plain sum of fractions, against the running total: after every step, and in every order."""
    for order in (steps, steps[::-1], sorted(steps)):
        carry, exact, charged = Carry(1, "r"), Fraction(0), 0
        for quantity, (units, per) in order:
            charged += carry.add(quantity * units, per)
            exact += Fraction(quantity * units, per)
            assert charged == carry.charged == math.ceil(exact)
            assert carry.fraction == charged - exact
            assert 0 <= carry.fraction < 1


@given(changes=st.lists(st.tuples(st.integers(0, 500), TERMS, st.booleans()), max_size=8))
def test_reports_under_changing_prices_add_up_in_the_database(
    changes: list[tuple[int, tuple[int, int], bool]],
) -> None:
    begin({"gpt4": (1, 1)})
    exact = Fraction(0)
    for number, (quantity, terms, settles) in enumerate(changes):
        use_terms({"gpt4": terms})
        usage.accept(app(), [Use("ada", (("gpt4", quantity),), False).body(number)], now=NOW)
        exact += Fraction(quantity * terms[0], terms[1])
        if settles:
            settle_all(now=NOW)
    use_terms({})
    settle_all(now=NOW)
    assert GIVEN - balance("ada") == math.ceil(exact)
    total = carries.of_customer(SLUG, "ada").get("gpt4", Carry(0, "gpt4"))
    assert Fraction(total.numerator, total.denominator) == exact
    assert failures() == []


@given(terms=ALL_TERMS, uses=USES)
def test_drains_and_charges_at_once_cost_the_same(terms: dict[str, tuple[int, int]], uses: list[Use]) -> None:
    begin(terms)

    def work(part: int) -> None:
        try:
            for number in range(part, len(uses), 3):
                apply(uses[number], number)
                usage.settle(now=NOW, limit=2)
            while usage.settle(now=NOW, limit=3):
                pass
        finally:
            database.release()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    settle_all(now=NOW)
    for customer in CUSTOMERS:
        assert GIVEN - balance(customer) == due(uses, terms, customer)
    assert failures() == []
