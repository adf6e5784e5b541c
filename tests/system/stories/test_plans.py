"""A plan's life at Stripe, month by month of the sandbox's clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.system.stories.inside import Insides
from tests.system.stories.story_shop import Shop, a_shop, about

MONTH = "31d"
SWITCH = ("customer.subscription.created", "invoice.paid", "invoice.payment_failed", "customer.subscription.updated")


@pytest.fixture(scope="module")
def shop(inside: Insides) -> Iterator[Shop]:
    with inside("plans") as scrip, a_shop(scrip, "plans") as shop:
        yield shop


@pytest.fixture(autouse=True)
def ended(shop: Shop) -> Iterator[None]:
    yield
    shop.end_plans()


def subscription_of(shop: Shop, customer: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"/v1/customers/{customer}")["subscription"]
    return found


def grants(shop: Shop, customer: str) -> list[int]:
    """Units of the customer's entries, oldest first; nothing but grants of a plan. What is owed was granted before."""
    assert shop.system.post(f"/v1/customers/{customer}/grants", {}, app="plans", status=200) == {"granted": 0}
    entries = shop.entries(customer)
    assert {type_ for type_, _ in entries} <= {"subscription_grant"}
    return [units for _, units in entries]


def test_a_plan_grants_each_of_three_renewals_once(shop: Shop) -> None:
    shop.buy("ada", plan="basic")
    for month in range(1, 4):
        shop.pass_time(MONTH)
        assert grants(shop, "ada") == [100] * (month + 1)
    payments = shop.payments("ada")
    assert [(it["plan"], it["units"], it["money"]["amount"], it["state"]) for it in payments] == [
        ("basic", 100, "10.00", "settled")
    ] * 4
    assert len({it["reference"] for it in payments}) == 4


def test_an_upgrade_that_is_not_billed_counts_from_the_next_month_on(shop: Shop) -> None:
    session = shop.buy("up", plan="basic")
    shop.pass_time("10d")
    shop.change_plan(session.subscription, "large")
    shop.quiet()
    assert grants(shop, "up") == [100]
    assert subscription_of(shop, "up")["plan"] == "basic"
    shop.pass_time("22d")
    assert grants(shop, "up") == [100, 250]
    assert subscription_of(shop, "up")["plan"] == "large"


def test_an_upgrade_prorated_with_the_next_invoice_is_granted_with_it(shop: Shop) -> None:
    bought = shop.buy("later", plan="basic").subscription
    shop.pass_time("10d")
    shop.change_plan(bought, "large", "create_prorations")
    shop.quiet()
    assert grants(shop, "later") == [100]
    shop.pass_time("22d")
    more = shop.share(bought, 150)
    assert sorted(grants(shop, "later")) == sorted([100, more, 250])
    renewal = shop.payments("later")[-1]
    charged = shop.invoices(bought)[-1].amount_paid
    assert 30_00 < charged < 40_00, "the plan, and two thirds of what it costs more than the one before"
    assert (renewal["units"], renewal["plan"]) == (250 + more, "large")
    assert renewal["money"]["amount"] == f"{charged / 100:.2f}"


def test_a_downgrade_that_is_credited_takes_nothing_and_months_paid_by_the_credit_are_granted(shop: Shop) -> None:
    bought = shop.buy("credit", plan="large").subscription
    shop.change_plan(bought, "basic", "always_invoice")
    shop.quiet()
    assert (grants(shop, "credit"), subscription_of(shop, "credit")["plan"]) == ([250], "large")
    assert shop.balance("credit") == 250
    shop.pass_time(MONTH)
    assert grants(shop, "credit") == [250, 100]
    paid = [it.amount_paid for it in shop.invoices(bought)]
    assert paid == [25_00, 0, 0], "the credit is more than the month"
    shop.pass_time(MONTH)
    assert grants(shop, "credit") == [250, 100, 100]


def test_a_month_that_becomes_a_year_is_paid_by_the_year_and_granted_by_the_month(shop: Shop) -> None:
    bought = shop.buy("longer", plan="basic").subscription
    shop.pass_time("10d")
    shop.change_to_a_year(bought, 100_00)
    shop.quiet()
    assert grants(shop, "longer") == [100, 100], "the year begins with a month of its own"
    shop.pass_time(MONTH)
    wait_until(lambda: shop.balance("longer") == 300)
    shop.pass_time(MONTH)
    wait_until(lambda: shop.balance("longer") == 400)
    assert [it["plan"] for it in shop.payments("longer")] == ["basic", "basic"]


def test_a_switch_to_a_year_that_is_declined_grants_nothing_until_it_is_paid(shop: Shop) -> None:
    bought = shop.buy("declined", plan="basic").subscription
    shop.pass_time("10d")
    shop.do("fail-next", bought)
    shop.change_to_a_year(bought, 100_00)
    shop.quiet()
    assert (grants(shop, "declined"), subscription_of(shop, "declined")["status"]) == ([100], "past_due")
    shop.do("pay-invoice", shop.invoices(bought)[-1].id)
    assert grants(shop, "declined") == [100, 100]


@pytest.mark.parametrize("first", ["customer.subscription.updated", "invoice.payment_failed"])
def test_a_declined_switch_grants_nothing_in_whatever_order_it_is_told(shop: Shop, first: str) -> None:
    original, customer = f"was-{first[:7]}", f"told-{first[:7]}"
    bought = shop.buy(original, plan="basic").subscription
    shop.pass_time("10d")
    shop.do("fail-next", bought)
    shop.change_to_a_year(bought, 100_00)
    shop.quiet()
    *before, failed, switched = [it for it in shop.told_of(bought) if it["type"] in SWITCH]
    assert (failed["type"], switched["type"]) == ("invoice.payment_failed", "customer.subscription.updated")
    change = sorted([failed, switched], key=lambda it: it["type"] != first)
    shop.tell(*about([*before, *change], customer, was=original))
    assert grants(shop, customer) == [100]


def test_a_downgrade_takes_nothing_and_grants_less_from_then_on(shop: Shop) -> None:
    session = shop.buy("down", plan="large")
    shop.pass_time("10d")
    shop.change_plan(session.subscription, "basic")
    shop.quiet()
    assert grants(shop, "down") == [250]
    shop.pass_time("22d")
    assert grants(shop, "down") == [250, 100]


def test_up_and_down_and_up_again_grants_the_difference_once(shop: Shop) -> None:
    session = shop.buy("swing", plan="basic")
    for plan in ("large", "basic", "large"):
        shop.pass_time("2h")
        shop.change_plan(session.subscription, plan, "always_invoice")
        shop.quiet()
    assert grants(shop, "swing") == [100, 149], "all but the first hours of the month"


def test_a_pause_owes_nothing_and_what_follows_is_granted_again(shop: Shop) -> None:
    subscription = shop.buy("rest", plan="basic").subscription
    shop.do("pause", subscription)
    assert subscription_of(shop, "rest")["status"] == "paused"
    shop.pass_time(MONTH)
    assert grants(shop, "rest") == [100]
    shop.do("resume", subscription)
    shop.run("grant-monthly")
    assert grants(shop, "rest") == [100], "nobody paid for the month that began in the pause"
    shop.pass_time(MONTH)
    assert grants(shop, "rest") == [100, 100]


def test_a_plan_cancelled_for_the_periods_end_runs_until_then(shop: Shop) -> None:
    subscription = shop.buy("leave", plan="basic").subscription
    shop.do("cancel-at-period-end", subscription)
    assert subscription_of(shop, "leave")["status"] == "active"
    shop.pass_time(MONTH)
    assert subscription_of(shop, "leave")["status"] == "canceled"
    assert grants(shop, "leave") == [100]


def test_who_stays_after_all_is_renewed(shop: Shop) -> None:
    subscription = shop.buy("stay", plan="basic").subscription
    shop.do("cancel-at-period-end", subscription)
    shop.do("keep", subscription)
    shop.pass_time(MONTH)
    assert grants(shop, "stay") == [100, 100]


def test_a_month_past_due_is_granted_when_it_is_paid(shop: Shop) -> None:
    subscription = shop.buy("late", plan="basic").subscription
    unpaid = renew_unpaid(shop, subscription, "late")
    shop.do("pay-invoice", unpaid)
    assert subscription_of(shop, "late")["status"] == "active"
    assert grants(shop, "late") == [100, 100]


def test_a_later_month_that_was_paid_does_not_pay_for_the_one_before(shop: Shop) -> None:
    subscription = shop.buy("gap", plan="basic").subscription
    unpaid = renew_unpaid(shop, subscription, "gap")
    shop.pass_time(MONTH)
    assert grants(shop, "gap") == [100, 100]
    shop.do("pay-invoice", unpaid)
    assert grants(shop, "gap") == [100, 100, 100]


@pytest.mark.parametrize("action", ["void-invoice", "uncollectible-invoice"])
def test_a_month_whose_invoice_was_given_up_is_never_granted(shop: Shop, action: str) -> None:
    subscription = shop.buy(action, plan="basic").subscription
    shop.do(action, renew_unpaid(shop, subscription, action))
    assert subscription_of(shop, action)["status"] == "active"
    shop.run("grant-monthly")
    assert grants(shop, action) == [100], "an active subscription is no payment"
    shop.pass_time(MONTH)
    assert grants(shop, action) == [100, 100], "and the month after it is none for it either"


def test_a_month_given_up_that_is_paid_after_all_is_granted(shop: Shop) -> None:
    subscription = shop.buy("penitent", plan="basic").subscription
    unpaid = renew_unpaid(shop, subscription, "penitent")
    shop.do("uncollectible-invoice", unpaid)
    assert grants(shop, "penitent") == [100]
    shop.do("pay-invoice", unpaid)
    assert grants(shop, "penitent") == [100, 100]


def renew_unpaid(shop: Shop, subscription: str, customer: str) -> str:
    """A month later the card is declined, and nothing is granted; returns the invoice."""
    shop.do("fail-next", subscription)
    shop.pass_time(MONTH)
    assert subscription_of(shop, customer)["status"] == "past_due"
    shop.run("grant-monthly")
    assert grants(shop, customer) == [100]
    return str(shop.invoices(subscription)[-1].id)


def test_a_year_paid_at_once_is_granted_month_by_month(shop: Shop) -> None:
    shop.subscribe("year", "basic", year_minor=100_00)
    shop.quiet()
    assert grants(shop, "year") == [100]
    for month in range(1, 4):
        shop.pass_time(MONTH)
        wait_until(lambda due=month: shop.balance("year") == 100 * (due + 1))
    payment = shop.payment("year")
    assert (payment["money"]["amount"], payment["units"], payment["plan"]) == ("100.00", 400, "basic")


def test_a_trial_grants_its_month_and_the_first_paid_month_another(shop: Shop) -> None:
    shop.subscribe("trial", "basic", trial_days=14)
    shop.quiet()
    assert subscription_of(shop, "trial")["status"] == "trialing"
    assert grants(shop, "trial") == [100]
    shop.pass_time("15d")
    assert subscription_of(shop, "trial")["status"] == "active"
    assert grants(shop, "trial") == [100, 100]
    shop.pass_time(MONTH)
    assert grants(shop, "trial") == [100, 100, 100]


def test_a_trial_that_is_cancelled_grants_no_more(shop: Shop) -> None:
    subscription = shop.subscribe("taster", "basic", trial_days=14)
    shop.quiet()
    shop.do("cancel", subscription)
    shop.pass_time(MONTH)
    assert (grants(shop, "taster"), subscription_of(shop, "taster")["status"]) == ([100], "canceled")
