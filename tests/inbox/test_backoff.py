"""What fails is tried again later, and each try counts once, however many drains work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from jobs import dead_letters, usage
from jobs.inbox import events
from models import cycles, database
from models.errors import ProviderAway
from tests.support.cast import ADA, app, balance, deliver, event_states
from tests.support.providers.stripe_events import event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
DRAINS = 12
SLUG = "songs"


def together(work: Callable[[], object]) -> None:
    """Many drains begin at the same moment, each until nothing is left."""
    start = threading.Barrier(DRAINS)

    def drain() -> None:
        start.wait()
        while work():
            pass
        database.release()

    with ThreadPoolExecutor(DRAINS) as pool:
        for done in [pool.submit(drain) for _ in range(DRAINS)]:
            done.result()


def nameless(thing: dict[str, Any]) -> dict[str, Any]:
    """As from a payment link: only the checkout that comes last names the customer."""
    thing["metadata"] = {"plan": "pro"}
    return thing


def of(now: datetime, number: str = "1") -> dict[str, Any]:
    end = cycles.cycle_start(now, 1)
    return nameless(subscription(SLUG, ADA, "pro", anchor=now, start=now, end=end, number=number))


def paid(now: datetime) -> dict[str, Any]:
    bill = invoice(SLUG, ADA, "pro", start=now, end=cycles.cycle_start(now, 1), reason="subscription_create")
    nameless(bill["parent"]["subscription_details"])
    return bill


def session(customer: str = ADA, number: str = "1") -> dict[str, Any]:
    return {
        "id": f"cs_{number}",
        "object": "checkout.session",
        "mode": "subscription",
        "payment_status": "paid",
        "status": "complete",
        "client_reference_id": customer,
        "customer": f"cus_{number}",
        "subscription": f"sub_{number}",
        "livemode": False,
        "metadata": {},
    }


def receive(type_: str, thing: dict[str, Any], now: datetime) -> None:
    told = event(type_, thing, created=now)
    events.receive(SLUG, "stripe", told["id"], told["type"], orjson.dumps(told).decode(), now=now)


def attempts() -> list[int]:
    return [count for (count,) in database.read("SELECT attempts FROM inbox_event WHERE state = 'pending' ORDER BY id")]


def test_events_that_many_drains_try_at_once_have_failed_once(now: datetime) -> None:
    for number in range(20):
        receive("customer.subscription.created", of(now, str(number)), now)
    together(lambda: events.apply_pending(now=now))
    assert attempts() == [1] * 20
    assert database.read("SELECT count(*) FROM operation_error") == [(20,)]
    together(lambda: events.apply_pending(now=now + timedelta(seconds=15)))
    assert attempts() == [2] * 20


def test_reports_that_many_drains_try_at_once_have_failed_once(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("on purpose")

    reports = [{"id": f"u-{number}", "customer": ADA, "rate": "minute", "quantity": 1} for number in range(8)]
    slug = next(it for it in ("clash-ai", "voice-therapy", "ai-services") if app(it).rates)
    reports = [{**it, "rate": next(iter(app(slug).rates))} for it in reports]
    usage.accept(app(slug), reports, now=now)
    monkeypatch.setattr(usage, "post", broken)
    together(lambda: usage.settle(now=now))
    assert database.read("SELECT DISTINCT attempts FROM usage_queue") == [(1,)]


def test_what_waits_for_a_customer_is_applied_as_soon_as_a_checkout_names_them(now: datetime) -> None:
    deliver(SLUG, event("customer.subscription.created", of(now), created=now), now=now)
    deliver(SLUG, event("invoice.paid", paid(now), created=now), now=now)
    assert (attempts(), balance(ADA, SLUG)) == ([1, 1], 0)
    deliver(SLUG, event("checkout.session.completed", session(), created=now), now=now)
    assert (attempts(), balance(ADA, SLUG)) == ([], 1000)


def test_what_waits_for_another_customer_goes_on_waiting(now: datetime) -> None:
    deliver(SLUG, event("customer.subscription.created", of(now), created=now), now=now)
    deliver(SLUG, event("checkout.session.completed", session("bo", "2"), created=now), now=now)
    assert attempts() == [1]


def test_a_customer_who_becomes_known_while_an_event_fails_is_seen(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_failure = events.dead_letters.count_failure

    def too_late(*args: Any, **more: Any) -> None:
        monkeypatch.setattr(events.dead_letters, "count_failure", count_failure)
        deliver(SLUG, event("checkout.session.completed", session(), created=now), now=now)
        count_failure(*args, **more)

    monkeypatch.setattr(events.dead_letters, "count_failure", too_late)
    deliver(SLUG, event("customer.subscription.created", of(now), created=now), now=now)
    assert (attempts(), balance(ADA, SLUG)) == ([], 1000)


def test_what_died_of_waiting_for_a_customer_is_applied_once_they_are_known(now: datetime) -> None:
    deliver(SLUG, event("customer.subscription.created", of(now), created=now), now=now)
    for hour in range(1, 9):
        events.apply_pending(now=now + timedelta(hours=hour))
    assert [state for state, _ in event_states(SLUG)] == ["dead"]
    late = now + timedelta(hours=9)
    deliver(SLUG, event("checkout.session.completed", session(), created=late), now=late)
    assert [state for state, _ in event_states(SLUG)] == ["done", "done"]
    assert balance(ADA, SLUG) == 1000


def test_attempts_that_failed_because_a_provider_was_away_do_not_count_towards_death(now: datetime) -> None:
    receive("customer.subscription.created", of(now), now)
    for tried in range(20):
        dead_letters.count_failure("inbox", 1, ProviderAway("no answer"), now=now, attempts=tried)
    assert attempts() == [20]
    later = now + timedelta(hours=2)
    events.apply_pending(now=later)
    assert attempts() == [21], "it failed for the first time by itself, and lives"


def test_a_bill_that_comes_before_its_subscription_counts_at_once(now: datetime) -> None:
    bill = invoice(SLUG, ADA, "pro", start=now, end=cycles.cycle_start(now, 1), reason="subscription_update")
    bill["lines"]["data"][0] |= {"amount": 100, "proration": True}
    deliver(SLUG, event("invoice.paid", bill, created=now), now=now)
    assert (attempts(), balance(ADA, SLUG)) == ([], 1000)
    named = {"metadata": {"app": SLUG, "customer": ADA, "plan": "pro"}}
    deliver(SLUG, event("customer.subscription.created", of(now) | named, created=now), now=now)
    assert (attempts(), balance(ADA, SLUG)) == ([], 1000)


def test_the_terms_of_a_new_catalog_are_kept_though_the_event_that_found_them_failed(now: datetime) -> None:
    # Else each attempt stores them again, and drains that do so at once wait for each other.
    receive("customer.subscription.created", of(now), now)
    events.apply_pending(now=now)
    assert attempts() == [1]
    assert database.read("SELECT count(*) FROM plan_terms WHERE app = %s", [SLUG]) == [(len(app(SLUG).plans),)]
