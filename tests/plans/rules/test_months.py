"""Which months of a plan are owed, by which plan, and who paid for them, where bills, refunds and changes cross."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.plans import grants
from models import cycles
from models.catalog import catalog
from tests.support.cast import ADA, app, balance, deliver
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, dispute, event, invoice, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
DAY = timedelta(days=1)
BOTH = pytest.mark.parametrize("swapped", [False, True])


@pytest.fixture(autouse=True)
def plans(db: str) -> None:
    pro = app(APP).plans["pro"]
    change(
        APP, plans={"pro": pro, "mini": type(pro)("mini", 100, 500, "usd"), "max": type(pro)("max", 3000, 9000, "usd")}
    )


def tell(at: datetime, type_: str, thing: dict[str, Any], *, on: datetime | None = None) -> None:
    deliver(APP, event(type_, thing, created=at), now=on or at)


def tell_in(order: bool, *told: tuple[datetime, str, dict[str, Any]]) -> None:
    """The events as they are, or the other way round."""
    for at, type_, thing in told[::-1] if order else told:
        tell(at, type_, thing)


def has(plan: str, start: datetime, end: datetime, *, anchor: datetime | None = None, **more: Any) -> dict[str, Any]:
    return subscription(APP, ADA, plan, anchor=anchor or start, start=start, end=end, **more)


def bill(plan: str, start: datetime, end: datetime, paid: int, *, number: str = "1", **more: Any) -> dict[str, Any]:
    return invoice(
        APP, ADA, plan, start=start, end=end, amount_paid=paid, payment_intent=f"pi_{number}", number=number, **more
    )


def upgrade_bill(plan: str, at: datetime, end: datetime, paid: int, number: str) -> dict[str, Any]:
    """Only prorations, as Stripe bills a change at once."""
    proration = {"type": "subscription_item_details", "subscription_item_details": {"proration": True}}
    period = {"start": int(at.timestamp()), "end": int(end.timestamp())}
    lines = [
        {"id": f"il_{n}", "amount": n, "period": period, "parent": proration, "metadata": {}} for n in (-200, 1200)
    ]
    made = bill(plan, at, end, paid, number=number, reason="subscription_update")
    return {**made, "lines": {"object": "list", "data": lines}}


def months(now: datetime, count: int) -> datetime:
    """So many paid months of the small plan; returns when the next one starts."""
    for n in range(count):
        start, end = cycles.cycle_start(now, n), cycles.cycle_start(now, n + 1)
        tell(start, "customer.subscription.updated", has("mini", start, end, anchor=now))
        tell(start, "invoice.paid", bill("mini", start, end, 500, number=str(n + 1)))
    return cycles.cycle_start(now, count)


def year(now: datetime, plan: str = "mini", paid: int = 5000) -> datetime:
    """A year paid at once; returns its end."""
    end = now + 365 * DAY
    tell(now, "customer.subscription.created", has(plan, now, end))
    tell(now, "invoice.paid", bill(plan, now, end, paid))
    return end


def share(units: int, at: datetime, start: datetime, end: datetime) -> int:
    """The share of the units for the time that is left of the period."""
    return units * ((end - at) // timedelta(seconds=1)) // ((end - start) // timedelta(seconds=1))


def clean(now: datetime) -> bool:
    assert [check.failures for check in maintenance.check_books(now=now) if not check.ok] == []
    return True


# --- returns that come to nothing


def test_a_dispute_won_about_an_old_month_brings_that_month_back_and_no_more(now: datetime) -> None:
    start = months(now, 2)
    end = cycles.cycle_start(now, 3)
    tell(start, "customer.subscription.updated", has("pro", start, end, anchor=now))
    tell(start, "invoice.paid", bill("pro", start, end, 2900, number="3"))
    tell(start + DAY, "charge.dispute.funds_withdrawn", dispute(-500, amount=500))
    assert balance(ADA, APP) == 1100
    tell(start + 9 * DAY, "charge.dispute.funds_reinstated", dispute(-500, 500, status="won", amount=500))
    assert balance(ADA, APP) == 1200
    assert clean(start + 9 * DAY)


def test_of_a_year_billed_twice_and_refunded_twice_a_refund_that_fails_brings_the_months_back(now: datetime) -> None:
    year(now)
    tell(now, "invoice.paid", bill("mini", now, now + 365 * DAY, 5000, number="2"))
    for number in "12":
        tell(now + DAY, "refund.created", refund(f"re_{number}", 5000, number=number))
    runs.run(APP, "grant-monthly", now=now + 40 * DAY)
    assert balance(ADA, APP) == 0
    tell(now + 41 * DAY, "refund.failed", refund("re_1", 5000, status="failed"))
    runs.run(APP, "grant-monthly", now=now + 70 * DAY)
    assert balance(ADA, APP) == 300
    assert clean(now + 70 * DAY)


# --- a count of months that begins anew


@BOTH
@pytest.mark.parametrize("days", [31, 365])
def test_what_begins_anew_is_paid_by_its_own_bill_whatever_became_of_the_old_one(
    now: datetime, days: int, swapped: bool
) -> None:
    then, end = now + 10 * DAY, now + (10 + days) * DAY
    tell(now, "customer.subscription.created", has("mini", now, now + days * DAY))
    tell(now, "invoice.paid", bill("mini", now, now + days * DAY, 5000))
    anew = bill("pro", then, end, 29000, number="2", reason="subscription_update")
    tell_in(
        swapped,
        (then, "charge.refunded", charge(refunded=5000, amount=5000)),
        (then, "invoice.paid", anew),
        (then, "customer.subscription.updated", has("pro", then, end)),
    )
    assert balance(ADA, APP) == 1000
    if days == 365:
        runs.run(APP, "grant-monthly", now=then + 70 * DAY)
        assert balance(ADA, APP) == 3000
    assert clean(then + 70 * DAY)


@BOTH
def test_a_refund_of_the_new_bill_takes_the_new_month(now: datetime, swapped: bool) -> None:
    then = now + 10 * DAY
    months(now, 1)
    anew = bill("pro", then, then + 31 * DAY, 2900, number="2", reason="subscription_update")
    tell_in(
        swapped,
        (then, "invoice.paid", anew),
        (then, "customer.subscription.updated", has("pro", then, then + 31 * DAY)),
    )
    tell(then + DAY, "charge.refunded", charge(refunded=1450, amount=2900, number="2"))
    assert balance(ADA, APP) == 600
    tell(then + DAY, "charge.refunded", charge(refunded=2900, amount=2900, number="2"))
    assert balance(ADA, APP) == 100
    assert clean(then + DAY)


# --- upgrades


@BOTH
def test_an_upgrade_that_was_paid_stands_though_its_month_was_refunded(now: datetime, swapped: bool) -> None:
    end, then = months(now, 1), now + 10 * DAY
    tell_in(
        swapped,
        (then, "refund.created", refund("re_1", 500)),
        (then, "customer.subscription.updated", has("pro", now, end)),
        (then, "invoice.paid", upgrade_bill("pro", then, end, 1000, "2")),
    )
    assert balance(ADA, APP) == share(900, then, now, end)
    assert clean(then)


@BOTH
def test_an_upgrade_bought_again_is_paid_by_the_payment_that_stands(now: datetime, swapped: bool) -> None:
    end, then = months(now, 1), now + 10 * DAY
    tell(then, "customer.subscription.updated", has("pro", now, end))
    tell(then, "invoice.paid", upgrade_bill("pro", then, end, 1000, "2"))
    tell_in(
        swapped,
        (then, "charge.refunded", charge(refunded=1000, number="2")),
        (then + timedelta(hours=2), "customer.subscription.updated", has("mini", now, end)),
        (then + DAY, "invoice.paid", upgrade_bill("pro", then + DAY, end, 1000, "3")),
    )
    assert balance(ADA, APP) == 100 + share(900, then + DAY, now, end)
    assert clean(then + DAY)


@BOTH
def test_of_two_upgrades_each_has_its_own_layer_whichever_bill_comes_first(now: datetime, swapped: bool) -> None:
    end, then = months(now, 1), now + 10 * DAY
    tell(then, "customer.subscription.updated", has("pro", now, end))
    tell(then + DAY, "customer.subscription.updated", has("max", now, end))
    tell_in(
        swapped,
        (then, "invoice.paid", upgrade_bill("pro", then, end, 1000, "2")),
        (then + DAY, "invoice.paid", upgrade_bill("max", then + DAY, end, 4000, "3")),
    )
    tell(then + DAY, "charge.refunded", charge(refunded=1000, number="2"))
    assert balance(ADA, APP) == 100 + share(2000, then + DAY, now, end)


@BOTH
def test_an_upgrade_whose_card_was_declined_is_not_granted_by_the_months_own_bill(now: datetime, swapped: bool) -> None:
    end, then = months(now, 1), now + 10 * DAY
    tell_in(
        swapped,
        (then, "customer.subscription.updated", has("pro", now, end, status="past_due")),
        (then, "invoice.payment_failed", upgrade_bill("pro", then, end, 0, "2")),
    )
    tell(then, "invoice.payment_succeeded", bill("mini", now, end, 500))
    assert balance(ADA, APP) == 100
    tell(then + DAY, "invoice.voided", upgrade_bill("pro", then, end, 0, "2"))
    assert balance(ADA, APP) == 100


def test_an_upgrade_of_a_year_told_late_reaches_the_months_granted_since(now: datetime) -> None:
    end = year(now)
    then, late = cycles.cycle_start(now, 2) + 5 * DAY, cycles.cycle_start(now, 3) + DAY
    runs.run(APP, "grant-monthly", now=late)
    assert balance(ADA, APP) == 400
    tell(then, "invoice.paid", upgrade_bill("pro", then, end, 9000, "2"), on=late)
    tell(then, "customer.subscription.updated", has("pro", now, end), on=late)
    running = cycles.cycle_start(now, 2), cycles.cycle_start(now, 3)
    assert balance(ADA, APP) == 400 + share(900, then, *running) + 900
    assert clean(late)


def test_an_upgrade_that_no_bill_carries_grants_nothing(now: datetime) -> None:
    end = months(now, 1)
    tell(now + 20 * DAY, "customer.subscription.deleted", has("pro", now, end, status="canceled"))
    tell(now + 10 * DAY, "customer.subscription.updated", has("pro", now, end), on=now + 20 * DAY)
    assert balance(ADA, APP) == 100


# --- what is paid late, or told late


def test_a_quarter_paid_after_a_later_one_has_all_of_its_months(now: datetime) -> None:
    quarters = [cycles.cycle_start(now, 3 * n) for n in range(4)]

    def paid(n: int) -> dict[str, Any]:
        return bill("pro", quarters[n], quarters[n + 1], 9000, number=str(n))

    def runs_now(n: int, **more: Any) -> dict[str, Any]:
        return has("pro", quarters[n], quarters[n + 1], anchor=now, **more)

    tell(quarters[0], "customer.subscription.created", runs_now(0))
    tell(quarters[0], "invoice.paid", paid(0))
    tell(quarters[1], "invoice.payment_failed", paid(1))
    tell(quarters[1], "customer.subscription.updated", runs_now(1, status="past_due"))
    runs.run(APP, "grant-monthly", now=quarters[1] + DAY)
    assert balance(ADA, APP) == 3000
    tell(quarters[2], "invoice.paid", paid(2))
    tell(quarters[2], "customer.subscription.updated", runs_now(2))
    assert balance(ADA, APP) == 4000
    tell(quarters[2] + DAY, "invoice.paid", paid(1))
    assert balance(ADA, APP) == 7000
    assert clean(quarters[2] + DAY)


@BOTH
def test_a_year_of_which_we_hear_in_its_third_month_has_all_of_its_months(now: datetime, swapped: bool) -> None:
    then, end = now + 70 * DAY, now + 365 * DAY
    tell_in(
        swapped,
        (then, "invoice.paid", bill("pro", now, end, 29000)),
        (then, "customer.subscription.updated", has("pro", now, end)),
    )
    assert balance(ADA, APP) == 3000


def test_a_period_that_turned_waits_for_its_bill_where_bills_are_told_of(now: datetime) -> None:
    """Stripe calls a subscription active for the hour between the turn of its period and the payment."""
    turn, end = months(now, 1), cycles.cycle_start(now, 2)
    tell(turn, "customer.subscription.updated", has("mini", turn, end, anchor=now, latest_invoice="in_2"))
    runs.run(APP, "grant-monthly", now=turn + DAY)
    assert balance(ADA, APP) == 100
    tell(turn + DAY, "invoice.paid", bill("mini", turn, end, 500, number="2"))
    tell(turn + DAY, "customer.subscription.updated", has("mini", turn, end, anchor=now, latest_invoice="in_2"))
    assert balance(ADA, APP) == 200


def test_an_app_that_left_the_catalog_holds_up_no_other(now: datetime) -> None:
    year(now)
    apps = dict(catalog.current().apps)
    del apps[APP]
    catalog.use(catalog.Catalog(apps))
    assert grants.grant_monthly(now=now + 40 * DAY).counts == {"subscriptions": 0, "units": 0}
