"""Reconciliation: what was missed is credited, once; what has no payment behind it is reported, and left alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from commands import reconcile as command
from jobs import runs
from jobs.inbox import events
from jobs.providers.paypal import client as paypal_client
from jobs.providers.stripe import reconciliation
from jobs.reconciliation import findings as results
from jobs.reconciliation import run
from models import clock, database
from models.catalog import catalog
from models.errors import ProviderAway
from tests.support.cast import ADA, BO, app, balance, deliver, entries, event_states, give
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, begin, bought, change, open_shop
from tests.support.providers.stripe_events import event, paid_session
from tests.support.running import ROOT, Running

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


@pytest.fixture
def now() -> datetime:
    """The sandbox's own time: its provider goes by it."""
    return clock.now().replace(microsecond=0)


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def look(now: datetime, slug: str | None = APP, days: int = 30) -> dict[str, int]:
    """Reconcile to the end; the counts that are not zero."""
    counts = dict.fromkeys(results.COUNTS, 0)
    for chunk in run.chunks(now=now, lookback=timedelta(days=days), app=slug):
        for name, count in chunk.counts.items():
            counts[name] += count
    return {name: count for name, count in counts.items() if count and name != "looked_at"}


def findings(now: datetime, slug: str | None = APP) -> list[tuple[str, str]]:
    chunks = run.chunks(now=now, lookback=timedelta(days=30), app=slug)
    return [(it.kind, it.reference) for chunk in chunks for it in chunk.found]


def without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are gone, as those older than 30 days: only the objects are there."""
    left = {name: part for name, part in reconciliation.PARTS.items() if not name.startswith("events")}
    monkeypatch.setattr(reconciliation, "PARTS", left)


def test_a_webhook_that_was_swallowed_is_a_credit_after_the_next_reconciliation_once(
    provider: Provider, now: datetime
) -> None:
    bought(provider, now=now)
    assert balance(ADA) == 0
    assert look(now)["missed_events"] > 0
    assert entries(ADA) == [("purchase", 100)]
    assert look(now) == {}
    assert look(now + timedelta(hours=1)) == {}
    assert entries(ADA) == [("purchase", 100)]


def test_the_webhook_that_comes_after_all_changes_nothing(provider: Provider, now: datetime) -> None:
    session = bought(provider, now=now)
    look(now)
    (listed,) = provider.stripe(APP).v1.events.list({"types": ["checkout.session.completed"]}).data
    assert deliver(APP, listed.to_dict(for_json=True), now=now) is False
    other = paid_session(APP, ADA, "starter", id=session)
    intent = provider.stripe(APP).v1.checkout.sessions.retrieve(session).payment_intent
    deliver(APP, event("checkout.session.completed", {**other, "payment_intent": intent}, created=now), now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_a_payment_whose_events_are_gone_is_found_by_its_session(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_events(monkeypatch)
    bought(provider, now=now, quantity=2)
    assert look(now) == {"missed_objects": 1}
    assert entries(ADA) == [("purchase", 200)]
    assert look(now) == {}
    monkeypatch.undo()
    look(now)
    assert entries(ADA) == [("purchase", 200)]


def test_a_bank_transfer_that_arrived_unheard_is_credited(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_events(monkeypatch)
    session = begin(now=now)["url"].rpartition("/")[2]
    provider.pay(session, "later")
    assert look(now) == {"missed_objects": 1}
    assert entries(ADA) == []
    provider.control(APP, action="transfer-arrives", id=session)
    assert look(now) == {"missed_objects": 1}
    assert entries(ADA) == [("purchase", 100)]
    assert look(now) == {}


def charge_of(provider: Provider, session: str, slug: str = APP) -> str:
    v1 = provider.stripe(slug).v1
    intent = v1.payment_intents.retrieve(v1.checkout.sessions.retrieve(session).payment_intent)
    return str(intent.latest_charge)


@pytest.mark.parametrize("are_events_gone", [False, True])
def test_a_refund_that_was_missed_is_clawed_once(
    are_events_gone: bool, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bought(provider, now=now)
    look(now)
    if are_events_gone:
        without_events(monkeypatch)
    provider.control(APP, action="refund", id=charge_of(provider, session), amount="4.00")
    assert look(now)
    assert balance(ADA) == 60
    assert look(now) == {}
    monkeypatch.undo()
    look(now)
    assert balance(ADA) == 60


@pytest.mark.parametrize("are_events_gone", [False, True])
def test_a_dispute_that_was_missed_takes_its_units_and_gives_them_back_when_won(
    are_events_gone: bool, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bought(provider, now=now)
    look(now)
    if are_events_gone:
        without_events(monkeypatch)
    dispute = provider.control(APP, action="dispute", id=charge_of(provider, session))["done"]["id"]
    look(now)
    assert balance(ADA) == 0
    provider.control(APP, action="win", id=dispute)
    look(now)
    assert balance(ADA) == 100
    assert look(now) == {}


@pytest.mark.parametrize("are_events_gone", [False, True])
def test_a_plan_that_began_unheard_grants_its_first_month_once(
    are_events_gone: bool, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    if are_events_gone:
        without_events(monkeypatch)
    bought(provider, now=now, slug="songs", plan="pro")
    assert look(now, "songs")
    assert entries(ADA, "songs") == [("subscription_grant", 1000)]
    assert look(now, "songs") == {}
    monkeypatch.undo()
    look(now, "songs")
    assert entries(ADA, "songs") == [("subscription_grant", 1000)]
    assert database.read("SELECT count(*) FROM payment") == [(1,)]


def test_a_cancellation_that_was_missed_ends_the_subscription(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_events(monkeypatch)
    session = bought(provider, now=now, slug="songs", plan="pro")
    look(now, "songs")
    subscription = provider.stripe("songs").v1.checkout.sessions.retrieve(session).subscription
    provider.control("songs", action="cancel", id=subscription)
    assert look(now, "songs") == {"missed_objects": 1}
    assert database.read("SELECT status FROM subscription") == [("canceled",)]
    assert look(now, "songs") == {}


# --- the other way


def test_a_credit_that_no_payment_stands_behind_is_reported_and_left_alone(provider: Provider, now: datetime) -> None:
    deliver(APP, event("checkout.session.completed", paid_session(APP, ADA, "starter"), created=now), now=now)
    assert findings(now) == [("unbacked", "pi_1")]
    assert findings(now) == [("unbacked", "pi_1")]
    assert entries(ADA) == [("purchase", 100)]
    assert database.read("SELECT state FROM payment") == [("settled",)]


def test_a_credit_whose_payment_was_never_paid_is_reported_with_its_state(provider: Provider, now: datetime) -> None:
    session = begin(now=now)["url"].rpartition("/")[2]
    provider.pay(session, "later")
    intent = provider.stripe(APP).v1.checkout.sessions.retrieve(session).payment_intent
    paid = paid_session(APP, ADA, "starter", id=session, payment_intent=intent)
    deliver(APP, event("checkout.session.completed", paid, created=now), now=now)
    found = [it for chunk in run.chunks(now=now, lookback=timedelta(days=30), app=APP) for it in chunk.found]
    assert [(it.kind, it.reference) for it in found] == [("unbacked", intent)]
    assert "processing" in found[0].detail


def test_what_the_provider_has_shown_is_not_asked_for_again(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought(provider, now=now)
    look(now)
    look(now)

    def asked(*_: Any) -> Any:
        raise AssertionError("it was asked for by its id")

    monkeypatch.setattr(reconciliation, "why_unpaid", asked)
    assert look(now) == {}


def test_nothing_is_reported_for_a_pack_that_cost_nothing(provider: Provider, now: datetime) -> None:
    change(APP, checkout=replace(app().checkout, allow_promotion_codes=True))
    session = begin(now=now)["url"].rpartition("/")[2]
    provider.pay(session, code="FREE")
    look(now)
    assert entries(ADA) == [("purchase", 100)]
    assert findings(now) == []


# --- several apps, several providers


def shared(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> None:
    """Two apps on one account at Stripe."""
    from jobs.providers.stripe import client as stripe_client

    one = "sk_sandbox_ai-services"
    monkeypatch.setattr(reconciliation, "account", lambda app: one)
    client = stripe_client._client(one, f"{provider.url}/stripe", quick=False)
    monkeypatch.setattr(stripe_client, "_client_of", lambda app, quick: client)


def subscribed(provider: Provider, metadata: dict[str, str]) -> str:
    """A subscription that was made elsewhere, at a price of nobody's; its id."""
    recurring = {"interval": "month"}
    price = {"currency": "usd", "unit_amount": 900, "product_data": {"name": "Gold"}, "recurring": recurring}
    made = provider.stripe(APP).v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price_data": price, "quantity": 1}],
            "subscription_data": {"metadata": metadata},
            "success_url": "https://app.example/",
        }
    )
    provider.pay(made.id)
    return str(provider.stripe(APP).v1.checkout.sessions.retrieve(made.id).subscription)


def test_a_plan_that_was_sold_for_the_app_at_an_unknown_price_is_named(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(BO, 1, now=now)
    without_events(monkeypatch)
    id_ = subscribed(provider, {"app": APP, "customer": ADA})
    v1 = provider.stripe(APP).v1
    (invoice,) = v1.invoices.list({"subscription": id_}).data
    assert findings(now) == [("unknown_price", id_), ("unknown_price", invoice.id)]
    (told, _) = runs.run(APP, "reconcile", now=now)["found"]
    price = v1.subscriptions.retrieve(id_).to_dict()["items"]["data"][0]["price"]["id"]
    assert (told["customer"], told["kind"]) == (ADA, "unknown_price")
    assert told["detail"].startswith(
        f"the subscription is active and names the price {price!r}, which no plan in the catalog of {APP} has"
    )
    assert event_states(APP) == []
    assert [step.found for step in runs.chunks("reconcile-recent", now=now, app=APP) if step.found] == []
    change(APP, plans={"gold": replace(app("songs").plans["pro"], key="gold", stripe_price=price)})
    assert findings(now) == []
    assert entries(ADA) == [("subscription_grant", 1000)]


def test_a_plan_at_an_unknown_price_of_which_a_dead_event_tells_is_named_by_that(
    provider: Provider, now: datetime
) -> None:
    give(BO, 1, now=now)
    subscribed(provider, {"app": APP, "customer": ADA})
    assert {kind for kind, _ in findings(now)} == {"dead"}
    assert {kind for kind, _ in findings(now)} == {"dead"}


def test_a_plan_at_an_unknown_price_that_has_ended_is_no_news(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(BO, 1, now=now)
    without_events(monkeypatch)
    id_ = subscribed(provider, {"app": APP, "customer": ADA})
    provider.control(APP, action="cancel", id=id_)
    assert id_ not in [reference for _, reference in findings(now)]


@pytest.mark.parametrize("metadata", [{}, {"customer": ADA}, {"app": "songs", "customer": ADA}], ids=str)
def test_an_unknown_price_that_does_not_name_the_app_is_none_of_its_business(
    metadata: dict[str, str], provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(BO, 1, now=now)
    without_events(monkeypatch)
    subscribed(provider, metadata)
    assert findings(now) == []


def test_two_apps_on_one_account_never_get_each_others_credit(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(monkeypatch, provider)
    bought(provider, now=now)
    look(now, None)
    assert (balance(ADA), balance(ADA, "songs")) == (100, 0)


@pytest.mark.parametrize("are_events_gone", [False, True])
def test_what_names_no_app_on_a_shared_account_is_nobodys(
    are_events_gone: bool, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both apps have a pack `starter`: its name says nothing."""
    shared(monkeypatch, provider)
    for slug in (APP, "songs"):
        give(BO, 1, now=now, slug=slug)
    if are_events_gone:
        without_events(monkeypatch)
    price = {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Starter"}}
    made = provider.stripe(APP).v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "metadata": {"customer": ADA, "pack": "starter"},
            "success_url": "https://app.example/",
        }
    )
    provider.pay(made.id)
    look(now, None)
    assert balance(ADA) + balance(ADA, "songs") == 0
    assert event_states("songs") == []


def test_a_payment_link_on_an_account_of_its_own_is_the_apps(provider: Provider, now: datetime) -> None:
    give(ADA, 5, now=now)
    price = {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Starter"}}
    made = provider.stripe(APP).v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "client_reference_id": BO,
            "metadata": {"pack": "starter"},
            "success_url": "https://app.example/",
        }
    )
    provider.pay(made.id)
    look(now)
    assert entries(BO) == [("purchase", 100)]


def test_a_missed_event_that_cannot_be_applied_is_dead_and_told(provider: Provider, now: datetime) -> None:
    bought(provider, now=now)
    database.write("DELETE FROM checkout")
    whole = catalog.current()
    change(APP, packs={})
    assert "dead" in {kind for kind, _ in findings(now)}
    catalog.use(whole)
    for (event_id,) in database.read("SELECT id FROM inbox_event WHERE state = 'dead'"):
        events.replay(APP, event_id, now=now)
    while events.apply_pending(now=now):
        pass
    assert entries(ADA) == [("purchase", 100)]


def test_an_event_that_was_dead_before_is_told_by_every_run_over_its_span(provider: Provider, now: datetime) -> None:
    bad = event("checkout.session.completed", paid_session(APP, ADA, "gone"), created=now)
    deliver(APP, bad, now=now)
    assert look(now, days=1) == {"dead": 1}
    assert findings(now + timedelta(days=1)) == [("dead", bad["id"])]
    assert findings(now + timedelta(days=31)) == []
    assert look(now, "songs") == {}, "it is another app's"
    ((_, error),) = event_states(APP)
    (told,) = runs.run(APP, "reconcile", now=now)["found"]
    assert (told["reference"], told["detail"]) == (bad["id"], error)


def test_a_dead_event_is_told_where_no_provider_can_be_asked(now: datetime, db: str) -> None:
    bad = event("checkout.session.completed", paid_session(APP, ADA, "gone"), created=now)
    deliver(APP, bad, now=now)
    assert findings(now) == [("skipped", ""), ("dead", bad["id"])]


@pytest.mark.parametrize("are_events_gone", [False, True])
@pytest.mark.parametrize("sold", [{"pack": "starter"}, {"plan": "pro"}], ids=str)
def test_what_was_paid_before_the_app_came_here_is_left_alone(
    sold: dict[str, str], are_events_gone: bool, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older system credited it, and its balances were imported."""
    if are_events_gone:
        without_events(monkeypatch)
    bought(provider, now=now, slug="songs", **sold)
    database.write("DELETE FROM checkout")
    database.write("DELETE FROM account")
    give(ADA, 500, now=now + timedelta(hours=1), slug="songs")
    assert look(now + timedelta(hours=2), "songs") == {}
    assert balance(ADA, "songs") == 500
    for _ in run.chunks(now=now + timedelta(hours=2), lookback=timedelta(days=30), app="songs", include_history=True):
        pass
    assert balance(ADA, "songs") > 500, "an operator may ask for it, after the loss of a database"


def test_an_app_without_a_provider_is_skipped_with_a_word(now: datetime) -> None:
    assert findings(now) == [("skipped", "")]


def test_a_provider_that_is_away_is_told_and_the_others_go_on(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought(provider, now=now, slug="songs", pack="starter")

    def away(*_: Any) -> Any:
        raise ProviderAway("PayPal cannot be reached")

    monkeypatch.setattr(paypal_client.PayPal, "list_events", away)
    counts = look(now, None)
    assert counts["unreachable"] == 1
    assert balance(ADA, "songs") == 100


def test_paging_goes_on_where_it_was(provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "PAGE", 2)
    for _ in range(5):
        bought(provider, now=now)
    look(now)
    assert balance(ADA) == 500


def test_a_run_by_hand_tells_its_counts_and_is_for_one_app(provider: Provider, now: datetime) -> None:
    bought(provider, now=now)
    bought(provider, now=now, slug="songs", pack="starter")
    done = runs.run(APP, "reconcile", now=now)
    assert set(done["counts"]) == set(results.COUNTS)
    assert (balance(ADA), balance(ADA, "songs")) == (100, 0)


def test_a_run_by_hand_names_the_credits_that_nothing_stands_behind(provider: Provider, now: datetime) -> None:
    deliver(APP, event("checkout.session.completed", paid_session(APP, ADA, "starter"), created=now), now=now)
    done = runs.run(APP, "reconcile", now=now)
    ((payment,),) = database.read("SELECT id FROM payment")
    assert done["counts"]["unbacked"] == 1
    assert done["found"] == [
        {
            "app": APP,
            "provider": "stripe",
            "kind": "unbacked",
            "reference": "pi_1",
            "detail": f"payment {payment} of 'ada' credited 100 units, but pi_1 was not found at Stripe",
            "customer": ADA,
            "units": 100,
            "payment": payment,
        }
    ]
    assert done["more"] == 0


def test_a_run_by_hand_names_so_many_and_counts_the_rest(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        session = paid_session(APP, ADA, "starter", number=str(number))
        deliver(APP, event("checkout.session.completed", session, created=now), now=now)
    monkeypatch.setattr(runs, "MOST_FOUND", 3)
    done = runs.run(APP, "reconcile", now=now)
    assert [it["reference"] for it in done["found"]] == ["pi_0", "pi_1", "pi_2"]
    assert (done["counts"]["unbacked"], done["more"]) == (5, 2)


def test_the_schedule_looks_back_some_hours_every_few_minutes(provider: Provider, now: datetime) -> None:
    from jobs import schedule
    from models.operations import schedule as recorded
    from scheduler.schedule import SCHEDULE

    bought(provider, now=now)
    due = [(job, every) for job, every in SCHEDULE if job == "reconcile-recent"]
    assert due[0][1] <= timedelta(minutes=15)
    assert recorded.record(due, now=now) == ["reconcile-recent"]
    assert schedule.run_due(now=now) == 1
    assert balance(ADA) == 100
    assert database.read("SELECT state FROM schedule_run") == [("done",)]


def test_a_scheduled_run_whose_time_is_up_goes_on_where_it_was(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs import schedule
    from models.operations import schedule as recorded

    monkeypatch.setattr(schedule, "LONGEST_SECONDS", 0.0)
    recorded.record([("reconcile", timedelta(days=1))], now=now)
    rounds = 0
    while database.read("SELECT 1 FROM schedule_run WHERE state = 'pending'"):
        assert schedule.run_due(now=now) == 1
        rounds += 1
        assert rounds < 200
    assert rounds > 10


# --- PayPal


def approved(provider: Provider, *, now: datetime, **more: Any) -> str:
    """An order at PayPal that the buyer has approved, and nobody captured; returns its id."""
    answer = begin(now=now, slug="echomind", pack="session", **more)
    requests.post(answer["url"], data={"how": "COMPLETED"}, allow_redirects=False, timeout=30)
    ((order,),) = database.read("SELECT provider_id FROM checkout ORDER BY id DESC LIMIT 1")
    return str(order)


def test_an_approved_order_that_nobody_captured_is_captured_and_credited_once(
    provider: Provider, now: datetime
) -> None:
    order = approved(provider, now=now, quantity=2)
    assert paypal_client.client(app("echomind")).get_order(order)["status"] == "APPROVED"
    look(now, "echomind")
    assert entries(ADA, "echomind") == [("purchase", 2)]
    look(now, "echomind")
    assert look(now, "echomind") == {}
    assert entries(ADA, "echomind") == [("purchase", 2)]


def test_a_capture_that_was_swallowed_is_found_by_its_order(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = approved(provider, now=now)
    paypal_client.client(app("echomind")).capture_order(order)
    monkeypatch.setattr(paypal_client.PayPal, "list_events", lambda *_: iter(()))
    assert look(now, "echomind") == {"missed_objects": 1}
    assert entries(ADA, "echomind") == [("purchase", 1)]
    assert look(now, "echomind") == {}


def test_an_order_that_paypal_has_forgotten_is_expired(provider: Provider, now: datetime) -> None:
    begin(now=now, slug="echomind", pack="session")
    database.write("UPDATE checkout SET provider_id = 'GONE'")
    look(now, "echomind")
    assert database.read("SELECT state FROM checkout") == [("expired",)]


def test_a_capture_that_paypal_does_not_know_is_reported(provider: Provider, now: datetime) -> None:
    order = approved(provider, now=now)
    paypal_client.client(app("echomind")).capture_order(order)
    look(now, "echomind")
    database.write("UPDATE payment SET reference = 'FORGED', aliases = '{}', confirmed_at = NULL")
    assert ("unbacked", "FORGED") in findings(now, "echomind")


# --- the whole thing


def test_a_swallowed_webhook_is_credit_after_manage_py_reconcile(system: Running) -> None:
    control = f"{system.sandbox_url()}/control"
    requests.post(control, json={"app": "clash-ai", "deliver": "swallow"}, timeout=30)
    wanted = {"id": "rec-1", "customer": "rec", "pack": "minutes_30", **PAGES}
    page = system.call("POST", "/v1/checkout", wanted, app="clash-ai").json()["url"]
    assert requests.post(page, data={"how": "pay"}, allow_redirects=False, timeout=30).status_code < 400
    requests.post(control, json={"app": "clash-ai", "deliver": "normal"}, timeout=30)
    shown = system.manage("reconcile", "clash-ai", "--days", "2", "--json")
    assert orjson.loads(shown.stdout)["counts"]["looked_at"] > 0, shown.stderr
    assert system.balance("rec", app="clash-ai") == 30
    assert system.call("POST", "/v1/runs/reconcile", app="clash-ai").status_code == 200
    assert system.balance("rec", app="clash-ai") == 30


def test_the_report_is_for_people_and_its_exit_code_for_programs(system: Running) -> None:
    buy = ("sandbox", "send", "stripe", "--app", "songs", "--customer", "forger", "--pack", "starter")
    assert system.manage(*buy).returncode == 0
    shown = system.manage("reconcile", "songs")
    assert shown.returncode == 1
    assert "credited without a payment at the provider" in shown.stdout
    assert "'forger' credited 100 units" in shown.stdout
    told = orjson.loads(system.manage("reconcile", "songs", "--json").stdout)
    (unbacked,) = [it for it in told["found"] if it["customer"] == "forger"]  # other tests forge in this shop too
    assert (unbacked["kind"], unbacked["units"]) == ("unbacked", 100)
    run = system.post("/v1/runs/reconcile", {}, app="songs", status=200)
    assert [it for it in run["found"] if it["customer"] == "forger"] == [unbacked]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "unknown app 'dance'; known apps: ai-services"),
        (["songs", "--days", "0"], "0 is not in the range 1<=x<=365"),
        (["songs", "--dance"], "No such option"),
    ],
    ids=str,
)
def test_a_wrong_call_is_said_with_exit_code_2(arguments: list[str], said: str, system: Running) -> None:
    shown = system.manage("reconcile", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert said in shown.stderr.splitlines()[-1]


def test_the_report_shows_so_many_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "MOST_SHOWN", 2)
    found = [results.Finding(APP, "stripe", "unbacked", f"pi_{number}", "no payment") for number in range(5)]
    command._tell(Counter(results.COUNTS), found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("5 credited without a payment")
    assert lines[2:] == [
        "  ai-services stripe: pi_0: no payment",
        "  ai-services stripe: pi_1: no payment",
        "  and 3 more; use --json to list all",
    ]


def test_a_terminal_sees_how_far_it_is_and_a_pipe_the_report_alone(rough: Running) -> None:
    # No test that shares this Scrip sells anything of this app.
    piped = rough.manage("reconcile", "voice-therapy")
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == "looked at 0 objects; applied 0 missed events, 0 missed objects\n"
    terminal, end = pty.openpty()
    shown = subprocess.run(
        [sys.executable, "manage.py", "reconcile", "voice-therapy"],
        cwd=ROOT,
        env={**rough.env, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=end,
        timeout=120,
    )
    os.close(end)
    drawn = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert shown.stdout.decode() == piped.stdout
    assert "reconciling" in drawn
