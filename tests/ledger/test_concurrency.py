"""Many at once: real connections, threads and processes on the same accounts stay exact and never deadlock."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import pytest

from models import database
from models.errors import Unavailable
from models.ledger import post as ledger
from models.planning.movements import Expire, Grant, Hold, Movement, Outcome, Take
from tests.support.kernel import (
    ADA,
    APP,
    BO,
    Account,
    account,
    applied,
    claw,
    day,
    entries,
    failures,
    grant,
    hold,
    kernel,
    post,
    refund,
    remaining,
    slug,
    take,
)
from tests.support.waiting import wait_until

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")
T = TypeVar("T")


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """What `work(n)` returns in so many threads that start together, each on a connection of its own."""
    start = threading.Barrier(count)

    def run(n: int) -> T:
        try:
            database.live_connection()  # one that idled in the pool may have been closed
            start.wait(timeout=30)
            return work(n)
        finally:
            database.release()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def post_once(*movements: Movement) -> list[Outcome]:
    """Post without a second try: a deadlock is an error here."""
    conn = database.connection()
    with conn.transaction():
        return ledger.post(conn, movements, now=day(0))


def test_thirty_two_workers_on_one_account_are_exact() -> None:
    grant(10_000)

    def work(n: int) -> int:
        takes = [Take(app=APP, customer=ADA, key=f"usage:{n}-{i}", units=1 + (n + i) % 5) for i in range(10)]
        return sum(post_once(movement)[0].units for movement in takes)

    taken = sum(at_once(32, work))
    assert taken == sum(1 + (n + i) % 5 for n in range(32) for i in range(10))
    assert account() == Account(balance=10_000 - taken, held=0, debt=0)
    assert len(entries()) == 321
    assert failures() == {}


def test_workers_that_take_more_than_there_is_take_all_of_it_and_no_more() -> None:
    for _ in range(10):
        grant(10)
    outcomes = at_once(16, lambda n: take(9, key=f"usage:{n}"))
    assert sum(outcome.units for outcome in outcomes) == 100
    assert sum(outcome.shortfall for outcome in outcomes) == 16 * 9 - 100
    assert remaining() == [0] * 10
    assert failures() == {}


def test_processes_are_as_exact_as_threads(kernel: str) -> None:
    grant(1000)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(3) as pool:
        taken = pool.starmap(take_in_a_process, [(kernel, n) for n in range(3)])
    assert (sum(taken), account().balance) == (1000, 0)
    assert failures() == {}


def take_in_a_process(url: str, n: int) -> int:
    """One of several processes that together ask for more than there is."""
    database.bind(url)
    takes = [Take(app=APP, customer=ADA, key=f"usage:{n}-{i}", units=4) for i in range(100)]
    return sum(outcome.units for movement in takes for outcome in post(movement))


def test_batches_over_the_same_accounts_in_opposite_orders_do_not_deadlock() -> None:
    names = [f"c{n}" for n in range(12)]
    for name in names:
        grant(1000, to=name)

    def work(n: int) -> int:
        order = names if n % 2 else names[::-1]
        part = order[n % 3 :] if n % 4 < 2 else order[: 6 + n % 3]
        return sum(
            outcome.units
            for i in range(5)
            for outcome in post_once(*[Take(app=APP, customer=c, key=f"usage:{n}-{i}-{c}", units=1) for c in part])
        )

    taken = sum(at_once(16, work))
    assert taken == 12_000 - sum(account(name).balance for name in names)
    assert failures() == {}


def test_batches_that_make_the_same_new_accounts_in_opposite_orders_make_each_once() -> None:
    names = [f"new{n}" for n in range(20)]

    def work(n: int) -> None:
        order = names if n % 2 else names[::-1]
        post_once(*[Grant(app=APP, customer=c, key=f"g:{n}:{c}", units=1, type="bonus", source="gift") for c in order])

    at_once(8, work)
    assert database.read("SELECT count(*), min(balance), max(balance) FROM account") == [(20, 8, 8)]
    assert failures() == {}


def test_the_same_key_twenty_times_at_once_is_one_entry() -> None:
    movement = Grant(app=APP, customer=ADA, key="purchase:pi_1", units=100, type="purchase", source="pack")
    outcomes = [outcome for many in at_once(20, lambda n: post_once(movement)) for outcome in many]
    assert Counter(outcome.status for outcome in outcomes) == {"applied": 1, "already": 19}
    assert len({outcome.entry_id for outcome in outcomes}) == 1
    assert entries() == [("purchase", 100)]


def test_the_same_key_for_two_customers_at_once_is_one_entry() -> None:
    grant(100)
    grant(100, to=BO)
    outcomes = at_once(12, lambda n: take(10, of=(ADA, BO)[n % 2], key="charge:a"))
    assert Counter(outcome.status for outcome in outcomes) == {"applied": 1, "already": 11}
    assert account().balance + account(BO).balance == 190
    assert failures() == {}


def test_the_same_hold_twenty_times_at_once_is_one_hold() -> None:
    grant(100)
    outcomes = at_once(20, lambda n: hold(10))
    assert Counter(outcome.status for outcome in outcomes) == {"applied": 1, "already": 19}
    assert account() == Account(balance=100, held=10, debt=0)


def test_holds_and_takes_at_once_share_what_is_there() -> None:
    grant(100)

    def work(n: int) -> Outcome:
        if n % 2:
            return hold(10, f"hold:{n}")
        return take(10, key=f"charge:{n}", on_shortfall="reject")

    outcomes = at_once(24, work)
    assert Counter(outcome.status for outcome in outcomes) == {"applied": 10, "refused": 14}
    assert remaining() == [0]
    assert failures() == {}


def test_a_deduction_refunded_ten_times_at_once_is_refunded_once() -> None:
    grant(100)
    spent = applied(take(30))
    outcomes = at_once(10, lambda n: refund(spent))
    assert Counter(outcome.refusal for outcome in outcomes) == {None: 1, "beyond": 9}
    assert remaining() == [100]


def test_the_same_clawback_ten_times_at_once_claws_once() -> None:
    bought = grant(100)
    outcomes = at_once(10, lambda n: claw(bought, 60))
    assert sorted(outcome.units for outcome in outcomes) == [0] * 9 + [60]
    assert remaining() == [40]


@pytest.mark.parametrize("number", range(8))
def test_expiry_races_burn_and_nothing_is_lost_or_spent_twice(number: int) -> None:
    grant(100, expires_at=day(1))

    def work(n: int) -> int:
        if n % 2:
            return post(Expire(app=APP, customer=ADA), at=day(1))[0].units
        return take(7, key=f"usage:{n}", at=day(0.9)).units

    assert sum(at_once(12, work)) == 100
    assert remaining() == [0]
    assert failures(day(1)) == {}


@pytest.mark.parametrize("number", range(8))
def test_expiry_races_a_hold_and_nothing_is_lost_or_held_twice(number: int) -> None:
    grant(100, expires_at=day(1))

    def work(n: int) -> int:
        if n % 2:
            return post(Expire(app=APP, customer=ADA), at=day(1))[0].units
        movement = Hold(app=APP, customer=ADA, key=f"hold:{n}", units=30, up_to=True, expires_at=day(2))
        return post(movement, at=day(0.9))[0].units

    assert sum(at_once(8, work)) == 100
    assert account().balance == account().held
    assert failures(day(1)) == {}


def test_debt_made_and_repaid_at_once_adds_up() -> None:
    app = slug(shortfall="debt")

    def work(n: int) -> int:
        return grant(10, app=app, key=f"g:{n}") if n % 2 else applied(take(12, app=app, key=f"usage:{n}"))

    at_once(20, work)
    assert account(app=app) == Account(balance=-20, held=0, debt=20)
    assert failures() == {}


def test_a_connection_that_is_killed_before_the_commit_leaves_nothing(kernel: str) -> None:
    grant(100)
    with psycopg.connect(kernel) as doomed:
        (outcome,) = ledger.post(doomed, [Take(app=APP, customer=ADA, key="usage:r1", units=30)], now=day(0))
        assert outcome.status == "applied"
        kill(doomed)
        with pytest.raises(psycopg.OperationalError):
            doomed.commit()
    assert (account().balance, remaining(), len(entries())) == (100, [100], 1)
    assert failures() == {}


def kill(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    """End the server's side of a connection, as a crash would."""
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


def test_a_transaction_that_lost_its_connection_is_run_again_and_applies_once() -> None:
    grant(100)
    tries: list[str] = []

    def work(conn: ledger.Connection) -> Outcome:
        (outcome,) = ledger.post(conn, [Take(app=APP, customer=ADA, key="usage:r1", units=30)], now=day(0))
        tries.append(outcome.status)
        if len(tries) == 1:
            kill(conn)
        return outcome

    assert database.transaction(work).units == 30
    assert tries == ["applied", "applied"]
    assert (account().balance, entries()) == (70, [("bonus", 100), ("deduction", -30)])
    assert failures() == {}


def test_a_connection_lost_after_the_commit_finds_its_key_on_the_second_run() -> None:
    grant(100)
    tries: list[str] = []

    def work(conn: ledger.Connection) -> Outcome:
        (outcome,) = ledger.post(conn, [Take(app=APP, customer=ADA, key="usage:r1", units=30)], now=day(0))
        tries.append(outcome.status)
        if len(tries) == 1:
            conn.execute("COMMIT")
            kill(conn)
        return outcome

    assert database.transaction(work).units == 30
    assert tries == ["applied", "already"]
    assert entries() == [("bonus", 100), ("deduction", -30)]


def test_a_database_that_stays_away_is_said_to_be_unavailable() -> None:
    grant(100)

    def work(conn: ledger.Connection) -> None:
        ledger.post(conn, [Take(app=APP, customer=ADA, key="usage:r1", units=30)], now=day(0))
        kill(conn)

    with pytest.raises(Unavailable):
        database.transaction(work)
    assert account().balance == 100


def test_accounts_are_locked_before_they_are_read(kernel: str) -> None:
    """A post that waited for another one's lock works with what that one left, not with what it saw before."""
    grant(100)
    with psycopg.connect(kernel) as first, ThreadPoolExecutor(1) as pool:
        ledger.post(first, [Take(app=APP, customer=ADA, key="usage:r1", units=60)], now=day(0))
        second = pool.submit(at_once, 1, lambda n: take(60, key="usage:r2"))
        with psycopg.connect(kernel, autocommit=True) as watch:
            wait_for_a_lock(watch)
        first.commit()
        (outcome,) = second.result(timeout=30)
    assert (outcome.units, outcome.shortfall) == (40, 20)
    assert failures() == {}


def wait_for_a_lock(watch: psycopg.Connection[tuple[object, ...]]) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    wait_until(lambda: watch.execute(waiting).fetchone() != (0,))
