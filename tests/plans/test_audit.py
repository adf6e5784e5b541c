"""Check 6 of `verify`: the lots of a subscription are what its facts say. A row that is altered is named."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from jobs import maintenance, runs
from models import cycles, database
from models.plans import stored_facts
from models.plans.facts import Opening, OpeningPeriod
from tests.support.cast import ADA, deliver
from tests.support.providers.stripe_events import charge, event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
APP, DAY = "songs", timedelta(days=1)


def wrong(now: datetime) -> list[str]:
    """The failures of check 6."""
    checks = maintenance.check_books(now=now)
    (found,) = [check for check in checks if "plan" in check.name or "subscription" in check.name]
    assert found.checked == 1
    return found.failures


def alter(statement: str) -> None:
    """As somebody does it who has a database client: no trigger or constraint of ours prevents it."""
    with database.connection().transaction():
        database.connection().execute("SET LOCAL session_replication_role = replica")
        database.connection().execute(statement)


def year(now: datetime) -> datetime:
    """A year of pro, of which two months were granted. Returns the present time."""
    end = cycles.cycle_start(now, 12)
    told = subscription(APP, ADA, "pro", anchor=now, start=now, end=end)
    paid = invoice(APP, ADA, "pro", start=now, end=end, amount_paid=12000, payment_intent="pi_1")
    deliver(APP, event("customer.subscription.created", told, created=now), now=now)
    deliver(APP, event("invoice.paid", paid, created=now), now=now)
    later = cycles.cycle_start(now, 1) + DAY
    runs.run(APP, "grant-monthly", now=later)
    return later


def refunded(now: datetime) -> datetime:
    later = year(now)
    deliver(APP, event("charge.refunded", charge(refunded=6000, amount=12000), created=later), now=later)
    return later


def upgraded(now: datetime) -> datetime:
    later = year(now)
    at, end = later + DAY, cycles.cycle_start(now, 12)
    line = {"period": {"start": int(at.timestamp()), "end": int(end.timestamp())}, "proration": True,
            "price": {"id": "price_of_another_catalog"}}  # fmt: skip
    bill = invoice(APP, ADA, "pro", start=at, end=end, number="2", reason="subscription_update")
    bill["lines"]["data"] = [
        {**line, "id": "il_c", "amount": -900, "quantity": 1}, {**line, "id": "il_a", "amount": 2700, "quantity": 3},
    ]  # fmt: skip
    deliver(APP, event("invoice.paid", bill, created=at), now=at)
    return at


def migrated(now: datetime) -> datetime:
    """Granted by a version before plans were facts."""
    end = cycles.cycle_start(now, 1)
    told = subscription(APP, ADA, "pro", anchor=now, start=now, end=end)
    opening = Opening(end, (OpeningPeriod("pro", now, end, 700),))
    database.transaction(
        lambda conn: stored_facts.store(conn, APP, "stripe", "sub_1", opening, event_id="migration", now=now)
    )
    deliver(APP, event("customer.subscription.created", told, created=now), now=now)
    return now


@pytest.mark.parametrize("begin", [year, refunded, upgraded, migrated])
def test_it_is_clean(begin: object, now: datetime) -> None:
    assert wrong(begin(now)) == []  # type: ignore[operator]
    assert database.read("SELECT count(*) FROM lot")[0][0] >= 1


def test_the_samples_have_what_they_are_named_for(now: datetime) -> None:
    upgraded(now)
    granted = [units for (units,) in database.read("SELECT granted FROM lot ORDER BY id")]
    assert granted[:2] == [1000, 1000]
    assert 1800 < granted[2] < 2000, "two more seats for most of a month"


LOT = "UPDATE lot SET {} WHERE id = (SELECT max(id) FROM lot)"
BILL = "UPDATE plan_fact SET content = jsonb_set(content, {}) WHERE kind = 'bill'"


@pytest.mark.parametrize(
    ("alteration", "says"),
    [
        (LOT.format("granted = granted + 7"), "granted 1007"),
        (LOT.format("granted = granted - 7"), "7 units of pro are owed"),
        (LOT.format("period_start = period_start + interval '9 days'"), "1000 units of pro are owed"),
        (LOT.format("frozen = true"), "frozen True, target False"),
        (LOT.format("source = 'plan:max'"), "1000 units of pro are owed"),
        ("DELETE FROM lot WHERE id = (SELECT max(id) FROM lot)", "1000 units of pro are owed"),
        (BILL.format("""'{state}', '"void"'"""), "granted 1000, clawed back 0, target 1000"),
        (BILL.format("'{lines,0,quantity}', '2'"), "1000 units of pro are owed"),
        (BILL.format("'{lines}', '[]'"), "granted 1000, clawed back 0, target 1000"),
        (BILL.format("""'{lines,0,plan}', '"none"'"""), None),
        ("DELETE FROM plan_fact WHERE kind = 'bill'", None),
        ("DELETE FROM plan_fact", "clawed back 0, target 1000"),
        ("UPDATE payment SET refunded_minor = 6000", "clawed back 0, target 500"),
    ],
)
def test_an_altered_row_is_named(alteration: str, says: str | None, now: datetime) -> None:
    later = year(now)
    assert wrong(later) == []
    alter(alteration)
    found = wrong(later)
    if says is None:  # plans make up for each other; the status covers what no bill does
        assert found == []
        return
    assert found, alteration
    assert all(text.startswith("subscription ") and "(sub_1)" in text for text in found)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(("more", "says"), [(50, "50 units of pro are owed"), (-50, "clawed back 0, target 50")])
def test_an_altered_opening_is_named(more: int, says: str, now: datetime) -> None:
    later = migrated(now)
    units = f"to_jsonb({700 + more})"
    alter(f"UPDATE plan_fact SET content = jsonb_set(content, '{{periods,0,units}}', {units}) WHERE kind = 'opening'")
    assert any(says in text for text in wrong(later))


def test_a_deleted_clawback_is_named(now: datetime) -> None:
    later = refunded(now)
    alter("DELETE FROM entry WHERE type = 'clawback' AND id = (SELECT max(id) FROM entry WHERE type = 'clawback')")
    assert any("clawed back 0, target 500" in text for text in wrong(later))


def test_what_just_fell_due_may_still_be_granted_by_the_schedule(now: datetime) -> None:
    year(now)
    due = cycles.cycle_start(now, 2)
    assert wrong(due + timedelta(minutes=1)) == []
    assert any("1000 units of pro are owed" in text for text in wrong(due + DAY))
