"""Sessions as a client drives them: the gate, the credit, the time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import customers, maintenance
from jobs.sessions import gate, sessions
from models import database
from models.catalog import catalog
from models.errors import ActiveSession, Conflict, CoolingDown, Forbidden, InsufficientBalance, Invalid, NotFound
from models.sessions import listing
from tests.support.cast import ADA, BO, balance, entries, give
from tests.support.gated import MINUTE, gated, held, states

pytestmark = pytest.mark.usefixtures("db")
ECHO, VOICE, CLASH = "echomind", "voice-therapy", "clash-ai"


def start(now: datetime, slug: str = ECHO, **body: Any) -> tuple[dict[str, Any], int]:
    return sessions.start(catalog.current()[slug], {"customer": ADA, **body}, now=now)


def end(session_id: str, now: datetime, slug: str = ECHO, **body: Any) -> dict[str, Any]:
    return sessions.end(catalog.current()[slug], session_id, body, now=now)


def beat(session_id: str, now: datetime, slug: str = VOICE) -> int:
    return int(sessions.heartbeat(catalog.current()[slug], session_id, now=now)["remaining_seconds"])


def eligibility(now: datetime, slug: str = ECHO) -> dict[str, Any]:
    return gate.eligibility(catalog.current()[slug], ADA, now=now)


def past_the_free_one(now: datetime) -> datetime:
    """Ada has had her free session; returns when its cooldown is over."""
    start(now, id="free")
    end("free", now)
    return now + 10 * MINUTE


def clean(now: datetime) -> bool:
    return all(check.ok for check in maintenance.check_books(now=now))


# --- charged at the start


def test_the_first_session_is_free_and_the_next_one_is_not(now: datetime) -> None:
    answer, status = start(now, id="s1")
    assert (status, answer["state"], answer["free"], answer["available"]) == (201, "active", True, 0)
    assert end("s1", now + MINUTE)["units"] == 0
    with pytest.raises(InsufficientBalance) as refused:
        start(now + 20 * MINUTE)
    assert refused.value.extra["reasons"] == ["balance"]
    assert states(ECHO) == [("s1", "ended")]


def test_a_paid_session_takes_one_unit_at_its_start(now: datetime) -> None:
    then = past_the_free_one(now)
    give(ADA, 2, now=now, slug=ECHO)
    answer, status = start(then, id="s1")
    assert (status, answer["free"], answer["available"]) == (201, False, 1)
    assert balance(ADA, ECHO) == 1
    ended = end("s1", then + MINUTE)
    assert (ended["units"], ended["shortfall"], ended["balance"]) == (1, 0, 1)
    assert entries(ADA, ECHO) == [("bonus", 2), ("deduction", -1)]
    assert clean(then)


def test_the_free_session_is_used_before_credit_is(now: datetime) -> None:
    give(ADA, 1, now=now, slug=ECHO)
    assert start(now)[0]["free"]
    assert balance(ADA, ECHO) == 1


def test_a_free_session_has_its_limit_in_time(now: datetime) -> None:
    answer, _ = start(now)
    assert answer["ends_by"] == (now + timedelta(hours=2)).isoformat().replace("+00:00", "Z")


def test_during_the_cooldown_a_start_is_told_when(now: datetime) -> None:
    past_the_free_one(now)
    give(ADA, 1, now=now, slug=ECHO)
    with pytest.raises(CoolingDown) as refused:
        start(now + 4 * MINUTE)
    assert refused.value.extra["retry_after"] == 360
    assert refused.value.extra["eligible_at"] == now + 10 * MINUTE
    assert refused.value.extra["reasons"] == ["cooldown"]
    assert start(now + 10 * MINUTE)[1] == 201


def test_the_cooldown_counts_from_the_end_of_the_session(now: datetime) -> None:
    start(now, id="s1")
    assert end("s1", now + 30 * MINUTE)["cooldown_until"] == (now + 40 * MINUTE).isoformat().replace("+00:00", "Z")


def test_all_reasons_are_named_and_the_first_decides(now: datetime) -> None:
    gated(ECHO, requires_tier="gold")
    with pytest.raises(Forbidden) as refused:
        start(now)
    assert refused.value.extra["reasons"] == ["tier"]
    gated(ECHO, requires_tier=None)
    past_the_free_one(now)
    gated(ECHO, requires_tier="gold")
    with pytest.raises(Forbidden) as refused:
        start(now + MINUTE)
    assert refused.value.extra["reasons"] == ["tier", "cooldown", "balance"]


def test_a_refused_start_stores_nothing_but_its_line_in_the_log(now: datetime) -> None:
    with pytest.raises(Forbidden):
        start(now, VOICE)
    assert database.read("SELECT count(*) FROM account") == [(0,)]
    assert states(VOICE) == []
    assert database.read("SELECT operation, customer, error ->> 'type' FROM operation_error") == [
        ("SESSION", ADA, "TierRequired")
    ]


def test_one_session_at_a_time(now: datetime) -> None:
    start(now, id="s1")
    with pytest.raises(ActiveSession) as refused:
        start(now + MINUTE)
    assert refused.value.extra["session"] == "s1"


def test_an_app_may_allow_two_at_a_time(now: datetime) -> None:
    gated(ECHO, concurrent=2, first_free=2)
    assert start(now, id="s1")[1] == start(now, id="s2")[1] == 201
    with pytest.raises(ActiveSession):
        start(now, id="s3")


def test_the_same_id_is_answered_with_the_same_session(now: datetime) -> None:
    first, _ = start(now, id="s1")
    assert start(now + MINUTE, id="s1", metadata={"other": "metadata"}) == (first, 200)
    end("s1", now + 2 * MINUTE)
    assert start(now + 3 * MINUTE, id="s1") == (first, 200)
    with pytest.raises(Conflict):
        start(now, id="s1", customer=BO)


def test_two_hundred_starts_at_once_are_one_session_and_one_credit(now: datetime) -> None:
    then = past_the_free_one(now)
    give(ADA, 1, now=now, slug=ECHO)

    def attempt(number: int) -> int:
        try:
            return start(then)[1]
        except ActiveSession:
            return 409
        finally:
            database.release()

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(attempt, range(200))) == [201] + [409] * 199
    assert balance(ADA, ECHO) == 0
    assert [state for _, state in states(ECHO)] == ["ended", "active"]
    assert clean(then)


# --- eligibility


def test_a_stranger_may_start_the_free_session(now: datetime) -> None:
    assert eligibility(now) == {
        "eligible": True,
        "reasons": [],
        "eligible_at": now,
        "cooldown_seconds": 0,
        "available": 0,
        "server_time": now,
        "free": True,
        "session": None,
        "waiting": None,
    }


def test_eligibility_counts_the_cooldown_down(now: datetime) -> None:
    past_the_free_one(now)
    give(ADA, 1, now=now, slug=ECHO)
    told = eligibility(now + timedelta(seconds=90.5))
    assert (told["eligible"], told["reasons"], told["cooldown_seconds"]) == (False, ["cooldown"], 510)
    assert told["eligible_at"] == now + 10 * MINUTE


def test_without_credit_nobody_knows_when(now: datetime) -> None:
    past_the_free_one(now)
    assert eligibility(now + MINUTE)["eligible_at"] is None
    assert eligibility(now + MINUTE)["reasons"] == ["cooldown", "balance"]
    assert eligibility(now + 10 * MINUTE)["reasons"] == ["balance"]


def test_an_active_session_is_a_reason(now: datetime) -> None:
    start(now, id="s1")
    told = eligibility(now)
    assert (told["reasons"], told["session"], told["eligible_at"]) == (["active_session", "balance"], "s1", None)


def test_an_app_without_sessions_says_so(now: datetime) -> None:
    with pytest.raises(Invalid, match="no sessions"):
        eligibility(now, "songs")
    with pytest.raises(Invalid, match="no sessions"):
        start(now, "songs")


# --- metered


def enter(now: datetime, minutes: int = 15, slug: str = VOICE, **terms: Any) -> None:
    """Ada has the tier and so many minutes."""
    gated(slug, **terms)
    customers.patch(catalog.current()[slug], ADA, {"tier": "firewall"}, now=now)
    if minutes:
        give(ADA, minutes, now=now, slug=slug)


def test_a_metered_session_holds_what_is_there_and_ends_when_it_is_used_up(now: datetime) -> None:
    enter(now)
    answer, _ = start(now, VOICE, id="v1", metadata={"persona": "calm"})
    assert answer["available"] == 15
    assert answer["ends_by"] == (now + 15 * MINUTE).isoformat().replace("+00:00", "Z")
    assert held(ADA, VOICE) == (15, 15)
    assert clean(now)


def test_an_end_takes_the_minutes_begun_and_frees_the_rest(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1", metadata={"persona": "calm"})
    ended = end("v1", now + timedelta(seconds=121), VOICE, summary="Slept well.")
    assert (ended["units"], ended["shortfall"], ended["balance"], ended["duration_seconds"]) == (3, 0, 12, 121)
    assert held(ADA, VOICE) == (12, 0)
    assert end("v1", now + 9 * MINUTE, VOICE, seconds=1) == ended
    (row,) = listing.list_page(VOICE, ADA)[0]
    assert (row["summary"], row["metadata"], row["ended_by"]) == ("Slept well.", {"persona": "calm"}, "client")
    assert (row["started_at"], row["ended_at"]) == (now, now + timedelta(seconds=121))
    assert row["entry"] is not None
    assert clean(now)


def test_an_end_may_say_how_long_it_was(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    assert end("v1", now + 9 * MINUTE, VOICE, seconds=61)["units"] == 2


@pytest.mark.parametrize(("seconds", "units"), [(0, 1), (1, 1), (60, 1), (61, 2), (900, 15)])
def test_at_least_one_minute_rounded_up(now: datetime, seconds: int, units: int) -> None:
    enter(now, slug=CLASH, minutes=30)
    start(now, CLASH, id="c1", metadata={"character_id": "caesar"})
    assert end("c1", now, CLASH, seconds=seconds)["units"] == units


def test_more_than_is_left_takes_what_is_there_and_tells_the_shortfall(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    ended = end("v1", now, VOICE, seconds=20 * 60)
    assert (ended["units"], ended["shortfall"], ended["balance"]) == (15, 5, 0)
    assert clean(now)


def test_an_app_whose_rule_is_debt_overdraws(now: datetime) -> None:
    enter(now, on_shortfall="debt")
    start(now, VOICE, id="v1")
    ended = end("v1", now, VOICE, seconds=20 * 60)
    assert (ended["units"], ended["shortfall"], ended["balance"]) == (20, 0, -5)
    assert clean(now)


def test_an_app_whose_rule_is_to_reject_takes_what_is_there(now: datetime) -> None:
    enter(now, on_shortfall="reject")
    start(now, VOICE, id="v1")
    assert end("v1", now, VOICE, seconds=20 * 60)["units"] == 15


def test_minutes_come_from_the_largest_lot_first_across_several(now: datetime) -> None:
    enter(now, minutes=0)
    for units in (3, 10, 5):
        give(ADA, units, now=now, slug=VOICE)
    start(now, VOICE, id="v1")
    end("v1", now, VOICE, seconds=12 * 60)
    assert database.read("SELECT granted, remaining FROM lot ORDER BY id") == [(3, 3), (10, 0), (5, 3)]


def test_the_session_keeps_its_units_when_their_lot_expires(now: datetime) -> None:
    enter(now, minutes=0)
    give(ADA, 15, now=now, slug=VOICE, expires_at=now + 5 * MINUTE)
    start(now, VOICE, id="v1")
    ended = end("v1", now + 12 * MINUTE, VOICE)
    assert (ended["units"], ended["balance"]) == (12, 0)
    assert clean(now + 12 * MINUTE)


def test_without_the_tier_nobody_starts(now: datetime) -> None:
    give(ADA, 15, now=now, slug=VOICE)
    with pytest.raises(Forbidden, match="firewall"):
        start(now, VOICE)


def test_the_measured_time_ends_with_the_limit(now: datetime) -> None:
    enter(now, minutes=500)
    start(now, VOICE, id="v1")
    assert end("v1", now + timedelta(hours=5), VOICE)["duration_seconds"] == 2 * 3600


def test_a_clock_that_is_behind_makes_no_time_negative(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    assert end("v1", now - timedelta(hours=1), VOICE)["duration_seconds"] == 0


# --- heartbeats


def test_a_heartbeat_tells_the_time_that_is_left(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    assert beat("v1", now + timedelta(seconds=30)) == 870


def test_a_heartbeat_holds_more_as_far_as_there_is_more(now: datetime) -> None:
    enter(now, reserve=10 * MINUTE)
    start(now, VOICE, id="v1")
    assert held(ADA, VOICE) == (15, 10)
    assert beat("v1", now + 2 * MINUTE) == 10 * 60
    assert held(ADA, VOICE) == (15, 12)
    assert beat("v1", now + 9 * MINUTE) == 6 * 60
    give(ADA, 30, now=now, slug=VOICE)
    assert beat("v1", now + 9 * MINUTE) == 10 * 60
    assert held(ADA, VOICE) == (45, 19)
    assert clean(now)
    assert end("v1", now + 10 * MINUTE, VOICE)["balance"] == 35


def test_no_heartbeat_goes_beyond_the_limit(now: datetime) -> None:
    enter(now, minutes=500)
    start(now, VOICE, id="v1")
    assert beat("v1", now + 119 * MINUTE) == 60
    assert held(ADA, VOICE) == (500, 120)


def test_a_heartbeat_after_the_end_is_a_conflict(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    end("v1", now, VOICE)
    with pytest.raises(Conflict, match="is ended"):
        beat("v1", now)
    with pytest.raises(NotFound):
        beat("none", now)


# --- waiting


def test_who_asks_to_wait_waits_for_the_cooldown(now: datetime) -> None:
    past_the_free_one(now)
    give(ADA, 1, now=now, slug=ECHO)
    answer, status = start(now + MINUTE, id="w1", wait=True)
    assert (status, answer["state"], answer["reasons"]) == (202, "waiting", ["cooldown"])
    assert answer["starts_at"] == (now + 10 * MINUTE).isoformat().replace("+00:00", "Z")
    assert balance(ADA, ECHO) == 1


def test_who_waits_for_credit_is_not_told_a_time(now: datetime) -> None:
    past_the_free_one(now)
    answer, _ = start(now + MINUTE, id="w1", wait=True)
    assert (answer["starts_at"], answer["reasons"]) == (None, ["cooldown", "balance"])


def test_a_start_while_one_waits_is_that_one(now: datetime) -> None:
    past_the_free_one(now)
    start(now + MINUTE, id="w1", wait=True)
    for more in ({}, {"id": "w2"}, {"id": "w1", "wait": True}):
        answer, status = start(now + 2 * MINUTE, **more)
        assert (status, answer["id"]) == (202, "w1")
    give(ADA, 1, now=now, slug=ECHO)
    answer, status = start(now + 10 * MINUTE, id="w3")
    assert (status, answer["id"], answer["state"]) == (201, "w1", "active")
    assert states(ECHO) == [("free", "ended"), ("w1", "active")]


def test_nobody_waits_for_a_tier_or_for_a_session_to_end(now: datetime) -> None:
    with pytest.raises(Forbidden):
        start(now, VOICE, wait=True)
    start(now, id="s1")
    with pytest.raises(ActiveSession):
        start(now, wait=True)


def test_waiting_can_be_cancelled_and_then_not_ended(now: datetime) -> None:
    past_the_free_one(now)
    start(now + MINUTE, id="w1", wait=True)
    with pytest.raises(Conflict, match="waiting"):
        end("w1", now + MINUTE)
    app = catalog.current()[ECHO]
    assert sessions.cancel(app, "w1", now=now + MINUTE) == sessions.cancel(app, "w1", now=now + 2 * MINUTE)
    with pytest.raises(Conflict, match="cancelled"):
        end("w1", now + 2 * MINUTE)
    with pytest.raises(Conflict, match="cancelled"):
        start(now + 20 * MINUTE, id="w1")
    start(now + 2 * MINUTE, id="w2", wait=True)
    assert states(ECHO) == [("free", "ended"), ("w1", "cancelled"), ("w2", "waiting")]


def test_an_active_session_is_not_cancelled(now: datetime) -> None:
    start(now, id="s1")
    with pytest.raises(Conflict, match="active"):
        sessions.cancel(catalog.current()[ECHO], "s1", now=now)


def test_a_start_by_another_id_that_began_the_waiting_one_is_answered_alike_when_repeated(now: datetime) -> None:
    gated(ECHO, concurrent=2, first_free=0)
    give(ADA, 4, now=now, slug=ECHO)
    start(now, id="s0")
    end("s0", now)
    start(now, id="w1", wait=True)
    then = now + 10 * MINUTE
    first, status = start(then, id="s2")
    assert (status, first["id"]) == (201, "w1")
    assert start(then, id="s2") == (first, 200)
    assert balance(ADA, ECHO) == 2
    with pytest.raises(Conflict):
        start(then, id="s2", customer=BO)


def test_one_id_for_two_customers_at_once_is_one_session(now: datetime) -> None:
    gated(ECHO, first_free=0)
    for number in range(8):
        customers_of = [f"a{number}", f"b{number}"]
        for customer in customers_of:
            give(customer, 1, now=now, slug=ECHO)

        def attempt(customer: str, number: int = number) -> int:
            try:
                return start(now, id=f"same-{number}", customer=customer)[1]
            except Conflict:
                return 409
            finally:
                database.release()

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, customers_of)) == [201, 409]
    assert clean(now)


def test_a_heartbeat_by_a_clock_that_is_behind_takes_nothing_back(now: datetime) -> None:
    enter(now)
    start(now, VOICE, id="v1")
    beat("v1", now + 10 * MINUTE)
    beat("v1", now + 7 * MINUTE)
    assert database.read("SELECT heartbeat_at FROM session") == [(now + 10 * MINUTE,)]
