"""Stripe's objects with anything in them: an event is applied, ignored, or dead with a reason; the books stay clean."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import dead_letters, maintenance
from jobs.inbox import events
from jobs.providers.stripe import events as stripe
from models import database
from models.errors import NotOurs, Unprocessable
from models.inbox.events import Event
from tests.support.cast import ADA, app, deliver, event_states
from tests.support.deep import times
from tests.support.providers.stripe_events import charge, dispute, event, invoice, paid_session, refund, subscription

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
END = NOW + timedelta(days=31)
CHARGE = charge(refunded=300, refunds={"data": [refund("re_1", 300)]})
OF_PAYMENT = {"type": "payment_intent", "payment_intent": "pi_1", "charge": "ch_1"}
INTENT = {"id": "pi_1", "amount_received": 1000, "currency": "usd", "latest_charge": "ch_1"}
OBJECTS: dict[str, dict[str, Any]] = {
    "checkout.session": paid_session(
        "songs", ADA, "starter", line_items={"data": [{"quantity": 2, "price": {"id": "p"}}]}
    ),
    "checkout.session.expired": {"id": "cs_1", "mode": "payment", "metadata": {"app": "songs", "checkout": "c"}},
    "customer.subscription": subscription("songs", ADA, "pro", anchor=NOW, start=NOW, end=END),
    "invoice": invoice("songs", ADA, "pro", start=NOW, end=END),
    "invoice.finalized": invoice(
        "songs", ADA, "pro", start=NOW, end=END, collection_method="send_invoice", status="open"
    ),
    "subscription_schedule": {
        "id": "sub_sched_1",
        "subscription": "sub_1",
        "status": "active",
        "phases": [{"start_date": int(END.timestamp()), "items": [{"price": "price_pro", "quantity": 2}]}],
    },
    "invoice_payment": {"id": "inpay_1", "invoice": "in_1", "payment": OF_PAYMENT},
    "payment_intent": {**INTENT, "metadata": {"app": "songs", "customer": ADA, "pack": "starter", "checkout": "c"}},
    "charge.captured": CHARGE,
    "charge.refunded": CHARGE,
    "charge.refund": refund("re_1", 300),
    "refund": refund("re_1", 300),
    "charge.dispute": dispute(-700, 700),
    "credit_note": {
        "id": "cn_1",
        "amount": 300,
        "invoice": "in_1",
        "type": "post_payment",
        "status": "issued",
        "refunds": [{"refund": "re_1", "amount_refunded": 100}],
    },
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.sampled_from(["", "\x00", "starter", "\ud800", "9" * 400, "../x", "usd"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["id", "data", "amount", "x"]), st.none() | st.integers(), max_size=2),
)


def kind_of(type_: str) -> dict[str, Any]:
    return OBJECTS[max((name for name in OBJECTS if type_.startswith(name)), key=len)]


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for name, it in inner for path in paths(it, (*at, name)))]


def put(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    value[path[0]] = put(value[path[0]], path[1:], junk)
    return value


@pytest.mark.parametrize("type_", sorted(stripe.HANDLERS))
def test_the_samples_themselves_are_understood(type_: str) -> None:
    told = facts(type_, event(type_, copy.deepcopy(kind_of(type_)), created=NOW))
    assert told


@pytest.mark.parametrize("type_", sorted(stripe.HANDLERS))
@pytest.mark.deep
@settings(max_examples=times(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_an_event_is_understood_or_refused_with_a_reason(type_: str, data: st.DataObject) -> None:
    payload = event(type_, copy.deepcopy(kind_of(type_)), created=NOW)
    for _ in range(data.draw(st.integers(1, 3))):
        known = [path for path in paths(payload) if path]
        payload = put(payload, data.draw(st.sampled_from(known)), data.draw(JUNK))
    try:
        facts(type_, payload)
    except (NotOurs, Unprocessable) as reason:
        assert reason.detail


@pytest.mark.parametrize("type_", sorted(stripe.HANDLERS))
@pytest.mark.deep
@settings(max_examples=times(15), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_in_an_event_ends_it_and_breaks_nothing(db: str, type_: str, data: st.DataObject) -> None:
    payload = event(type_, copy.deepcopy(kind_of(type_)), created=NOW)
    known = [path for path in paths(payload["data"]["object"]) if path]
    junk = data.draw(JUNK.filter(_can_come))
    put(payload["data"]["object"], data.draw(st.sampled_from(known)), junk)
    deliver("songs", payload, now=NOW)
    state, error = wait_in_vain()
    assert state != "pending", error
    assert state == "done" or error
    assert "Scrip itself" not in (error or "")
    assert [check.failures for check in maintenance.check_books(now=NOW) if not check.ok] == []


def wait_in_vain() -> tuple[str, str | None]:
    """The end of an event that may have waited for another one, which does not come."""
    for _ in range(dead_letters.ATTEMPTS):
        database.connection().execute("UPDATE inbox_event SET next_attempt_at = %s WHERE state = 'pending'", [NOW])
        events.apply_pending(now=NOW)
    return event_states("songs")[-1]


def _can_come(junk: Any) -> bool:
    """The receiver lets nothing in that is no JSON."""
    try:
        return b"\\u0000" not in orjson.dumps(junk)
    except TypeError:
        return False


def facts(type_: str, payload: Any) -> list[Any]:
    it = Event(1, "songs", "stripe", "evt_1", type_, payload, NOW)
    return list(stripe.facts_of(app("songs"), it))
