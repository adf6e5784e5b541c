"""PayPal's subscriptions: what sales and states grant and take, in whatever order their events come."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.payments import checkouts
from jobs.providers.facts import CheckoutEnded
from jobs.providers.paypal import checkout as paypal_checkout
from jobs.providers.paypal import client as paypal_client
from models import cycles, database
from models.errors import ProviderRefused
from models.ledger import balances
from models.plans import plan_lots, subscriptions
from models.plans.facts import Bill
from tests.providers.paypal.test_events import deliver, facts
from tests.support import emptied
from tests.support.cast import ADA, BO, app, balance, event_states
from tests.support.providers.paypal_events import dispute, event, execution, sale, sale_refund, subscription, written
from tests.support.providers.shop import PAGES, change

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
START = datetime(2026, 1, 31, 10, 0, tzinfo=timezone.utc)
CUSTOM = f"customer={ADA}&plan=pro&app={APP}"
Told = dict[str, Any]


@pytest.fixture(autouse=True)
def plans(db: str) -> None:
    """Two plans that are sold through PayPal: pro, 1000 units for 29.00, and max, 4000 for 99.00."""
    catalog_of(29)


def catalog_of(dollars: int, **changes: Any) -> None:
    plan = replace(app(APP).plans["pro"], paypal_plan="P-PRO", price_minor=dollars * 100, expires_after=None, **changes)
    larger = replace(plan, key="max", units=4000, price_minor=9900, paypal_plan="P-MAX", tier="max")
    change(APP, plans={"pro": plan, "max": larger})


def cycle(number: int) -> datetime:
    return cycles.cycle_start(START, number)


def told(type_: str, at: datetime | None = None, *, start: datetime = START, custom: str = CUSTOM, **more: Any) -> Told:
    """An event of the subscription at that time of PayPal's."""
    it = subscription(custom, start, at=at, **more)
    return {**event(f"BILLING.SUBSCRIPTION.{type_}", it), "create_time": written(at or start)}


def paid(number: int, value: str = "29.00", *, at: datetime | None = None, **more: Any) -> Told:
    """A sale in the cycle of that number."""
    made = sale(value, at or cycle(number), number=more.pop("id", str(number)), custom=more.pop("custom", CUSTOM))
    return event(more.pop("type", "PAYMENT.SALE.COMPLETED"), {**made, **more})


def refunded(value: str, of: int, type_: str = "REFUNDED", **more: Any) -> Told:
    refund = sale_refund(value, of=str(of), **{"number": f"{of}-{value}", **more})
    return event(f"PAYMENT.SALE.{type_}", refund)


def say(now: datetime, *all_told: Told) -> None:
    for one in all_told:
        deliver(one, now=now, slug=APP)


def lots() -> list[tuple[str, str, int, str | None]]:
    """(Plan, the day on which its period begins, units that are not clawed back, the payment) of the lots."""
    rows = [id_ for (id_,) in database.read("SELECT id FROM subscription")]
    found = database.transaction(lambda conn: [lot for id_ in rows for lot in plan_lots.of_subscription(conn, id_)])
    left = [(lot, lot.granted - lot.clawed) for lot in found]
    return sorted((lot.plan, lot.start.date().isoformat(), units, lot.payment) for lot, units in left if units)


def totals() -> list[tuple[str, str, int]]:
    """The lots without their payments, one for each plan and period."""
    found: dict[tuple[str, str], int] = {}
    for plan, start, units, _ in lots():
        found[plan, start] = found.get((plan, start), 0) + units
    return sorted((plan, start, units) for (plan, start), units in found.items())


def by_period(found: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    units: Counter[str] = Counter()
    for _, start, count in found:
        units[start] += count
    return dict(units)


def orders(story: Sequence[Told], most: int = 60) -> Iterable[Sequence[Told]]:
    """All orders of a short story, and random ones of a long one; each event twice in some of them."""
    if len(story) <= 4:
        found = list(itertools.permutations(story))
    else:
        found = [tuple(random.Random(seed).sample(list(story), len(story))) for seed in range(most)]
    yield tuple(story)
    for number, order in enumerate(found):
        yield order if number % 2 else tuple(itertools.chain.from_iterable((one, one) for one in order))


def every_order(now: datetime, story: Sequence[Told]) -> list[tuple[str, str, int]]:
    """What every order of the story's events ends at."""
    ends = []
    for order in orders(story):
        emptied.empty()
        say(now, *order)
        say(now, *order[:1])
        runs.run(None, "grant-monthly", now=now)
        ends.append(totals())
        assert balance(ADA, APP) == sum(units for _, _, units in ends[-1]), [one["event_type"] for one in order]
        assert {state for state, _ in event_states(APP)} <= {"done", "ignored"}, event_states(APP)
    # The units of a period may carry the name of the plan that they were granted for first.
    assert all(by_period(end) == by_period(ends[0]) for end in ends), ends
    assert [check.name for check in maintenance.check_books(now=now) if not check.ok] == []
    return ends[0]


def days(*numbers: int, units: int = 1000, plan: str = "pro") -> list[tuple[str, str, int]]:
    return [(plan, cycle(number).date().isoformat(), units) for number in numbers]


# --- sales pay cycles


def test_a_sale_pays_the_first_cycle() -> None:
    story = [told("CREATED", status="APPROVAL_PENDING"), told("ACTIVATED"), paid(0)]
    assert every_order(START, story) == days(0)
    assert [lot[3] for lot in lots()] == ["SALE0"]


def test_cycles_follow_the_start_clamped_to_the_month() -> None:
    story = [told("ACTIVATED"), *(paid(number) for number in range(4))]
    found = every_order(cycle(3), story)
    assert [start for _, start, _ in found] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]


def test_a_sale_of_two_prices_pays_the_two_oldest_unpaid_cycles() -> None:
    failed = told("PAYMENT.FAILED", cycle(1), billing_info={"failed_payments_count": 1})
    story = [told("ACTIVATED"), paid(0), failed, paid(2, "58.00")]
    assert every_order(cycle(2), story) == days(0, 1, 2)


def test_an_outstanding_payment_that_is_taken_later_pays_the_cycle_that_failed() -> None:
    failed = told("PAYMENT.FAILED", cycle(1), billing_info={"failed_payments_count": 1})
    story = [told("ACTIVATED"), paid(0), failed, paid(1, at=cycle(1) + timedelta(days=5)), paid(2)]
    assert every_order(cycle(2), story) == days(0, 1, 2)


def test_a_sale_in_a_later_cycle_pays_the_oldest_unpaid_one() -> None:
    assert every_order(cycle(2), [told("ACTIVATED"), paid(0), paid(2)]) == days(0, 1)


def test_a_setup_fee_covers_nothing_and_is_noted() -> None:
    story = [told("ACTIVATED"), paid(0, "5.00", id="fee"), paid(0)]
    assert every_order(START, story) == days(0)
    notes = [error for _, error in event_states(APP) if error]
    assert any("SALEfee" in note and "covers nothing" in note for note in notes), notes


@pytest.mark.parametrize("value", ["0.01", "28.99", "29.01", "57.99", "145.01"])
def test_another_amount_covers_nothing(value: str) -> None:
    assert every_order(START, [told("ACTIVATED"), paid(0, value)]) == []


def test_a_sale_in_another_currency_covers_nothing() -> None:
    other = paid(0, amount={"total": "29.00", "currency": "EUR"})
    assert every_order(START, [told("ACTIVATED"), other]) == []


def test_seats_multiply_price_and_units() -> None:
    story = [told("ACTIVATED", quantity="3"), paid(0, "87.00"), paid(2, "174.00")]
    assert every_order(cycle(2), story) == days(0, 1, 2, units=3000)


def test_tax_is_no_part_of_the_price() -> None:
    taxed = paid(0, amount={"total": "34.51", "currency": "USD", "details": {"subtotal": "29.00", "tax": "5.51"}})
    assert every_order(START, [told("ACTIVATED"), taxed]) == days(0)
    assert database.read("SELECT amount_minor FROM payment") == [(3451,)]


def test_a_pending_or_denied_sale_covers_nothing_until_it_is_completed() -> None:
    pending = paid(0, type="PAYMENT.SALE.PENDING", state="pending")
    denied = paid(0, type="PAYMENT.SALE.DENIED", state="denied")
    late = START + timedelta(days=3)
    assert every_order(late, [told("ACTIVATED"), pending]) == []
    assert every_order(late, [told("ACTIVATED"), pending, denied]) == []
    assert every_order(late, [told("ACTIVATED"), pending, paid(0)]) == days(0)


def test_a_pending_sale_covers_nothing_even_if_its_event_says_completed() -> None:
    late = START + timedelta(days=3)
    assert every_order(late, [told("ACTIVATED"), paid(0, state="pending")]) == []


def test_a_negative_sale_and_a_start_that_is_no_time_are_dead_and_name_the_field() -> None:
    say(START, told("ACTIVATED"), paid(0, "-29.00"), {**told("UPDATED", start_time="x"), "id": "WH-start"})
    errors = [error for state, error in event_states(APP) if state == "dead"]
    assert lots() == []
    assert len(errors) == 2
    assert "resource.amount.total" in errors[0]
    assert "resource.start_time" in errors[1]


def test_a_pending_sale_keeps_its_cycle_while_the_next_one_is_paid() -> None:
    pending = paid(0, type="PAYMENT.SALE.PENDING", state="pending")
    assert every_order(cycle(1), [told("ACTIVATED"), pending, paid(1)]) == days(1)


def test_a_subscription_that_is_known_late_is_paid_from_the_cycle_of_its_first_sale_on() -> None:
    story = [told("UPDATED", cycle(5)), paid(5), paid(6)]
    assert every_order(cycle(6), story) == days(5, 6)


# --- the state alone


def test_active_alone_covers_a_cycle_only_after_an_hour() -> None:
    say(START, told("ACTIVATED"))
    runs.run(None, "grant-monthly", now=START + timedelta(minutes=59))
    assert balance(ADA, APP) == 0
    runs.run(None, "grant-monthly", now=START + timedelta(minutes=61))
    assert balance(ADA, APP) == 1000
    say(START + timedelta(hours=2), paid(0))
    assert (balance(ADA, APP), len(lots())) == (1000, 1)


def test_a_subscription_that_starts_later_is_not_covered_before_an_hour_after_its_start() -> None:
    before = START - timedelta(days=10)
    say(before, told("ACTIVATED", before))
    runs.run(None, "grant-monthly", now=START + timedelta(minutes=59))
    assert balance(ADA, APP) == 0
    say(START + timedelta(minutes=59), paid(0))
    assert balance(ADA, APP) == 1000


@pytest.mark.parametrize("status", ["APPROVAL_PENDING", "APPROVED", "SUSPENDED", "CANCELLED", "EXPIRED"])
def test_other_states_cover_nothing(status: str) -> None:
    say(START, told("UPDATED", status=status))
    runs.run(None, "grant-monthly", now=START + timedelta(days=2))
    assert balance(ADA, APP) == 0


def test_a_first_payment_that_failed_covers_nothing() -> None:
    failed = told("PAYMENT.FAILED", billing_info={"failed_payments_count": 1})
    late = START + timedelta(days=1)
    assert every_order(late, [told("ACTIVATED"), failed]) == []
    assert every_order(late, [told("ACTIVATED"), failed, paid(0, at=late)]) == days(0)


# --- revisions, suspensions and the end


def test_a_revision_counts_from_the_next_cycle() -> None:
    revised = told("UPDATED", START + timedelta(days=10), plan="P-MAX")
    story = [told("ACTIVATED"), paid(0), revised, paid(1, "99.00")]
    assert every_order(cycle(1), story) == sorted([*days(0), *days(1, units=4000, plan="max")])


def test_a_revision_is_not_trusted_before_its_sale() -> None:
    catalog_of(29, on_upgrade_unbilled="trust", on_upgrade="full")
    revised = told("UPDATED", START + timedelta(days=10), plan="P-MAX")
    assert every_order(START + timedelta(days=20), [told("ACTIVATED"), paid(0), revised]) == days(0)


def test_what_failed_before_a_revision_is_paid_with_the_first_price() -> None:
    failed = told("PAYMENT.FAILED", cycle(1), billing_info={"failed_payments_count": 1})
    revised = told("UPDATED", cycle(1) + timedelta(days=9), plan="P-MAX", billing_info={"failed_payments_count": 1})
    story = [told("ACTIVATED"), paid(0), failed, revised, paid(2, "128.00")]
    assert every_order(cycle(2), story) == sorted([*days(0, 1), *days(2, units=4000, plan="max")])


def test_more_seats_count_from_the_next_cycle() -> None:
    more = told("UPDATED", START + timedelta(days=10), quantity="2")
    story = [told("ACTIVATED"), paid(0), more, paid(1, "58.00")]
    assert every_order(cycle(1), story) == [*days(0), *days(1, units=2000)]


def test_cycles_that_begin_in_a_suspension_are_not_sold() -> None:
    story = [
        *(told("ACTIVATED"), paid(0), told("SUSPENDED", cycle(0) + timedelta(days=10), status="SUSPENDED")),
        *(told("RE-ACTIVATED", cycle(1) + timedelta(days=10)), paid(2)),
    ]
    assert every_order(cycle(2), story) == days(0, 2)


def test_a_suspension_and_its_end_at_one_moment_end_active() -> None:
    at = START + timedelta(days=3)
    story = [told("ACTIVATED"), paid(0), told("SUSPENDED", at, status="SUSPENDED"), told("RE-ACTIVATED", at)]
    assert every_order(at, story) == days(0)
    assert database.read("SELECT status FROM subscription") == [("active",)]


def test_a_cancellation_keeps_what_was_paid() -> None:
    canceled = told("CANCELLED", START + timedelta(days=10), status="CANCELLED")
    assert every_order(cycle(1), [told("ACTIVATED"), paid(0), canceled]) == days(0)
    assert database.read("SELECT status FROM subscription") == [("canceled",)]


# --- trials


def trial(at: datetime, *, completed: int = 1, regular: int = 0) -> dict[str, Any]:
    return {"cycle_executions": [execution("TRIAL", completed, 1), execution("REGULAR", regular)]}


def test_a_trial_is_granted_once_and_the_first_sale_pays_the_cycle_after_it() -> None:
    catalog_of(29, trial_units=70)
    story = [told("ACTIVATED", billing_info=trial(START)), paid(1), paid(2)]
    assert every_order(cycle(2), story) == sorted([*days(0, units=70), *days(1, 2)])


def test_a_trial_with_a_setup_fee_is_granted() -> None:
    story = [told("ACTIVATED", billing_info=trial(START)), paid(0, "5.00", id="fee")]
    assert every_order(START, story) == days(0)


def test_a_trial_that_is_shorter_than_a_month_ends_with_the_first_sale() -> None:
    catalog_of(29, trial_units=70)
    week = START + timedelta(days=7)
    after = paid(0, at=week), paid(0, at=cycles.cycle_start(week, 1), id="b")
    story = [told("ACTIVATED", billing_info=trial(START)), *after]
    found = every_order(cycles.cycle_start(week, 1), story)
    assert found == [("pro", "2026-01-31", 70), ("pro", "2026-02-07", 1000), ("pro", "2026-03-07", 1000)]


# --- the catalog changes


def test_a_sale_is_priced_by_the_terms_of_its_cycle_and_an_older_price_still_counts() -> None:
    say(START, told("ACTIVATED"), paid(0))
    catalog_of(35)
    say(cycle(1), paid(1, "35.00"))
    say(cycle(2), paid(2, "29.00"))
    assert totals() == days(0, 1, 2)


def test_a_plan_that_left_the_catalog_takes_nothing() -> None:
    say(START, told("ACTIVATED"), paid(0))
    change(APP, plans={})
    say(cycle(1), paid(1))
    assert totals() == days(0, 1)


def test_an_unknown_plan_is_dead_until_the_catalog_has_it() -> None:
    say(START, told("ACTIVATED", plan="P-NEW"), paid(0))
    assert ("dead", "no plan") in [(state, (error or "")[:7]) for state, error in event_states(APP)]
    change(APP, plans={"new": replace(app(APP).plans["pro"], key="new", paypal_plan="P-NEW")})
    database.write("UPDATE inbox_event SET state = 'pending', next_attempt_at = %s", [START])
    say(START, told("UPDATED", START + timedelta(minutes=1), plan="P-NEW"))
    assert totals() == days(0, plan="new")


# --- refunds, reversals and disputes


def test_a_refund_takes_its_share_in_every_order() -> None:
    story = [told("ACTIVATED"), paid(0), refunded("14.50", 0)]
    assert every_order(START, story) == days(0, units=500)


def test_refunds_in_parts_and_a_reversal_take_all() -> None:
    story = [told("ACTIVATED"), paid(0), refunded("9.00", 0), refunded("20.00", 0, "REVERSED")]
    assert every_order(START, story) == []
    assert database.read("SELECT state FROM payment") == [("refunded",)]


def test_a_refund_of_one_sale_leaves_the_other_cycles() -> None:
    story = [told("ACTIVATED"), paid(0), paid(1), refunded("29.00", 0)]
    assert every_order(cycle(1), story) == days(1)


def test_a_reversal_that_is_the_sale_itself_is_understood() -> None:
    resource = sale("-29.00", START, number="0", state="completed")
    resource["amount"] = {"total": "-29.00", "currency": "USD", "details": {"subtotal": "-29.00"}}
    story = [told("ACTIVATED"), paid(0), event("PAYMENT.SALE.REVERSED", resource)]
    assert every_order(START, story) == []


def test_a_refund_that_failed_takes_nothing() -> None:
    story = [told("ACTIVATED"), paid(0), refunded("29.00", 0, state="failed")]
    assert every_order(START, story) == days(0)


def test_a_dispute_freezes_what_a_sale_paid_for_until_it_is_won() -> None:
    of_sale = {"disputed_transactions": [{"seller_transaction_id": "SALE0"}]}
    say(START, told("ACTIVATED"), paid(0), event("CUSTOMER.DISPUTE.CREATED", dispute(**of_sale)))
    assert (balance(ADA, APP), balances.available(app(APP), ADA, now=START)) == (1000, 0)
    won = dispute("RESOLVED", dispute_outcome={"outcome_code": "RESOLVED_SELLER_FAVOUR"}, **of_sale)
    say(START, event("CUSTOMER.DISPUTE.RESOLVED", won))
    assert balances.available(app(APP), ADA, now=START) == 1000


# --- whole lives against a plain account of what was paid


def a_life(seed: int) -> tuple[list[Told], dict[str, int]]:
    """The events of a year of a subscription, and the units of each cycle by what was paid for it."""
    chance = random.Random(seed)
    price, units, plan, unpaid = 2900, 1000, "P-PRO", list[tuple[int, int, int]]()
    story, owed = [told("ACTIVATED")], Counter[str]()
    for number in range(12):
        unpaid.append((number, price, units))
        failures = {"failed_payments_count": len(unpaid)}
        if chance.random() < 0.25:
            story.append(told("PAYMENT.FAILED", cycle(number), plan=plan, billing_info=failures))
        else:
            value = sum(cost for _, cost, _ in unpaid)
            story.append(paid(number, f"{value / 100:.2f}"))
            for paid_cycle, _, granted in unpaid:
                owed[cycle(paid_cycle).date().isoformat()] += granted
            unpaid = []
        if chance.random() < 0.2:
            plan, price, units = chance.choice([("P-PRO", 2900, 1000), ("P-MAX", 9900, 4000)])
            at = cycle(number) + timedelta(days=9)
            left = {"failed_payments_count": len(unpaid)}
            story.append(told("UPDATED", at, plan=plan, billing_info=left))
        if chance.random() < 0.1 and owed.get(cycle(number).date().isoformat()) and len(unpaid) == 0:
            # The whole sale of this month goes back, and with it all cycles that it paid.
            sold = story[max(place for place, one in enumerate(story) if "SALE" in one["event_type"])]
            story.append(refunded(sold["resource"]["amount"]["total"], number))
            owed_before = {start: granted for start, granted in owed.items() if start in _starts_of(sold, story)}
            for start in owed_before:
                owed[start] = 0
    return story, {start: granted for start, granted in owed.items() if granted}


def _starts_of(sold: Told, story: Sequence[Told]) -> set[str]:
    """The starts of the cycles that a sale paid: its own, and those that failed just before."""
    number = int(sold["resource"]["id"].removeprefix("SALE"))
    failed = {one["resource"]["update_time"][:10] for one in story if one["event_type"].endswith("FAILED")}
    starts = {cycle(number).date().isoformat()}
    while number > 0 and (start := cycle(number - 1).date().isoformat()) in failed:
        starts.add(start)
        number -= 1
    return starts


@pytest.mark.parametrize("seed", range(8))
def test_a_year_in_any_order_ends_at_what_was_paid(seed: int) -> None:
    story, owed = a_life(seed)
    for number in range(4):
        order = story if number == 0 else random.Random(seed * 100 + number).sample(story, len(story))
        emptied.empty()
        for place, one in enumerate(order):
            say(cycle(12), one, *([one] if place % 3 == 0 else []))
            if place % 5 == 0:
                runs.run(None, "grant-monthly", now=cycle(12))
        assert by_period(totals()) == owed, [one["event_type"] for one in order]
        assert balance(ADA, APP) == sum(owed.values())


# --- whose it is


def test_the_sale_names_the_customer_too() -> None:
    story = [told("ACTIVATED", custom=""), paid(0)]
    say(START, *story)
    assert totals() == days(0)


def test_without_a_customer_the_event_says_so() -> None:
    say(START, told("ACTIVATED", custom="order 7"))
    ((state, error),) = event_states(APP)
    assert state in ("pending", "dead")
    assert "custom_id" in str(error)


def test_the_event_of_another_app_is_ignored() -> None:
    other = f"customer={BO}&plan=pro&app=clash-ai"
    say(START, told("ACTIVATED", custom=other), paid(0, custom=other))
    assert {state for state, _ in event_states(APP)} == {"ignored"}


def test_a_sale_without_a_subscription_is_ignored() -> None:
    say(START, paid(0, billing_agreement_id=None))
    assert [state for state, _ in event_states(APP)] == ["ignored"]


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("quantity", 3, "resource.quantity"),
        ("quantity", "0", "resource.quantity"),
        ("quantity", "1" * 40, "resource.quantity"),
        ("status", "DANCING", "resource.status"),
        ("plan_id", None, "not a text"),
    ],
)
def test_a_malformed_subscription_is_dead_and_names_the_field(name: str, value: Any, field: str) -> None:
    say(START, told("ACTIVATED", **{name: value}) if name != "plan_id" else told("ACTIVATED", plan=value))
    ((state, error),) = event_states(APP)
    assert (state, field in str(error)) == ("dead", True), error


# --- the facts themselves


def test_a_sale_is_a_bill_and_the_state_of_its_checkout() -> None:
    bill, ended = facts("PAYMENT.SALE.COMPLETED", sale("29.00", START, custom=f"customer={ADA}&plan=pro&checkout=c"))
    assert isinstance(bill.fact, Bill)
    assert (bill.subscription, bill.fact.bill, bill.fact.state, bill.fact.checkout) == ("I-1", "SALE1", "paid", "c")
    assert (bill.fact.total_minor, bill.fact.customer, bill.fact.at) == (2900, ADA, START)
    assert isinstance(ended, CheckoutEnded)
    assert (ended.reference, ended.state) == ("I-1", "paid")


# --- where PayPal can be asked


class Shown:
    """PayPal's objects by id; others are refused with `status`."""

    def __init__(self, *shown: dict[str, Any], status: int = 404) -> None:
        self.things, self.status = {it["id"]: it for it in shown}, status

    def get_subscription(self, id_: str) -> dict[str, Any]:
        if id_ not in self.things:
            raise ProviderRefused("PayPal: there is no such thing", status=self.status)
        return self.things[id_]

    get_sale = get_sale_refund = get_subscription


@pytest.fixture
def paypal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has PayPal show these objects, as to an app with a real account."""

    def show(*shown: dict[str, Any], status: int = 404) -> None:
        monkeypatch.setattr(paypal_client, "has_real_account", lambda _: True)
        monkeypatch.setattr(paypal_client, "client", lambda _: Shown(*shown, status=status))

    return show


@pytest.mark.parametrize("status", [403, 404])
def test_what_paypal_does_not_show_credits_nothing(paypal: Callable[..., None], status: int) -> None:
    paypal(status=status)
    say(START, told("ACTIVATED"), paid(0))
    runs.run(None, "grant-monthly", now=START + timedelta(hours=2))
    assert balance(ADA, APP) == 0
    assert [(state, "does not show" in str(error)) for state, error in event_states(APP)] == [("dead", True)] * 2


def test_an_unavailable_paypal_is_asked_again(paypal: Callable[..., None]) -> None:
    paypal(status=500)
    say(START, told("ACTIVATED"))
    assert [state for state, _ in event_states(APP)] == ["pending"]


def test_a_refund_that_paypal_does_not_show_is_used_as_signed(paypal: Callable[..., None]) -> None:
    say(START, told("ACTIVATED"), paid(0))
    paypal()
    say(START, refunded("29.00", 0, "REVERSED"))
    assert balance(ADA, APP) == 0


def test_paypals_copy_replaces_a_forged_one(paypal: Callable[..., None]) -> None:
    real = told("CREATED", status="APPROVAL_PENDING")["resource"]
    paypal(real)
    say(START, told("ACTIVATED", custom=f"customer={BO}&plan=pro", quantity="100"))
    runs.run(None, "grant-monthly", now=START + timedelta(days=1))
    assert (balance(ADA, APP), balance(BO, APP)) == (0, 0)


def test_an_event_that_is_applied_after_a_revision_still_says_what_was_sold_first(paypal: Callable[..., None]) -> None:
    activated, revised = told("ACTIVATED"), told("UPDATED", START + timedelta(days=10), plan="P-MAX")
    sales = paid(0), paid(1, "99.00")
    paypal(revised["resource"], *(one["resource"] for one in sales))
    story = [activated, revised, *sales]
    assert every_order(cycle(1), story) == sorted([*days(0), *days(1, units=4000, plan="max")])


def test_a_sale_that_was_denied_since_is_not_credited(paypal: Callable[..., None]) -> None:
    paypal(told("ACTIVATED")["resource"], {**paid(0)["resource"], "state": "denied"})
    say(START, told("ACTIVATED"), paid(0))
    runs.run(None, "grant-monthly", now=START + timedelta(days=1))
    assert balance(ADA, APP) == 0


# --- the state of the checkout


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Opens a checkout of the plan that led to the subscription."""
    monkeypatch.setitem(checkouts.OPENERS, "paypal", lambda *_: ("I-1", "https://paypal.test/approve"))

    def open_() -> None:
        asked = {"id": "c-1", "customer": ADA, "plan": "pro", "quantity": 1, "provider": "paypal", **PAGES}
        with monkeypatch.context() as patch:
            patch.setattr(paypal_checkout, "is_reachable", lambda _: True)
            checkouts.start(app(APP), asked, now=START)

    return open_


CANCELED = told("CANCELLED", START + timedelta(days=1), status="CANCELLED")
EXPIRED = told("EXPIRED", START + timedelta(days=1), status="EXPIRED")
FAILED = told("PAYMENT.FAILED", billing_info={"failed_payments_count": 1})
PENDING = paid(0, type="PAYMENT.SALE.PENDING", state="pending")
TRIAL = told("ACTIVATED", billing_info=trial(START))
WAITING = told("CREATED", status="APPROVAL_PENDING")


@pytest.mark.parametrize(
    ("story", "state"),
    [
        ([WAITING], "open"),
        ([WAITING, told("ACTIVATED")], "pending"),
        ([told("ACTIVATED"), PENDING], "pending"),
        ([told("ACTIVATED"), paid(0)], "paid"),
        ([TRIAL], "paid"),
        ([told("ACTIVATED"), FAILED], "failed"),
        ([told("ACTIVATED"), FAILED, paid(0)], "paid"),
        ([told("ACTIVATED"), paid(0), CANCELED], "paid"),
        ([told("ACTIVATED"), paid(0), EXPIRED], "paid"),
        ([WAITING, CANCELED], "failed"),
        ([WAITING, EXPIRED], "expired"),
    ],
)
def test_a_checkout_ends_in_the_same_state_in_every_order(
    opened: Callable[[], None], story: list[Told], state: str
) -> None:
    for order in orders(story):
        emptied.empty()
        opened()
        say(START + timedelta(days=1), *order)
        assert checkouts.get(app(APP), "c-1")["state"] == state, [one["event_type"] for one in order]


def test_a_subscription_that_names_anothers_checkout_does_not_end_it(opened: Callable[[], None]) -> None:
    opened()
    other = f"customer={BO}&plan=pro&checkout=c-1&app={APP}"
    say(START, told("ACTIVATED", id="I-2", custom=other), paid(0, billing_agreement_id="I-2", custom=other))
    assert checkouts.get(app(APP), "c-1")["state"] == "open"
    assert (balance(ADA, APP), balance(BO, APP)) == (0, 1000)


# --- which subscriptions reconciliation asks for


def test_the_frequent_reconciliation_asks_for_subscriptions_whose_payment_is_due() -> None:
    say(START, told("ACTIVATED"), paid(0), told("CREATED", id="I-2", status="APPROVAL_PENDING"))

    def listed(at: datetime, *, include_all: bool) -> list[str]:
        since = at - (timedelta(days=30) if include_all else timedelta(hours=6))
        rows = subscriptions.listed(APP, "paypal", since, at, include_all=include_all, after=0, limit=9)
        return [id_ for _, id_ in rows]

    assert listed(START + timedelta(hours=1), include_all=False) == ["I-1", "I-2"]
    assert listed(START + timedelta(days=10), include_all=False) == []
    assert listed(START + timedelta(days=40), include_all=True) == ["I-1"]
    assert listed(cycle(1) + timedelta(hours=1), include_all=False) == ["I-1"]
    say(cycle(1), paid(1))
    assert listed(cycle(1) + timedelta(days=4), include_all=False) == []
    assert listed(cycle(2), include_all=False) == ["I-1"]
