"""Ids of new rows, taken from their sequences before the rows are written: the lines of a plan name each other by them.

The entries' ids come along with what is loaded anyway, so a batch of charges costs no round trip for ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.database import Connection
from models.planning.movements import Grant, Hold, Movement, Reverse

# Sources of ids for new entries, lots and holds.
IdSources = tuple[Callable[[], int], Callable[[], int], Callable[[], int]]

NEXT_IDS = {
    name: f"SELECT nextval('{name}') FROM generate_series(1, %s)"
    for name in ("entry_id_seq", "lot_id_seq", "hold_id_seq")
}


def id_sources(conn: Connection, movements: Sequence[Movement], entry_ids: list[int]) -> IdSources:
    """The sources for a batch: `entry_ids` are ready; lots and holds ask for as many as the batch may make."""
    grants = sum(isinstance(movement, (Grant, Reverse)) for movement in movements)
    places = sum(isinstance(movement, Hold) for movement in movements)
    return (
        _ids(conn, "entry_id_seq", entry_ids),
        _ids(conn, "lot_id_seq", [], grants),
        _ids(conn, "hold_id_seq", [], places),
    )


def _ids(conn: Connection, sequence: str, ready: list[int], expected: int = 0) -> Callable[[], int]:
    """A source of new ids; it asks the sequence for more when it runs out. Gaps in ids mean nothing."""
    ready.reverse()

    def take() -> int:
        if not ready:
            fresh = [id_ for (id_,) in conn.execute(NEXT_IDS[sequence], [max(expected, 16)])]
            ready.extend(reversed(fresh))
        return ready.pop()

    return take
