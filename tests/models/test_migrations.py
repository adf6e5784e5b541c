"""What migrations do with the rows that older versions have left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest

from models import schema
from models.database import Connection


@pytest.fixture
def old(db: str) -> Iterator[Connection]:
    """A connection to an empty database of its own, without a table."""
    with psycopg.connect(db, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS of_old")
        server.execute("CREATE DATABASE of_old")
        with psycopg.connect(db, dbname="of_old") as conn:
            yield conn
        server.execute("DROP DATABASE of_old")


def migrate(conn: Connection, first: int, last: int) -> None:
    for path in sorted(schema.MIGRATIONS.glob("*.sql")):
        if first <= int(path.stem[:4]) <= last:
            conn.execute(path.read_text())
            conn.commit()


PAYMENT = """
INSERT INTO payment (app, account_id, provider, reference, aliases, state, created_at, updated_at)
VALUES ('a', 1, %s, %s, %s, 'settled', %s, %s)
"""
RETURN = """
INSERT INTO payment_return (app, provider, kind, reference, payment, created_at, updated_at)
VALUES ('a', %s, 'refund', %s, %s, %s, %s)
"""


def test_orders_are_taken_out_of_what_names_a_payment(old: Connection, now: datetime) -> None:
    migrate(old, 1, 13)
    for provider, reference, aliases in [
        ("paypal", "CAP1", ["ORD1"]),
        ("paypal", "CAP2", ["CAP3", "ORD2"]),
        ("paypal", "CAP3", ["CAP2", "ORD2"]),
        ("stripe", "pi_1", ["cs_1"]),
    ]:
        old.execute(PAYMENT, [provider, reference, aliases, now, now])
    for provider, reference, payment in [
        ("paypal", "REF1", ["CAP1", "ORD1"]),
        ("paypal", "REF2", ["CAP2", "ORD2"]),
        ("paypal", "REF3", ["CAP3"]),
        ("paypal", "REF4", ["CAP9", "ORD9"]),
        ("stripe", "re_1", ["ch_1", "pi_1"]),
    ]:
        old.execute(RETURN, [provider, reference, payment, now, now])
    old.commit()
    migrate(old, 14, 9999)
    assert old.execute("SELECT reference, aliases, order_id FROM payment ORDER BY id").fetchall() == [
        ("CAP1", [], "ORD1"),
        ("CAP2", [], "ORD2"),
        ("CAP3", [], "ORD2"),
        ("pi_1", ["cs_1"], None),
    ]
    assert old.execute("SELECT reference, payment FROM payment_return ORDER BY reference").fetchall() == [
        ("REF1", ["CAP1"]),
        ("REF2", ["CAP2"]),
        ("REF3", ["CAP3"]),
        ("REF4", ["CAP9", "ORD9"]),
        ("re_1", ["ch_1", "pi_1"]),
    ]


def test_what_a_crash_left_in_the_queue_webhooks_is_found_in_the_queue_inbox(old: Connection) -> None:
    migrate(old, 1, 15)
    old.execute("INSERT INTO drain_marker (queue, ids, backend_start) VALUES ('webhooks', '{1,2}', now())")
    old.execute("INSERT INTO drain_marker (queue, ids, backend_start) VALUES ('usage', '{3}', now())")
    old.commit()
    migrate(old, 16, 9999)
    rows = old.execute("SELECT queue, ids FROM drain_marker ORDER BY id").fetchall()
    assert rows == [("inbox", [1, 2]), ("usage", [3])]


def test_the_moves_of_disputes_get_room_for_their_currency(old: Connection, now: datetime) -> None:
    migrate(old, 1, 19)
    old.execute(RETURN, ["stripe", "re_1", ["ch_1"], now, now])
    old.execute(RETURN.replace("'refund'", "'dispute'"), ["stripe", "dp_1", ["ch_1"], now, now])
    old.execute("""UPDATE payment_return SET moves = '{"txn_1": 1000, "txn_2": -15}' WHERE reference = 'dp_1'""")
    old.commit()
    migrate(old, 20, 20)
    assert old.execute("SELECT reference, moves FROM payment_return ORDER BY reference").fetchall() == [
        ("dp_1", {"txn_1": {"minor": 1000}, "txn_2": {"minor": -15}}),
        ("re_1", {}),
    ]
