"""Customers: who they are, and the tier that holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import customers as changes
from models import customers, database
from models.catalog import catalog
from models.errors import Invalid, NotFound
from tests.support.posting import grant
from tests.support.providers.shop import change

DAY = timedelta(days=1)


def songs() -> Any:
    return catalog.current()["songs"]


def patch(customer: str, now: datetime, **fields: str | None) -> dict[str, Any]:
    return changes.patch(songs(), customer, fields, now=now)


def subscribe(customer: str, now: datetime, *, number: int = 1, status: str = "active", plan: str = "pro") -> None:
    database.write(
        """INSERT INTO subscription (app, account_id, provider, provider_id, plan, status, anchor, owed_until, ended_at,
               created_at, updated_at)
        SELECT 'songs', id, 'stripe', %(name)s, %(plan)s, %(status)s, %(now)s, %(until)s, %(ended)s, %(now)s, %(now)s
        FROM account WHERE app = 'songs' AND customer = %(customer)s""",
        {
            "name": f"sub_{number}",
            "plan": plan,
            "status": status,
            "now": now,
            "until": now + timedelta(days=31) if status in ("active", "trialing") else None,
            "ended": now if status == "canceled" else None,
            "customer": customer,
        },
    )


def test_a_patch_makes_a_customer_that_is_new(db, now):
    assert patch("ada", now, tier="gold", email="ada@example.com") == {
        "customer": "ada",
        "tier": "gold",
        "email": "ada@example.com",
        "timezone": None,
        "created_at": now,
        "updated_at": now,
        "provider_customers": {},
        "subscription": None,
        "activation_key": None,
    }


def test_a_patch_changes_what_it_names_and_null_clears(db, now):
    patch("ada", now, tier="gold", email="ada@example.com")
    seen = patch("ada", now + DAY, tier=None, timezone="Asia/Tokyo")
    assert (seen["tier"], seen["email"], seen["timezone"]) == (None, "ada@example.com", "Asia/Tokyo")
    assert (seen["created_at"], seen["updated_at"]) == (now, now + DAY)


def test_a_patch_leaves_the_balance_alone(db, now):
    grant("ada", 5, key="bonus:1", now=now, app="songs")
    patch("ada", now, tier="gold")
    assert database.read("SELECT balance, seq FROM account") == [(5, 1)]


def test_a_timezone_that_is_none_is_refused_and_makes_no_customer(db, now):
    with pytest.raises(Invalid) as refusal:
        patch("ada", now, timezone="Mars/Olympus")
    assert refusal.value.errors[0][0] == "timezone"
    with pytest.raises(NotFound):
        customers.get(songs(), "ada", now=now)


def test_another_apps_customer_is_not_found(db, now):
    grant("ada", 5, key="bonus:1", now=now)
    with pytest.raises(NotFound):
        customers.get(songs(), "ada", now=now)


@pytest.mark.parametrize(
    ("status", "tier"), [("active", "pro"), ("trialing", "pro"), ("past_due", "gold"), ("canceled", "gold")]
)
def test_a_plans_tier_holds_while_a_period_of_it_is_owed(db, now, status, tier):
    patch("ada", now, tier="gold")
    subscribe("ada", now, status=status)
    assert customers.get(songs(), "ada", now=now)["tier"] == tier
    assert customers.tier(songs(), "ada", now=now) == tier


def test_a_plan_that_left_the_catalog_gives_no_tier(db, now):
    patch("ada", now, tier="gold")
    subscribe("ada", now, plan="ancient")
    assert customers.get(songs(), "ada", now=now)["tier"] == customers.tier(songs(), "ada", now=now) == "gold"


def test_of_two_subscriptions_to_one_plan_that_which_runs_is_shown(db, now):
    patch("ada", now)
    subscribe("ada", now, number=1)
    subscribe("ada", now, number=2)
    database.write("UPDATE subscription SET status = 'canceled', ended_at = %s WHERE provider_id = 'sub_2'", [now])
    shown = customers.get(songs(), "ada", now=now)["subscription"]
    assert (shown["provider_id"], shown["status"]) == ("sub_1", "active")


def test_a_larger_plan_without_a_tier_does_not_hide_the_tier_of_another(db, now):
    plans = {"lite": replace(songs().plans["pro"], key="lite"), "bulk": replace(songs().plans["pro"], key="bulk")}
    change("songs", plans={**plans, "bulk": replace(plans["bulk"], tier=None, units=9000)})
    patch("ada", now)
    subscribe("ada", now, number=1, plan="lite")
    subscribe("ada", now, number=2, plan="bulk")
    shown = customers.get(songs(), "ada", now=now)
    assert shown["tier"] == customers.tier(songs(), "ada", now=now) == "pro"
    assert shown["subscription"]["plan"] == "lite"


def test_a_trial_began_when_the_provider_says(db, now):
    patch("ada", now)
    subscribe("ada", now + 3 * DAY, status="trialing")
    began, ends = now - DAY, now + 13 * DAY
    sql = "UPDATE subscription SET anchor = %s, cycle_start = %s, cycle_end = %s"
    database.write(sql, [ends, began, ends])
    shown = customers.get(songs(), "ada", now=now + 4 * DAY)["subscription"]
    assert (shown["cycle_start"], shown["cycle_end"]) == (began, ends)


def test_a_customer_nobody_knows_has_no_tier(db, now):
    assert customers.tier(songs(), "nobody", now=now) is None


def test_the_subscription_shows_the_cycle_that_runs(db, now):
    patch("ada", now)
    subscribe("ada", datetime.fromisoformat("2026-01-31T00:00:00+00:00"))
    seen = customers.get(songs(), "ada", now=datetime.fromisoformat("2026-03-10T00:00:00+00:00"))["subscription"]
    assert (seen["plan"], seen["status"], seen["provider"], seen["provider_id"]) == ("pro", "active", "stripe", "sub_1")
    assert seen["cycle_start"].isoformat() == "2026-02-28T00:00:00+00:00"
    assert seen["cycle_end"].isoformat() == "2026-03-31T00:00:00+00:00"
    assert seen["granted_at"] is None


def cycle(now: datetime, **changed: Any) -> tuple[str, str]:
    """Ada's cycle as it is shown, after these columns were changed: their days of 2026."""
    for column, value in changed.items():
        database.write(f"UPDATE subscription SET {column} = %s", [value])
    seen = customers.get(songs(), "ada", now=now)["subscription"]
    return seen["cycle_start"].strftime("%m-%d"), seen["cycle_end"].strftime("%m-%d")


def day(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}T00:00:00+00:00")


def test_a_subscription_that_ended_with_its_period_shows_no_month_that_never_was(db):
    patch("ada", day("01-10"))
    subscribe("ada", day("01-10"), status="canceled")
    told_late = day("03-10") + timedelta(minutes=7)
    assert cycle(day("05-01"), ended_at=told_late, cycle_end=day("03-10")) == ("02-10", "03-10")
    assert cycle(day("05-01"), ended_at=day("02-20")) == ("02-10", "03-10"), "at once, in the middle of a month"
    assert cycle(day("05-01"), cycle_end=day("03-01")) == ("02-10", "03-01"), "no end beyond the provider's"
    assert cycle(day("05-01"), cycle_end=None) == ("02-10", "03-10")


def test_a_trials_cycle_is_the_trial(db):
    patch("ada", day("01-10"))
    subscribe("ada", day("01-10"), status="trialing")
    assert cycle(day("01-12"), anchor=day("01-24")) == ("01-10", "01-24")
    assert cycle(day("01-24")) == ("01-24", "02-24")
    ended = {"status": "canceled", "ended_at": day("01-24"), "cycle_end": day("01-24")}
    assert cycle(day("03-01"), **ended) == ("01-10", "01-24"), "given up in the trial"
    assert cycle(day("03-01"), ended_at=day("01-20")) == ("01-10", "01-24")


def test_an_active_subscription_is_shown_before_a_later_one_that_ended(db, now):
    patch("ada", now)
    for number, status in enumerate(("canceled", "active", "canceled")):
        subscribe("ada", now, number=number, status=status)
    assert customers.get(songs(), "ada", now=now)["subscription"]["provider_id"] == "sub_1"
    database.write("UPDATE subscription SET status = 'canceled', owed_until = NULL")
    assert customers.get(songs(), "ada", now=now)["subscription"]["provider_id"] == "sub_2"


def test_the_names_that_providers_have_for_a_customer_are_shown(db, now):
    patch("ada", now)
    database.write(
        """INSERT INTO provider_customer (app, provider, provider_id, account_id)
        SELECT 'songs', 'stripe', 'cus_1', id FROM account"""
    )
    assert customers.get(songs(), "ada", now=now)["provider_customers"] == {"stripe": "cus_1"}


def test_customers_are_found_by_a_part_of_their_name_or_email_in_any_case(db, now):
    patch("ada", now, email="Lovelace@example.com")
    patch("adam", now)
    patch("bob", now, email="bob@LOVE.example")
    grant("ada-of-another-app", 5, key="bonus:1", now=now)

    def found(query: str | None) -> list[str]:
        return [row["customer"] for row in customers.list_page(songs(), query=query, now=now)[0]]

    assert found("AD") == ["adam", "ada"]
    assert found("love") == ["bob", "ada"]
    assert found("%") == found("_") == []
    assert found(None) == ["bob", "adam", "ada"]


def test_the_list_of_customers_goes_on_by_cursor(db, now):
    for name in ("a", "b", "c", "d", "e"):
        patch(name, now)
    first, cursor = customers.list_page(songs(), limit=3, now=now)
    second, end = customers.list_page(songs(), limit=3, cursor=cursor, now=now)
    assert [row["customer"] for row in first + second] == ["e", "d", "c", "b", "a"]
    assert end is None
