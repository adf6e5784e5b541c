"""Sessions with no client asking: who waited is started once, what was left behind is settled as of when it ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from jobs import customers, maintenance, runs
from jobs.ledger import adjustments
from jobs.sessions import engine, sessions
from models import database
from models.catalog import catalog
from models.errors import ScripError
from models.ledger import balances
from models.sessions import listing
from models.sessions import sessions as stored
from settings import settings
from tests.support.cast import ADA, BO, balance, entries, give
from tests.support.gated import MINUTE, gated, held, states

pytestmark = pytest.mark.usefixtures("db")
ECHO, VOICE = "echomind", "voice-therapy"


def start(now: datetime, slug: str = ECHO, customer: str = ADA, **body: Any) -> tuple[dict[str, Any], int]:
    return sessions.start(catalog.current()[slug], {"customer": customer, **body}, now=now)


def wait(now: datetime, customer: str = ADA, credit: int = 0) -> datetime:
    """The customer has had the free session and waits for the next one; returns when the cooldown is over."""
    start(now, customer=customer, id=f"free-{customer}")
    sessions.end(catalog.current()[ECHO], f"free-{customer}", {}, now=now)
    if credit:
        give(customer, credit, now=now, slug=ECHO)
    assert start(now, customer=customer, id=f"next-{customer}", wait=True)[1] == 202
    return now + 10 * MINUTE


def state(session_id: str, slug: str = ECHO) -> str:
    return dict(states(slug))[session_id]


def shown(session_id: str, slug: str = VOICE) -> dict[str, Any]:
    return listing.get(slug, session_id)


def enter(now: datetime, minutes: int = 15, **terms: Any) -> None:
    """Ada talks, with so many minutes, since now."""
    gated(VOICE, **terms)
    customers.patch(catalog.current()[VOICE], ADA, {"tier": "firewall"}, now=now)
    give(ADA, minutes, now=now, slug=VOICE)
    start(now, VOICE, id="v1")


def beat(now: datetime) -> None:
    sessions.heartbeat(catalog.current()[VOICE], "v1", now=now)


def clean(now: datetime) -> bool:
    return all(check.ok for check in maintenance.check_books(now=now))


# --- waiting


def test_who_has_paid_is_started_at_the_end_of_the_cooldown(now: datetime) -> None:
    then = wait(now, credit=1)
    assert not stored.is_due(now=then - timedelta(seconds=1))
    assert engine.run_due(now=then - timedelta(seconds=1)) == 0
    assert stored.is_due(now=then)
    assert engine.run_due(now=then) == 1
    assert state("next-ada") == "active"
    assert entries(ADA, ECHO) == [("bonus", 1), ("deduction", -1)]
    assert engine.run_due(now=then) == 0
    assert shown("next-ada", ECHO)["started_at"] == then


def test_who_pays_after_the_cooldown_is_started_then(now: datetime) -> None:
    then = wait(now)
    assert engine.run_due(now=then + MINUTE) == 0
    give(ADA, 1, now=then + 2 * MINUTE, slug=ECHO)
    assert stored.is_due(now=then + 2 * MINUTE)
    assert engine.run_due(now=then + 2 * MINUTE) == 1
    assert (state("next-ada"), balance(ADA, ECHO)) == ("active", 0)


def test_two_engines_and_a_client_at_once_start_it_once(now: datetime) -> None:
    then = wait(now, credit=3)

    def one(number: int) -> None:
        try:
            engine.run_due(now=then) if number % 2 else start(then, wait=True)
        except ScripError:
            pass
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))
    assert (state("next-ada"), balance(ADA, ECHO)) == ("active", 2)
    assert len(states(ECHO)) == 2
    assert clean(then)


def test_a_purchase_that_races_the_end_of_the_cooldown_is_one_session_and_one_credit(now: datetime) -> None:
    for number in range(10):
        customer = f"racer-{number}"
        then = wait(now, customer=customer)

        def one(pay: bool, customer: str = customer, then: datetime = then) -> None:
            give(customer, 1, now=then, slug=ECHO) if pay else engine.run_due(now=then)
            database.release()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [False, True, False, False]))
        engine.run_due(now=then + timedelta(seconds=1))
        assert (state(f"next-{customer}"), balance(customer, ECHO)) == ("active", 0)
    assert clean(now)


def test_credit_that_went_again_leaves_it_waiting(now: datetime) -> None:
    then = wait(now, credit=1)
    app = catalog.current()[ECHO]
    adjustments.adjust(app, {"id": "a1", "customer": ADA, "units": -1, "reason": "mistake"}, now=now)
    assert engine.run_due(now=then) == 0
    assert state("next-ada") == "waiting"


def test_whose_credit_never_comes_is_refused(now: datetime) -> None:
    wait(now)
    assert engine.run_due(now=now + 59 * MINUTE) == 0
    assert engine.run_due(now=now + 60 * MINUTE) == 1
    assert state("next-ada") == "refused"
    give(ADA, 1, now=now + 61 * MINUTE, slug=ECHO)
    assert engine.run_due(now=now + 61 * MINUTE) == 0
    assert balance(ADA, ECHO) == 1


def test_an_engine_that_comes_late_still_starts_who_had_paid(now: datetime) -> None:
    wait(now, credit=1)
    assert engine.run_due(now=now + timedelta(hours=3)) == 1
    assert state("next-ada") == "active"


def test_who_waits_in_vain_is_not_looked_at_every_second(now: datetime) -> None:
    """The tier was lost while it waited."""
    then = wait(now, credit=1) + timedelta(minutes=5)
    gated(ECHO, requires_tier="gold")
    assert engine.run_due(now=then) == 0
    assert not stored.is_due(now=then + timedelta(seconds=1))
    assert stored.is_due(now=then + timedelta(seconds=11))
    give(ADA, 5, now=then + timedelta(seconds=2), slug=ECHO)
    assert stored.is_due(now=then + timedelta(seconds=2))


def test_who_has_too_little_is_not_looked_at_and_holds_up_nobody(now: datetime) -> None:
    gated(ECHO, minimum_balance=2, charge=2)
    for number in range(120):
        wait(now, customer=f"poor-{number}", credit=1)
    then = wait(now, customer="rich", credit=2)
    assert engine.run_due(now=then) == 1
    assert state("next-rich") == "active"


def test_those_who_wait_in_vain_hold_up_nobody(now: datetime) -> None:
    for number in range(120):
        wait(now, customer=f"vain-{number}", credit=1)
    then = wait(now, customer="member", credit=1) + MINUTE
    app = gated(ECHO, requires_tier="gold")
    customers.patch(app, "member", {"tier": "gold"}, now=then)
    assert engine.run_due(now=then) == 1
    assert state("next-member") == "active"


def test_an_account_that_somebody_has_is_left_for_later(now: datetime) -> None:
    wait(now, customer=ADA, credit=1)
    then = wait(now, customer=BO, credit=1)
    with psycopg.connect(settings.database_url or "") as other:
        other.execute("SELECT FROM account WHERE app = %s AND customer = %s FOR UPDATE", [ECHO, ADA])
        assert engine.run_due(now=then) == 1
        assert (state("next-ada"), state("next-bo")) == ("waiting", "active")
    assert database.read("SELECT attempts FROM session WHERE external_id = 'next-ada'") == [(0,)]
    assert engine.run_due(now=then) == 1


def test_a_failure_puts_off_only_what_is_still_due(now: datetime) -> None:
    """What a client did to the session meanwhile stands."""
    then = wait(now, credit=1)
    start(then, id="next-ada")
    (before,) = database.read("SELECT due_at FROM session WHERE external_id = 'next-ada'")
    stored.put_off(ECHO, "next-ada", now=then, wait=lambda attempts: timedelta(seconds=10))
    assert database.read("SELECT due_at FROM session WHERE external_id = 'next-ada'") == [before]


def test_a_session_is_settled_when_it_is_due_whatever_its_row_says(now: datetime) -> None:
    enter(now)
    database.connection().execute("UPDATE session SET due_at = %s", [now + MINUTE])
    assert engine.run_due(now=now + 2 * MINUTE) == 0
    assert shown("v1")["state"] == "active"
    assert engine.run_due(now=now + 15 * MINUTE) == 1


def test_one_that_makes_trouble_does_not_hold_up_the_others(now: datetime) -> None:
    wait(now, customer=ADA, credit=1)
    then = wait(now, customer=BO, credit=1)
    database.connection().execute("UPDATE session SET wait_until = NULL WHERE external_id = 'next-ada'")
    adjustments.adjust(catalog.current()[ECHO], {"id": "x", "customer": ADA, "units": 5, "reason": "gift"}, now=now)
    gated(ECHO, minimum_balance=1)
    database.connection().execute(
        "CREATE FUNCTION break_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.external_id = 'next-ada' AND NEW.state = 'active' THEN RAISE 'broken'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER break_one BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION break_one()"
    )
    try:
        assert engine.run_due(now=then) == 1
    finally:
        database.connection().execute("DROP TRIGGER break_one ON session; DROP FUNCTION break_one")
    assert (state("next-ada"), state("next-bo")) == ("waiting", "active")
    ((operation, id_, error),) = database.read(
        "SELECT operation, details ->> 'id', error ->> 'message' FROM operation_error"
    )
    assert (operation, id_) == ("SESSION", "next-ada")
    assert error == "Internal error: broken. See the worker log for the traceback. It is retried automatically."
    assert engine.run_due(now=then) == 0
    assert engine.run_due(now=then + timedelta(seconds=60)) == 1
    assert state("next-ada") == "active"


# --- settling


def test_without_a_heartbeat_only_the_limit_counts(now: datetime) -> None:
    enter(now, minutes=500)
    assert engine.run_due(now=now + timedelta(minutes=119)) == 0
    assert engine.run_due(now=now + timedelta(hours=30)) == 1
    told = shown("v1")
    assert (told["ended_by"], told["units"], told["duration_seconds"]) == ("limit", 120, 7200)
    assert told["ended_at"] == now + timedelta(hours=2)
    assert clean(now)


def test_a_lost_heartbeat_ends_it_with_the_last_sign_of_life(now: datetime) -> None:
    enter(now)
    beat(now + 4 * MINUTE)
    assert engine.run_due(now=now + timedelta(minutes=5, seconds=59)) == 0
    assert engine.run_due(now=now + 6 * MINUTE) == 1
    told = shown("v1")
    assert (told["ended_by"], told["units"], told["ended_at"]) == ("heartbeat", 4, now + 4 * MINUTE)
    assert held(ADA, VOICE) == (11, 0)


def test_heartbeats_keep_it_alive(now: datetime) -> None:
    enter(now)
    for minute in range(1, 15):
        beat(now + minute * MINUTE)
        assert engine.run_due(now=now + minute * MINUTE) == 0
    assert shown("v1")["state"] == "active"


def test_a_balance_that_is_used_up_ends_it(now: datetime) -> None:
    enter(now)
    assert engine.run_due(now=now + 15 * MINUTE) == 1
    told = shown("v1")
    assert (told["ended_by"], told["units"], told["shortfall"]) == ("balance", 15, 0)
    assert told["ended_at"] == now + 15 * MINUTE


def test_a_hold_that_is_used_up_grows_while_there_is_balance(now: datetime) -> None:
    enter(now, minutes=25, reserve=10 * MINUTE)
    assert engine.run_due(now=now + 10 * MINUTE) == 0
    assert held(ADA, VOICE) == (25, 20)
    assert shown("v1")["ends_by"] == now + 20 * MINUTE
    assert engine.run_due(now=now + timedelta(hours=1)) == 1
    assert (shown("v1")["ended_by"], shown("v1")["units"]) == ("balance", 25)
    assert clean(now)


def test_minutes_bought_meanwhile_are_talked_away_too(now: datetime) -> None:
    enter(now)
    give(ADA, 15, now=now + 5 * MINUTE, slug=VOICE)
    assert engine.run_due(now=now + 15 * MINUTE) == 0
    assert shown("v1")["ends_by"] == now + 30 * MINUTE


def test_the_client_that_ends_it_after_the_engine_gets_the_same(now: datetime) -> None:
    enter(now)
    engine.run_due(now=now + 15 * MINUTE)
    told = sessions.end(catalog.current()[VOICE], "v1", {"seconds": 3600, "summary": "late"}, now=now + 20 * MINUTE)
    assert (told["units"], told["ended_by"]) == (15, "balance")


def test_the_engine_starts_the_cooldown_where_the_session_ended(now: datetime) -> None:
    start(now, id="s1")
    engine.run_due(now=now + timedelta(hours=5))
    assert shown("s1", ECHO)["cooldown_until"] == now + timedelta(hours=2, minutes=10)


def test_a_run_by_hand_does_the_same_for_one_app(now: datetime) -> None:
    enter(now)
    then = wait(now, credit=1)
    later = then + timedelta(hours=1)
    assert runs.run(VOICE, "start-waiting", now=later)["counts"] == {"started": 0, "refused": 0}
    assert runs.run(ECHO, "settle-sessions", now=later)["counts"] == {"ended": 0}
    assert runs.run(VOICE, "settle-sessions", now=later)["counts"] == {"ended": 1}
    assert runs.run(ECHO, "start-waiting", now=later)["counts"] == {"started": 1, "refused": 0}


def test_an_app_that_left_the_catalog_is_put_off(now: datetime) -> None:
    enter(now)
    known = catalog.current()
    catalog.use(catalog.Catalog({slug: app for slug, app in known.apps.items() if slug != VOICE}))
    assert engine.run_due(now=now + 15 * MINUTE) == 0
    assert not stored.is_due(now=now + 15 * MINUTE)
    catalog.use(known)
    assert engine.run_due(now=now + 16 * MINUTE) == 1
    assert shown("v1")["units"] == 15


def test_the_books_name_a_session_that_disagrees_with_its_hold_or_its_entry(now: datetime) -> None:
    enter(now)
    wait(now, credit=1)
    engine.run_due(now=now + 12 * MINUTE)
    assert clean(now)
    database.connection().execute("UPDATE session SET state = 'ended' WHERE external_id = 'v1'")
    assert not clean(now)
    database.connection().execute("UPDATE session SET state = 'active' WHERE external_id = 'v1'")
    database.connection().execute("UPDATE session SET units = 2 WHERE external_id = 'next-ada'")
    assert not clean(now)


def test_the_balance_of_an_earlier_time_knows_what_was_held_then(now: datetime) -> None:
    enter(now, minutes=25, reserve=10 * MINUTE)
    engine.run_due(now=now + 10 * MINUTE)
    app = catalog.current()[VOICE]
    then = balances.as_of(app, ADA, now + 5 * MINUTE, now=now + 11 * MINUTE)
    assert (then["held"], then["available"]) == (10, 15)
    assert balances.current(app, ADA, now=now + 11 * MINUTE)["held"] == 20
