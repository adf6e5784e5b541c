"""`plans explain` and `plans recompute`: what a subscription is owed and why, and what a deployment would move."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from jobs.plans import explain, recompute
from models import cycles, database
from models.errors import Conflict, NotFound
from tests.support.cast import ADA, BO, app, balance, deliver, entries
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
APP, DAY = "songs", timedelta(days=1)


def buy(now: datetime, number: str = "1", *, customer: str = ADA, slug: str = APP) -> None:
    end = cycles.cycle_start(now, 1)
    told = subscription(slug, customer, "pro", anchor=now, start=now, end=end, number=number)
    paid = invoice(slug, customer, "pro", start=now, end=end, number=number, subscription_number=number,
                   payment_intent=f"pi_{number}")  # fmt: skip
    deliver(slug, event("customer.subscription.created", told, created=now, event_id=f"evt_s{number}"), now=now)
    deliver(slug, event("invoice.paid", paid, created=now, event_id=f"evt_i{number}"), now=now)


def explained(name: str, now: datetime) -> dict[str, object]:
    return explain.explain(database.live_connection(), name, now=now)


def test_it_says_what_was_reported_what_is_owed_and_what_was_granted(now: datetime) -> None:
    buy(now)
    deliver(APP, event("charge.refunded", charge(refunded=1450, amount=2900), created=now), now=now)
    found = explained("sub_1", now)
    (number,) = database.read("SELECT id FROM subscription")[0]
    assert explained(str(number), now) == found
    assert [(fact["kind"], fact["event"]) for fact in found["facts"]] == [  # type: ignore[attr-defined]
        ("snapshot", "evt_s1"),
        ("bill", "evt_i1"),
    ]
    (owed,), (lot,), (bill,) = found["owed"], found["lots"], found["bills"]  # type: ignore[misc]
    assert (owed["units"], owed["whole_units"], owed["why"]) == (500, 1000, "pro: paid by in_1")
    assert (lot["granted"], lot["clawed"]) == (1000, 500)
    assert (bill["state"], bill["returned_minor"]) == ("paid", 1450)
    assert (found["due"], found["clawbacks"]) == ([], [])
    assert found["owner"]["customer"] == ADA  # type: ignore[index]


def test_a_subscription_of_which_nothing_could_be_applied_is_explained(now: datetime) -> None:
    told = subscription(APP, "", "", anchor=now, start=now, end=now + 31 * DAY)
    deliver(APP, event("customer.subscription.created", told, created=now), now=now)
    found = explained("sub_1", now)
    assert "no customer" in found["owner"]["problem"]  # type: ignore[index]
    assert len(found["facts"]) == 1  # type: ignore[arg-type]
    assert "price_of_another_catalog" in found["notes"][0]  # type: ignore[index]


def test_an_unknown_name_and_one_of_two_apps_are_refused(now: datetime) -> None:
    with pytest.raises(NotFound, match="no subscription 'sub_none'"):
        explained("sub_none", now)
    buy(now)
    database.write("INSERT INTO subscription (app, provider, provider_id, status, created_at, updated_at)"
                   " VALUES ('echomind', 'stripe', 'sub_1', 'active', now(), now())")  # fmt: skip
    with pytest.raises(Conflict, match="use --app"):
        explained("sub_1", now)


def test_a_dry_run_lists_what_a_run_then_posts_and_the_next_run_finds_nothing(now: datetime) -> None:
    for number, customer in (("1", ADA), ("2", BO)):
        buy(now, number, customer=customer)
    database.write("UPDATE plan_fact SET content = jsonb_set(content, '{lines,0,quantity}', '3') WHERE bill = 'in_2'")
    before = database.read("SELECT upcoming, updated_at FROM subscription ORDER BY id")
    dry = list(recompute.results(now=now, dry_run=True))
    assert [result.differences == [] for result in dry] == [True, False]
    assert "2000 units of pro are owed" in dry[1].differences[0]
    assert (balance(BO, APP), database.read("SELECT upcoming, updated_at FROM subscription ORDER BY id")) == (
        1000,
        before,
    )
    assert [result.differences for result in recompute.results(now=now)] == [result.differences for result in dry]
    assert entries(BO, APP) == [("subscription_grant", 1000), ("subscription_grant", 2000)]
    assert [result.differences for result in recompute.results(now=now)] == [[], []]
    assert recompute.count(APP) == 2
    assert recompute.count("echomind") == 0


def test_a_dry_run_uses_the_catalog_as_it_is_now_and_stores_no_terms(now: datetime) -> None:
    told = subscription(APP, ADA, "", anchor=now, start=now, end=now + 31 * DAY)
    deliver(APP, event("customer.subscription.created", told, created=now), now=now)
    terms = database.read("SELECT plan, since FROM plan_terms")
    change(APP, plans={"pro": replace(app(APP).plans["pro"], stripe_price="price_of_another_catalog")})
    (dry,) = recompute.results(now=now, dry_run=True)
    assert "1000 units of pro are owed" in dry.differences[0]
    assert database.read("SELECT plan, since FROM plan_terms") == terms
    list(recompute.results(now=now))
    assert balance(ADA, APP) == 1000
