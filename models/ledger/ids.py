"""Ids of new rows, taken from their sequences before the rows are written, so that rows of a plan can reference others.

Ids for entries are fetched in the same pipeline as the rows to load, so a batch of charges needs no extra round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.database import Connection
from models.planning.movements import Grant, Hold, Movement, Reverse

# Sources of ids for new entries, lots and holds, in this order.
IdSources = tuple[Callable[[], int], Callable[[], int], Callable[[], int]]

NEXT_IDS = {
    name: f"SELECT nextval('{name}') FROM generate_series(1, %s)"
    for name in ("entry_id_seq", "lot_id_seq", "hold_id_seq")
}


def id_sources(conn: Connection, movements: Sequence[Movement], entry_ids: list[int]) -> IdSources:
    """The id sources of a batch. `entry_ids` were fetched before; ids for lots and holds are fetched when needed."""
    lots = sum(isinstance(movement, (Grant, Reverse)) for movement in movements)
    holds = sum(isinstance(movement, Hold) for movement in movements)
    return (
        _ids(conn, "entry_id_seq", entry_ids),
        _ids(conn, "lot_id_seq", [], lots),
        _ids(conn, "hold_id_seq", [], holds),
    )


def _ids(conn: Connection, sequence: str, ready: list[int], expected: int = 0) -> Callable[[], int]:
    """A source of new ids that fetches more from the sequence when it runs out. Unused ids leave harmless gaps."""
    ready.reverse()

    def next_id() -> int:
        if not ready:
            fetched = [id_ for (id_,) in conn.execute(NEXT_IDS[sequence], [max(expected, 16)])]
            ready.extend(reversed(fetched))
        return ready.pop()

    return next_id
