"""`verify`: an invariant broken by hand is named by its check, with the ids, and by no check that still holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from models import database
from models.ledger.verify import ALARM_AGE, Check, verify
from tests.support.kernel import APP, BO, START, claw, day, expire, grant, hold, kernel, refund, slug, take, unqueue

__all__ = ["kernel"]
NOW = day(0.01)
DEBTORS = slug(shortfall="debt")


@pytest.fixture
def books(kernel: str) -> str:
    """A ledger with something of everything: packs, a cycle, usage, a hold, a refund, a clawback, debt, an expiry."""
    pack("pi_1", units=100, price=1000)
    pack("pi_2", units=50, price=500, refunded=200)
    grant(1000, type="subscription_grant", subscription_id=1, meta={"plan": "pro", "units": 1000})
    settled("r1", 7)
    settled("r2", 0)
    waiting("r3")
    spent = take(30, key="charge:a")
    assert spent.entry_id
    refund(spent.entry_id, 10)
    take(5, key="charge:b")
    take(5, key="charge:c")
    hold(20)
    take(40, of=BO, app=DEBTORS)
    grant(10, to=BO, app=DEBTORS)
    grant(5, to=BO, expires_at=day(0.001))
    expire(of=BO, at=day(0.002))
    return kernel


def pack(reference: str, *, units: int, price: int, refunded: int = 0) -> int:
    """A pack that was paid for, granted and perhaps returned in part; gives the payment's id."""
    payment = one(
        """INSERT INTO payment (app, account_id, provider, reference, pack, amount_minor, currency, units_granted,
                                refunded_minor, state, created_at, updated_at)
           VALUES (%s, 1, 'stripe', %s, 'starter', %s, 'usd', %s, %s, 'settled', %s, %s) RETURNING id""",
        *(APP, reference, price, units, refunded, START, START),
    )
    bought = grant(units, type="purchase", source="pack:starter", payment_id=payment, key=f"purchase:{reference}")
    claw(bought, units * refunded // price)
    by_hand("UPDATE payment SET entry_id = %s WHERE id = %s", bought, payment)
    return payment


def settled(report: str, units: int) -> None:
    """A usage report that was charged."""
    taken = take(units, key=f"usage:{report}").entry_id
    by_hand(
        """INSERT INTO usage_report (app, external_id, customer, rate, quantity, state, units, entry_id, received_at)
           VALUES (%s, %s, 'ada', 'call', 1, 'settled', %s, %s, %s)""",
        *(APP, report, units, taken, START),
    )


def waiting(report: str) -> None:
    """A usage report that is in the queue."""
    row = one(
        """INSERT INTO usage_report (app, external_id, customer, rate, quantity, received_at)
           VALUES (%s, %s, 'ada', 'call', 1, %s) RETURNING id""",
        *(APP, report, START),
    )
    by_hand(
        """INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at)
           VALUES (%s, %s, 'ada', 0, %s, %s)""",
        *(row, APP, START, START),
    )


def by_hand(sql: str, *values: Any) -> None:
    """Write past the kernel and the triggers, as nobody may."""
    conn = database.connection()
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(sql, values)


def one(sql: str, *values: Any) -> int:
    return int(database.read(sql, list(values))[0][0])


def entry(key: str) -> int:
    return one("SELECT id FROM entry WHERE key = %s", key)


def checks(**more: Any) -> list[Check]:
    return verify(database.connection(), now=NOW, **more)


def wrong(**more: Any) -> dict[int, list[str]]:
    """What failed, by the number of its check."""
    return {check.number: check.failures for check in checks(**more) if not check.ok}


def test_a_ledger_that_only_the_kernel_wrote_is_clean(books: str) -> None:
    assert wrong() == {}
    assert [(check.number, check.checked) for check in checks()] == list(
        zip(range(1, 10), [3, 5, 13, 2, 3, 0, 13, 1, 0], strict=True)
    )


def test_an_empty_ledger_is_clean(kernel: str) -> None:
    assert wrong() == {}


# --- 1: balances


def test_a_balance_altered_by_hand_is_named(books: str) -> None:
    by_hand("UPDATE account SET balance = balance + 1 WHERE id = 1")
    found = wrong()
    assert sorted(found) == [1, 7]
    assert found[1][0].startswith("account 1: balance 1094, lots less debt 1093, entries 1093")


def test_debt_beside_units_that_could_pay_is_named_by_the_first_check_only(books: str) -> None:
    last = one("SELECT max(id) FROM entry WHERE account_id = 1")
    lot = one("SELECT max(id) FROM lot WHERE account_id = 1 AND remaining > 0")
    by_hand("INSERT INTO allocation VALUES (%s, %s, 5), (%s, NULL, -5)", last, lot, last)
    by_hand("UPDATE lot SET remaining = remaining + 5 WHERE id = %s", lot)
    by_hand("UPDATE account SET debt = 5 WHERE id = 1")
    found = wrong()
    assert list(found) == [1]
    assert found[1][0].startswith("account 1: ")


def test_debt_beside_frozen_and_expired_units_is_in_order(books: str) -> None:
    grant(10, to="cy", app=DEBTORS, payment_id=9)
    by_hand("UPDATE lot SET frozen = true WHERE payment_id = 9")
    take(3, of="cy", app=DEBTORS)
    assert wrong() == {}
    by_hand("UPDATE lot SET frozen = false WHERE payment_id = 9")
    assert list(wrong()) == [1]
    by_hand("UPDATE lot SET expires_at = %s WHERE payment_id = 9", NOW)
    assert wrong() == {}


def test_an_account_that_vanished_is_named(books: str) -> None:
    by_hand("DELETE FROM account WHERE id = 2")
    assert wrong()[1][0].startswith("account 2: ")


# --- 2: lots


def test_units_moved_from_lot_to_lot_are_named(books: str) -> None:
    first, second = (lot for (lot,) in database.read("SELECT id FROM lot WHERE remaining > 1 ORDER BY id LIMIT 2"))
    by_hand("UPDATE lot SET remaining = remaining + 1 WHERE id = %s", first)
    by_hand("UPDATE lot SET remaining = remaining - 1 WHERE id = %s", second)
    found = wrong()
    assert list(found) == [2]
    assert [text.split(" (")[0] for text in found[2]] == [f"lot {first}", f"lot {second}"]


def test_a_lot_that_is_closed_with_units_in_it_is_named(books: str) -> None:
    lot = one("SELECT min(id) FROM lot WHERE remaining > 0")
    by_hand("UPDATE lot SET open = false WHERE id = %s", lot)
    assert [text.split(":")[0] for text in wrong()[2]] == [f"lot {lot} (closed)"]
    assert list(wrong()) == [2]


def test_a_lapse_that_no_expiry_posted_is_named(books: str) -> None:
    lot = one("SELECT id FROM lot WHERE lapsed > 0")
    by_hand("UPDATE lot SET lapsed = 4 WHERE id = %s", lot)
    assert wrong() == {2: [f"lot {lot}: expired 4, its expiry entries took 5"]}


def test_an_allocation_to_no_lot_is_named(books: str) -> None:
    lot = one("SELECT max(id) FROM lot")
    by_hand("DELETE FROM lot WHERE id = %s", lot)
    assert any(text.startswith(f"lot {lot} ") for text in wrong()[2])


# --- 3: entries


def test_an_allocation_altered_by_hand_is_named_by_its_entry(books: str) -> None:
    first, second = entry("charge:b"), entry("charge:c")
    by_hand("UPDATE allocation SET amount = amount - 1 WHERE entry_id = %s", first)
    by_hand("UPDATE allocation SET amount = amount + 1 WHERE entry_id = %s", second)
    assert wrong() == {
        3: [
            f"entry {first}: amount -5, its allocations -6",
            f"entry {second}: amount -5, its allocations -4",
        ]
    }


def test_an_entry_altered_by_hand_is_named(books: str) -> None:
    altered = entry("charge:b")
    by_hand("UPDATE entry SET amount = amount + 1, balance_after = balance_after + 1 WHERE id = %s", altered)
    found = wrong()
    assert sorted(found) == [1, 3, 7]
    assert f"entry {altered}: amount -4, its allocations -5" in found[3]


def test_an_entry_cut_out_is_named_by_the_one_after_it(books: str) -> None:
    first, second = (
        one("SELECT id FROM entry WHERE key = 'charge:b'"),
        one("SELECT id FROM entry WHERE key = 'charge:c'"),
    )
    by_hand("DELETE FROM entry WHERE id = %s", first)
    found = wrong()[3]
    assert any(text.startswith(f"entry {second}: number 9") for text in found)
    assert any(text.startswith(f"entry {first}: amount , its allocations -5") for text in found)


def test_a_gap_in_the_numbers_is_named_by_the_third_check_only(books: str) -> None:
    last = one("SELECT id FROM entry WHERE account_id = 1 ORDER BY seq DESC LIMIT 1")
    by_hand("UPDATE entry SET seq = seq + 7 WHERE id = %s", last)
    found = wrong()
    assert list(found) == [3]
    assert [text.split(":")[0] for text in found[3]] == [f"entry {last}"]


def test_a_debt_that_no_allocation_made_is_named(books: str) -> None:
    by_hand("UPDATE account SET debt = debt + 1 WHERE debt > 0")
    account = one("SELECT id FROM account WHERE debt > 0")
    assert wrong()[3] == [f"account {account}: debt 31, allocations to the debt -30"]


# --- 4: packs


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("refunded_minor = 300", "clawed back 20, target 30, expired 0"),
        ("refunded_minor = 199", "clawed back 20, target 19, expired 0"),
        ("disputed_minor = 100", "clawed back 20, target 30, expired 0"),
        ("refunded_minor = 100000", "clawed back 20, target 50, expired 0"),
        ("amount_minor = 0", "clawed back 20, target 0, expired 0"),
        ("units_granted = 51", "of 1 purchases, granted 51"),
        ("entry_id = NULL", "names entry  of 1 purchases"),
        ("entry_id = 0", "names entry 0 of 1 purchases"),
    ],
)
def test_a_payment_that_its_entries_do_not_bear_out_is_named(books: str, change: str, says: str) -> None:
    payment = one("SELECT id FROM payment WHERE reference = 'pi_2'")
    by_hand(f"UPDATE payment SET {change} WHERE id = %s", payment)
    found = wrong()
    assert list(found) == [4]
    assert found[4][0].startswith(f"payment {payment} (settled): ")
    assert says in found[4][0]


def test_a_payment_granted_twice_is_named(books: str) -> None:
    payment = one("SELECT id FROM payment WHERE reference = 'pi_1'")
    grant(100, type="purchase", source="pack:starter", payment_id=payment)
    assert [text.split(",")[0] for text in wrong()[4]] == [
        f"payment {payment} (settled): names entry {entry('purchase:pi_1')} of 2 purchases"
    ]


def test_a_payment_settled_and_never_granted_is_named(books: str) -> None:
    by_hand("UPDATE lot SET payment_id = NULL WHERE payment_id = 1")
    by_hand("UPDATE payment SET entry_id = NULL WHERE id = 1")
    assert list(wrong()) == [4]


def test_a_payment_that_waits_or_failed_needs_no_grant(books: str) -> None:
    by_hand("UPDATE lot SET payment_id = NULL WHERE payment_id = 1")
    by_hand(
        "UPDATE payment SET entry_id = NULL, units_granted = 0, state = 'pending', refunded_minor = 1000 WHERE id = 1"
    )
    assert wrong() == {}


def test_units_that_lapsed_need_not_be_clawed_back(books: str) -> None:
    unqueue()
    payment = pack("pi_3", units=60, price=600)
    by_hand("UPDATE lot SET expires_at = %s WHERE payment_id = %s", NOW, payment)
    expire(at=NOW)
    by_hand("UPDATE payment SET refunded_minor = 600 WHERE id = %s", payment)
    assert wrong() == {}


# --- 5: usage


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("units = 8", "settled at 8 units, entry {entry} has 7"),
        ("entry_id = 0", "settled at 7 units, entry 0 has "),
        ("entry_id = entry_id - 1", "settled at 7 units, entry {before} has -1000"),
        ("customer = 'bo'", "settled at 7 units, entry {entry} has 7"),
        ("external_id = 'r9'", "settled at 7 units, entry {entry} has 7"),
        ("state = 'refused'", "refused at 7 units, but entry {entry} has 7"),
        ("state = 'dead'", "dead at 7 units, but entry {entry} has 7"),
        ("units = 0, entry_id = NULL", "settled at 0 units, but entry {entry} has 7"),
    ],
)
def test_a_report_that_its_entry_does_not_bear_out_is_named(books: str, change: str, says: str) -> None:
    report = one("SELECT id FROM usage_report WHERE external_id = 'r1'")
    by_hand(f"UPDATE usage_report SET {change} WHERE id = %s", report)
    found = wrong()
    assert list(found) == [5]
    assert found[5][0].startswith(f"usage report {report} (r")
    assert found[5][0].endswith(says.format(entry=entry("usage:r1"), before=entry("usage:r1") - 1))


def test_a_report_lost_from_the_queue_is_named(books: str) -> None:
    report = one("SELECT report_id FROM usage_queue")
    by_hand("DELETE FROM usage_queue")
    assert wrong() == {5: [f"usage report {report}: pending but not queued"]}


def test_a_settled_report_that_is_still_queued_is_named(books: str) -> None:
    report = one("SELECT report_id FROM usage_queue")
    by_hand("UPDATE usage_report SET state = 'refused' WHERE id = %s", report)
    assert wrong() == {5: [f"usage report {report}: queued but not pending"]}


def test_a_report_that_waits_for_too_long_is_named(books: str) -> None:
    report = one("SELECT report_id FROM usage_queue")
    found = wrong(alarm_age=timedelta(minutes=1))
    assert list(found) == [5]
    assert found[5][0].startswith(f"usage report {report}: pending since 2026-03-01")


def test_a_dead_report_may_lie(books: str) -> None:
    by_hand("UPDATE usage_queue SET dead = true")
    by_hand("UPDATE usage_report SET state = 'dead' WHERE state = 'pending'")
    assert wrong(alarm_age=timedelta(0)) == {}


# --- 6: plans


def test_what_differs_from_the_facts_of_plans_is_named(books: str) -> None:
    """The comparison itself: tests/plans/test_audit.py."""
    asked: list[dict[str, Any]] = []

    def plans(conn: Any, **values: Any) -> tuple[int, list[str]]:
        asked.append(values)
        return 2, ["subscription 1: 5 units of pro are owed"]

    found = checks(plans=plans)
    assert [(check.checked, check.failures) for check in found if not check.ok] == [
        (2, ["subscription 1: 5 units of pro are owed"])
    ]
    assert asked == [{"app": None, "now": NOW, "overdue": NOW - ALARM_AGE}]


# --- 7: replay


def test_a_history_told_in_another_order_is_named_by_the_replay_only(books: str) -> None:
    refunded = one("SELECT id FROM entry WHERE type = 'refund'")
    swap(refunded, entry("charge:b"))
    found = wrong()
    assert list(found) == [7]
    # Sorted as text: whether 9 or 10 comes first depends on the ids.
    assert any(text.startswith(f"entry {refunded} of account 1: replayed ") for text in found[7])


def swap(first: int, second: int) -> None:
    """Two entries of an account, one right after the other, as if they had been posted the other way round."""
    (seq, before, gave), (_, _, took) = (
        database.read("SELECT seq, balance_before, amount FROM entry WHERE id = %s", [entry])[0]
        for entry in (first, second)
    )
    change = "UPDATE entry SET seq = %s, balance_before = %s, balance_after = %s WHERE id = %s"
    by_hand("UPDATE entry SET seq = seq + 1000 WHERE id = %s", first)
    by_hand(change, seq, before, before + took, second)
    by_hand(change, seq + 1, before + took, before + took + gave, first)


def test_a_balance_of_an_account_without_entries_is_named(books: str) -> None:
    by_hand(
        "INSERT INTO account (app, customer, balance, created_at, updated_at) VALUES (%s, 'cy', 5, %s, %s)",
        *(APP, START, START),
    )
    account = one("SELECT id FROM account WHERE customer = 'cy'")
    assert wrong()[7] == [f"account {account}: no entries, written 5"]


# --- 8: holds


def test_a_hold_that_ended_without_freeing_its_units_is_named(books: str) -> None:
    by_hand("UPDATE hold SET state = 'released'")
    lot = one("SELECT id FROM lot WHERE held > 0")
    assert wrong() == {8: [f"lot {lot}: held 20, by open holds ", "account 1: held 20, by open holds "]}


def test_a_hold_whose_lots_do_not_add_up_is_named(books: str) -> None:
    hold, lot = one("SELECT id FROM hold"), one("SELECT id FROM lot WHERE held > 0")
    by_hand("UPDATE hold SET lots = %s::jsonb", f"[[{lot}, 19]]")
    assert wrong() == {8: [f"hold {hold}: 20 units, in lots 19", f"lot {lot}: held 20, by open holds 19"]}


def test_a_hold_larger_than_what_it_holds_is_named(books: str) -> None:
    hold = one("SELECT id FROM hold")
    by_hand("UPDATE hold SET units = 21")
    assert wrong() == {8: [f"hold {hold}: 21 units, in lots 20", "account 1: held 20, by open holds 21"]}


# --- how it tells


def test_progress_hears_of_each_check_as_it_ends(books: str) -> None:
    clear_pending: list[Check] = []
    assert checks(progress=clear_pending.append) == clear_pending
    assert [check.number for check in clear_pending] == list(range(1, 10))
    assert len({check.name for check in clear_pending}) == 9


def test_one_app_can_be_checked_alone(books: str) -> None:
    by_hand("UPDATE account SET balance = balance + 1 WHERE app = %s", DEBTORS)
    assert sorted(wrong()) == [1, 7]
    assert sorted(wrong(app=DEBTORS)) == [1, 7]
    assert wrong(app=APP) == {}
    assert [check.checked for check in checks(app=DEBTORS)] == [1, 1, 2, 0, 0, 0, 2, 0, 0]


def test_twenty_failures_are_named_and_all_are_counted(kernel: str) -> None:
    for customer in range(25):
        grant(10, to=f"c{customer}")
    by_hand("UPDATE lot SET open = false")
    check = checks()[1]
    assert (check.ok, check.failed, len(check.failures), check.checked) == (False, 25, 20, 25)


def test_verify_leaves_the_connection_as_it_was(books: str) -> None:
    before = database.read("SELECT name, setting FROM pg_settings")
    checks()
    assert database.read("SELECT name, setting FROM pg_settings") == before


def test_nothing_can_be_written_during_the_checks(books: str) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        checks(progress=lambda check: database.connection().execute("UPDATE account SET balance = 0"))
    assert wrong() == {}


def test_what_is_posted_meanwhile_does_not_disturb(books: str) -> None:
    def post_elsewhere(check: Check) -> None:
        with psycopg.connect(books, autocommit=True) as other:
            other.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")

    assert [check.ok for check in checks(progress=post_elsewhere)] == [True] * 9
    assert sorted(wrong()) == [1, 7]


def test_a_transaction_that_has_read_is_no_place_to_verify(books: str) -> None:
    conn = database.connection()
    with conn.transaction():
        conn.execute("SELECT FROM account")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            verify(conn, now=NOW)
