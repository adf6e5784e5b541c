"""Killed at every named point of a purchase, a refund, a renewal: the provider sends again, and nothing has changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from jobs import maintenance
from tests.support.cast import ADA, balance, deliver, event_states
from tests.support.killed import killed_at
from tests.support.providers.stripe_events import charge, event, invoice, paid_session, subscription

pytestmark = pytest.mark.usefixtures("db")
POINTS = [
    "event-before-store",
    "event-after-store",
    "event-after-prepare",
    "event-after-apply",
    "event-before-commit",
    "event-after-commit",
]
# A process that takes one event in, as the receiver and a worker do, and then applies what is pending.
CHILD = """
import sys
from datetime import datetime
import orjson
from models import database
from settings import settings
from jobs.inbox import events
database.bind(settings.database_url)
app, now, payload = sys.argv[1], datetime.fromisoformat(sys.argv[2]), sys.argv[3]
told = orjson.loads(payload)
events.receive(app, "stripe", told["id"], told["type"], payload, now=now)
events.apply_pending(now=now)
"""


def told(now: datetime, type_: str, thing: dict[str, Any]) -> dict[str, Any]:
    return event(type_, thing, created=now, event_id=f"evt_{type_}")


def die(slug: str, it: dict[str, Any], now: datetime, point: str) -> None:
    killed_at(point, "-c", CHILD, slug, now.isoformat(), orjson.dumps(it).decode())


def sent_again(slug: str, it: dict[str, Any], now: datetime) -> None:
    """The provider got no answer, or none that it believed; the sweep finds the rest."""
    for pause in (1, 20, 60):
        deliver(slug, it, now=now + timedelta(seconds=pause))


def clean(slug: str, now: datetime) -> bool:
    assert {state for state, _ in event_states(slug)} == {"done"}
    return all(check.ok for check in maintenance.check_books(now=now + timedelta(minutes=2)))


@pytest.mark.parametrize("point", POINTS)
def test_a_purchase(now: datetime, point: str) -> None:
    it = told(now, "checkout.session.completed", paid_session("ai-services", ADA, "starter"))
    die("ai-services", it, now, point)
    sent_again("ai-services", it, now)
    assert balance(ADA) == 100
    assert clean("ai-services", now)


@pytest.mark.parametrize("point", POINTS)
def test_a_refund(now: datetime, point: str) -> None:
    paid = told(now, "checkout.session.completed", paid_session("ai-services", ADA, "starter"))
    deliver("ai-services", paid, now=now)
    it = told(now, "charge.refunded", charge(refunded=300))
    die("ai-services", it, now, point)
    sent_again("ai-services", it, now)
    assert balance(ADA) == 70
    assert clean("ai-services", now)


@pytest.mark.parametrize("point", POINTS)
def test_a_renewal(now: datetime, point: str) -> None:
    end = now + timedelta(days=31)
    it = subscription("songs", ADA, "pro", anchor=now, start=now, end=end)
    deliver("songs", told(now, "customer.subscription.created", it), now=now)
    later = end + timedelta(minutes=1)
    renewal = told(later, "invoice.paid", invoice("songs", ADA, "pro", start=end, end=end + timedelta(days=30)))
    die("songs", renewal, later, point)
    sent_again("songs", renewal, later)
    assert balance(ADA, "songs") == 2000
    assert clean("songs", later)
