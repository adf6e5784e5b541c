"""Attempts: which rows of a queue each worker is processing, so that a crash can be attributed to them.

An attempt is a row of `drain_marker` with the connection that wrote it. PostgreSQL lists the connections that are open:
an attempt whose connection is closed was left by a crashed worker.
"""

from __future__ import annotations

from collections.abc import Sequence

from models import database
from models.database import Connection

BEGIN = """
INSERT INTO drain_marker (queue, ids, backend_start)
SELECT %s, %s, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid() RETURNING id
"""
END = "DELETE FROM drain_marker WHERE id = %s"
OPEN = "SELECT 1 FROM drain_marker WHERE queue = %s LIMIT 1"
TAKE_CRASHED = """
DELETE FROM drain_marker m WHERE queue = %s AND NOT EXISTS (
    SELECT 1 FROM pg_stat_activity s WHERE s.pid = m.backend_pid AND s.backend_start = m.backend_start)
RETURNING ids
"""


def begin(conn: Connection, queue: str, ids: Sequence[int]) -> int:
    """Record that this connection is about to process these rows. Returns the attempt for `end`."""
    row = conn.execute(BEGIN, [queue, list(ids)], prepare=True).fetchone()
    assert row is not None
    return int(row[0])


def end(attempt_id: int) -> None:
    """Remove, in a commit of its own, an attempt that ended without a crash."""
    database.write(END, [attempt_id])


def has_open(queue: str) -> bool:
    """Whether an attempt of the queue is recorded, whether its worker runs or has crashed."""
    return bool(database.read(OPEN, [queue]))


def take_crashed(conn: Connection, queue: str) -> list[list[int]]:
    """Remove the attempts of crashed workers. Returns the rows of each; a rollback restores them."""
    return [ids for (ids,) in conn.execute(TAKE_CRASHED, [queue])]
