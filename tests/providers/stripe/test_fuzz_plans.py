"""Events of plans with every field replaced: applied, ignored, or dead with a reason; never silently without effect."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jobs import dead_letters, maintenance
from jobs.inbox import events
from models import database
from models.plans import stored_facts
from tests.providers.stripe.test_fuzz import paths, put
from tests.support import emptied
from tests.support.cast import ADA, balance, deliver, event_states
from tests.support.providers.stripe_events import event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
END = NOW + timedelta(days=31)
APP = "songs"
ITEM = {"price": {"id": "price_of_another_catalog", "recurring": {"interval": "month", "interval_count": 1}}}
JUNK = [None, True, "", "x", [], [None], {}, {"id": None}, -1, 0, 10**18, 2**63, 1e300, "9" * 400, -(10**12)]


def told_subscription() -> dict[str, Any]:
    made = subscription(APP, ADA, "pro", anchor=NOW, start=NOW, end=END, latest_invoice="in_1", cancel_at=None,
                        trial_end=int(NOW.timestamp()), cancel_at_period_end=False, pause_collection=None,
                        ended_at=None, trial_start=int(NOW.timestamp()))  # fmt: skip
    made["items"]["data"][0].update(copy.deepcopy(ITEM))
    return made


def told_invoice() -> dict[str, Any]:
    made = invoice(APP, ADA, "pro", start=NOW, end=END, status="paid", total=2900, created=int(NOW.timestamp()),
                   payment_intent="pi_1", charge="ch_1", pre_payment_credit_notes_amount=0)  # fmt: skip
    credited = {"credited_items": {"invoice": "in_0", "invoice_line_items": ["il_0"]}}
    details = {"proration": False, "subscription_item": "si_1", "proration_details": credited}
    parent = {"type": "subscription_item_details", "subscription_item_details": details}
    made["lines"]["data"][0].update(
        {**copy.deepcopy(ITEM), "quantity": 1, "amount": 2900, "proration": False, "parent": parent}
    )
    return made


def told_session() -> dict[str, Any]:
    return {
        "id": "cs_1", "mode": "subscription", "payment_status": "unpaid", "status": "complete", "customer": "cus_1",
        "subscription": "sub_1", "client_reference_id": ADA, "metadata": {"app": APP, "customer": ADA, "plan": "pro"},
    }  # fmt: skip


def told_note() -> dict[str, Any]:
    return {"id": "cn_1", "amount": 300, "total": 300, "invoice": "in_1", "type": "pre_payment", "status": "issued"}


SAMPLES = {
    "customer.subscription.updated": told_subscription,
    "customer.subscription.deleted": told_subscription,
    "invoice.paid": told_invoice,
    "invoice.finalized": told_invoice,
    "checkout.session.completed": told_session,
    "credit_note.created": told_note,
}


def finish() -> tuple[str, str | None]:
    """The end of the last event, after all its attempts."""
    for _ in range(dead_letters.ATTEMPTS):
        if not database.read("SELECT 1 FROM inbox_event WHERE state = 'pending'"):
            break
        database.write("UPDATE inbox_event SET next_attempt_at = %s WHERE state = 'pending'", [NOW])
        events.apply_pending(now=NOW)
    return event_states(APP)[-1]


@pytest.mark.parametrize("place", range(len(JUNK)), ids=lambda place: repr(JUNK[place])[:12])
@pytest.mark.parametrize("type_", sorted(SAMPLES))
def test_every_field_may_hold_anything(type_: str, place: int) -> None:
    for path in [path for path in paths(SAMPLES[type_]()) if path]:
        emptied.empty()
        thing = put(SAMPLES[type_](), path, copy.deepcopy(JUNK[place]))
        deliver(APP, event(type_, thing, created=NOW), now=NOW)
        state, error = finish()
        said = f"{path}: {state}, {error}"
        assert state in ("done", "ignored", "dead"), said
        assert "Internal error" not in (error or ""), said
        assert state == "done" or error, said
        assert balance(ADA, APP) <= 10**12 * 1000, said
        if type_ == "invoice.paid" and state == "done" and not error and _is_paid(thing):
            assert balance(ADA, APP) > 0 or database.read("SELECT 1 FROM lot"), said
    assert [check.failures for check in maintenance.check_books(now=NOW) if not check.ok] == []


def _is_paid(thing: Any) -> bool:
    return thing.get("status") in (None, "paid")


@pytest.mark.parametrize("created", [0, 1, 2**40, 10**18])
@pytest.mark.parametrize("type_", sorted(SAMPLES))
def test_absurd_times_of_the_event_break_nothing(type_: str, created: int) -> None:
    deliver(APP, {**event(type_, SAMPLES[type_](), created=NOW), "created": created}, now=NOW)
    state, error = finish()
    assert state in ("done", "ignored", "dead")
    assert "Internal error" not in (error or "")


def test_a_status_that_is_unknown_is_noted() -> None:
    deliver(
        APP, event("customer.subscription.updated", {**told_subscription(), "status": "frozen"}, created=NOW), now=NOW
    )
    state, error = finish()
    assert state == "done"
    assert "frozen" in str(error)


def test_more_reports_than_any_subscription_has_end_dead_and_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_facts, "MOST_FACTS", 5)
    for hours in range(8):
        at = NOW + timedelta(hours=hours)
        told = {**told_subscription(), "latest_invoice": None}
        deliver(APP, event("customer.subscription.updated", told, created=at), now=NOW + timedelta(hours=9))
    states = event_states(APP)
    assert [state for state, _ in states] == ["done"] * 5 + ["dead"] * 3
    assert "'sub_1' has 5 reports already" in str(states[-1][1])
    assert "POST /v1/adjustments" in str(states[-1][1])
    assert balance(ADA, APP) == 1000, "what was applied before stands"
    assert database.read("SELECT count(*) FROM plan_fact") == [(5,)]
