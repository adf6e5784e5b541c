"""Songs, as their document tells it: packs, a monthly plan, generations that are paid for only when they succeed."""

from __future__ import annotations

from typing import Any

import pytest

from models import cycles
from tests.support.providers.stripe_events import event, invoice, subscription
from tests.support.running import Running
from tests.support.waiting import wait_until
from tests.system.journeys.journey import advance, buy_and_wait, sandbox_now, with_token

APP = "songs"
COSTS = {"song_generation": 25, "beat_generation": 5, "lyrics_generation": 4, "lyrics_analysis": 2}
PACKAGES = {"starter": (100, "4.99"), "popular": (500, "19.99"), "pro": (1000, "34.99"), "enterprise": (5000, "149.99")}


def get(system: Running, path: str) -> Any:
    return system.get(path, app=APP)


def post(system: Running, path: str, body: Any = None, status: int = 201) -> Any:
    return system.post(path, body, app=APP, status=status)


class Subscriber:
    """A customer with a plan, as the provider tells of it."""

    def __init__(self, system: Running, customer: str) -> None:
        self.system, self.customer = system, customer
        self.anchor = sandbox_now(system).replace(microsecond=0)

    def tell(self, status: str = "active", month: int = 0, kind: str = "updated") -> None:
        start, end = cycles.cycle_start(self.anchor, month), cycles.cycle_start(self.anchor, month + 1)
        it = subscription(
            APP, self.customer, "pro", anchor=self.anchor, start=start, end=end, number=self.customer, status=status
        )
        told = event(f"customer.subscription.{kind}", it, created=max(start, sandbox_now(self.system)))
        told["id"] = f"evt_{self.customer}_{status}_{month}_{kind}"
        assert self.system.webhook(told, app=APP) == 200

    def pay(self, month: int) -> None:
        start, end = cycles.cycle_start(self.anchor, month), cycles.cycle_start(self.anchor, month + 1)
        number = f"{self.customer}-{month}"
        it = invoice(APP, self.customer, "pro", start=start, end=end, number=number, subscription_number=self.customer)
        told = event("invoice.paid", it, created=start, event_id=f"evt_paid_{number}")
        assert self.system.webhook(told, app=APP) == 200

    def subscribe(self) -> None:
        before = self.balance()
        self.tell(kind="created")
        self.pay(0)
        wait_until(lambda: self.balance() == before + 1000)

    def balance(self) -> int:
        return self.system.balance(self.customer, app=APP)

    def seen(self) -> dict[str, Any]:
        shown: dict[str, Any] = get(self.system, f"/v1/customers/{self.customer}")
        return shown

    def grants(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(
            self.system, f"/v1/customers/{self.customer}/entries?type=subscription_grant"
        )["entries"]
        return found


def test_packages_and_costs_are_in_the_catalog(system: Running) -> None:
    catalog = get(system, "/v1/catalog")
    assert {key: (pack["units"], pack["price"]["amount"]) for key, pack in catalog["packs"].items()} == PACKAGES
    assert {key: rate["units"] for key, rate in catalog["rates"].items()} == COSTS
    assert catalog["plans"]["pro"]["units"] == 1000


def test_the_methods_of_the_credit_service(system: Running) -> None:
    """purchaseCredits, getBalance, hasCredits, deductCredits, addCredits, refundCredits, history and statistics."""
    buy_and_wait(system, "songs-ada", "popular", app=APP)
    assert system.balance("songs-ada", app=APP) == 500
    assert get(system, "/v1/customers/songs-ada/quote?rate=song_generation&quantity=21")["enough"] is False
    charge = {"id": "song-1", "customer": "songs-ada", "rate": "song_generation", "quantity": 1}
    taken = post(system, "/v1/charges", {**charge, "metadata": {"songId": "123", "genre": "rock"}})
    assert (taken["units"], taken["balance"]) == (25, 475)
    gift = {"id": "gift-1", "customer": "songs-ada", "units": 50, "type": "bonus", "reason": "welcome"}
    assert post(system, "/v1/adjustments", gift)["balance"] == 525
    refund = {"id": "refund-1", "entry": taken["entry"], "reason": "the song was empty"}
    assert post(system, "/v1/refunds", refund)["balance"] == 550
    history = get(system, "/v1/customers/songs-ada/entries")["entries"]
    assert [(it["type"], it["amount"], it["balance_before"], it["balance_after"]) for it in history] == [
        ("refund", 25, 525, 550),
        ("bonus", 50, 475, 525),
        ("deduction", -25, 500, 475),
        ("purchase", 500, 0, 500),
    ]
    assert history[2]["metadata"]["genre"] == "rock"
    assert history[0]["reverses"] == history[2]["id"]
    assert history[3]["metadata"]["payment"].startswith("pi_")
    stats = get(system, "/v1/customers/songs-ada/stats")
    assert (stats["balance"], stats["total_spent"], stats["monthly_usage"]) == (550, 0, 0)
    assert (stats["total_purchased"], stats["total_granted"]) == (500, 50)
    assert stats["last_entry"]["type"] == "refund"


def test_every_type_of_transaction_is_written(system: Running) -> None:
    fan = Subscriber(system, "songs-types")
    fan.subscribe()
    buy_and_wait(system, "songs-types", "starter", app=APP)
    taken = post(system, "/v1/charges", {"id": "ty-1", "customer": "songs-types", "units": 5})
    post(system, "/v1/refunds", {"id": "ty-2", "entry": taken["entry"], "reason": "r"})
    for type_ in ("bonus", "admin_adjustment"):
        body = {"id": f"ty-{type_}", "customer": "songs-types", "units": 1, "type": type_, "reason": "r"}
        post(system, "/v1/adjustments", body)
    types = {it["type"] for it in get(system, "/v1/customers/songs-types/entries")["entries"]}
    assert types == {"purchase", "deduction", "refund", "subscription_grant", "bonus", "admin_adjustment"}


def test_a_subscriber_has_the_tier_the_state_and_a_key(system: Running) -> None:
    fan = Subscriber(system, "songs-pro")
    fan.subscribe()
    seen = fan.seen()
    assert (seen["tier"], seen["subscription"]["status"], seen["subscription"]["plan"]) == ("pro", "active", "pro")
    assert seen["subscription"]["granted_at"] is not None
    assert seen["provider_customers"] == {"stripe": "cus_songs-pro"}
    key = seen["activation_key"]
    assert key
    check = post(system, "/v1/activation/check", {"key": key}, status=200)
    assert check == {"valid": True, "customer": "songs-pro", "plan": "pro", "status": "active"}
    fan.tell(month=0)
    wait_until(lambda: fan.seen()["subscription"]["status"] == "active")
    assert fan.seen()["activation_key"] == key, "made once"
    fan.tell(status="canceled", kind="deleted")
    wait_until(lambda: fan.seen()["subscription"]["status"] == "canceled")
    assert fan.seen()["tier"] == "pro", "the month is paid for"
    assert post(system, "/v1/activation/check", {"key": key}, status=200)["valid"] is False
    assert post(system, "/v1/activation/check", {"key": "wrong"}, status=200)["valid"] is False


def test_the_monthly_credits_come_by_schedule_by_hand_and_on_login_and_never_twice(system: Running) -> None:
    fan = Subscriber(system, "songs-month")
    fan.subscribe()
    assert post(system, "/v1/customers/songs-month/grants", status=200) == {"granted": 0}
    for month in (1, 2, 3):
        advance(system, f"{(cycles.cycle_start(fan.anchor, month) - sandbox_now(system)).days + 1}d")
        fan.tell(month=month)
        fan.pay(month)
        post(system, "/v1/runs/grant-monthly", {}, status=200)
        post(system, "/v1/customers/songs-month/grants", status=200)
        wait_until(lambda due=month: fan.balance() == 1000 * (due + 1))
    months = [it["metadata"]["cycle"] for it in fan.grants()]
    assert sorted(months) == [0, 1, 2, 3]
    assert post(system, "/v1/customers/songs-month/grants", status=200) == {"granted": 0}


def test_a_plan_that_ended_grants_no_more(system: Running) -> None:
    fan = Subscriber(system, "songs-gone")
    fan.subscribe()
    fan.tell(status="canceled", kind="deleted")
    wait_until(lambda: fan.seen()["subscription"]["status"] == "canceled")
    advance(system, "40d")
    post(system, "/v1/runs/grant-monthly", {}, status=200)
    assert post(system, "/v1/customers/songs-gone/grants", status=200) == {"granted": 0}
    assert fan.balance() == 1000, "what was granted stays"


def test_revenue_is_reported(system: Running) -> None:
    for customer, pack in (("songs-r1", "starter"), ("songs-r2", "starter"), ("songs-r3", "starter")):
        buy_and_wait(system, customer, pack, app=APP)
    report = get(system, "/v1/reports/revenue?group=pack")
    usd = report["currencies"]["usd"]
    assert float(usd["gross"]) == float(usd["net"]) > 0
    assert usd["payments"] >= 3
    assert float(usd["average"]) == pytest.approx(float(usd["gross"]) / usd["payments"], abs=0.01)
    assert float(usd["refund_rate"]) == 0
    assert report["most_popular_pack"] is not None
    assert sum(int(row["payments"]) for row in report["groups"]) == usd["payments"]
    months = get(system, "/v1/reports/revenue?group=month&tz=America/New_York")["groups"]
    assert sum(row["payments"] for row in months) == usd["payments"]
    customers = {row["key"] for row in get(system, "/v1/reports/revenue?group=customer")["groups"]}
    assert {"songs-r1", "songs-r2", "songs-r3"} <= customers


def test_recurring_revenue_counts_who_subscribes_now(system: Running) -> None:
    before = _mrr(system)
    fan = Subscriber(system, "songs-mrr")
    fan.subscribe()
    assert _mrr(system) == pytest.approx(before + 29.00)
    fan.tell(status="canceled", kind="deleted")
    wait_until(lambda: fan.seen()["subscription"]["status"] == "canceled")
    assert _mrr(system) == pytest.approx(before)


def _mrr(system: Running) -> float:
    return sum(float(money["amount"]) for money in get(system, "/v1/reports/revenue")["mrr"])


def test_the_margin_is_reported_by_rate(system: Running) -> None:
    buy_and_wait(system, "songs-margin", "starter", app=APP)
    charge = {"id": "songs-margin-1", "customer": "songs-margin", "rate": "song_generation", "quantity": 1}
    post(system, "/v1/charges", charge)
    rows = get(system, "/v1/reports/margin")["rates"]
    assert "song_generation" in {row["rate"] for row in rows}
    for row in rows:
        if row["cost"] is not None and row["margin"] is not None:
            assert float(row["margin"]) == pytest.approx(float(row["revenue"]) - float(row["cost"]), abs=0.011)
    owed = get(system, "/v1/reports/liability")
    assert owed["units"] > 0
    assert owed["customers"] > 0


def test_a_customer_sees_the_own_credits_only(system: Running) -> None:
    for what in ("balance", "entries", "stats", "payments"):
        path = f"/v1/customers/songs-mine/{what}"
        assert with_token(system, "songs-mine", path, app=APP) == 200
        assert with_token(system, "songs-mine", path, app=APP, of="songs-nosy") == 403


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
