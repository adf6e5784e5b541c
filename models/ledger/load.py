"""Load the rows that the plan of a batch needs: the accounts' open lots, and the rows that its movements name.

Each statement starts after the accounts are locked. Rows that only some movements need (holds, earlier entries, closed
lots, unsettled reports, carried totals) are queried only if the batch has such movements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from models import arrays
from models.database import Connection
from models.ledger.ids import NEXT_IDS, IdSources, id_sources
from models.planning.carry import Carry
from models.planning.movements import Capture, Clawback, Extend, Freeze, Grant, Hold, Movement, Release, Reverse, Take
from models.planning.state import NEVER, Account, Lot, OpenHold, Posted, State

EXISTING = """
SELECT e.app, e.key, e.id, e.amount FROM entry e JOIN unnest(%s::text[], %s::text[]) AS named(app, key)
  ON e.app = named.app AND e.key = named.key
"""
LOTS = """
SELECT id, account_id, entry_id, granted, remaining, held, lapsed, frozen, open, priority, effective_at,
       expires_at, payment_id, subscription_id, period_start, per_period, CASE WHEN per_period THEN source ELSE '' END,
       ctid::text
FROM lot WHERE account_id = ANY(%s::bigint[]) AND """
OPEN_LOTS = LOTS + "open"
NAMED_LOTS = LOTS + "id = ANY(%s::bigint[])"
GRANTED_LOTS = LOTS + "entry_id = ANY(%s::bigint[])"
SPENT_PERIODS = LOTS + "subscription_id = ANY(%s::bigint[]) AND per_period AND NOT open AND expires_at > %s"
HOLDS = """
SELECT h.id, h.app, h.account_id, h.key, h.units, h.state, h.lots, h.captured, h.entry_id, h.expires_at,
       h.reason, h.meta
FROM hold h JOIN unnest(%s::text[], %s::text[]) AS named(app, key) ON h.app = named.app AND h.key = named.key
"""
CARRIES = """
SELECT account_id, rate, charged::text, numerator::text, denominator::text, unlisted::text FROM carry
WHERE account_id = ANY(%s::bigint[])
"""
UNSETTLED = """
SELECT app, customer, min(received_at) FROM usage_queue
WHERE NOT dead AND (app, customer) IN (SELECT * FROM unnest(%s::text[], %s::text[])) GROUP BY app, customer
"""
POSTED = "SELECT id, app, account_id, type, amount FROM entry WHERE app = %s AND id = ANY(%s)"
POSTED_PARTS = "SELECT entry_id, lot_id, amount FROM allocation WHERE entry_id = ANY(%s)"
REVERSALS = """
SELECT e.reverses_id, x.lot_id, sum(x.amount)::bigint FROM entry e JOIN allocation x ON x.entry_id = e.id
WHERE e.reverses_id = ANY(%s) GROUP BY e.reverses_id, x.lot_id ORDER BY min(x.entry_id)
"""


def load(conn: Connection, state: State, movements: Sequence[Movement], now: datetime) -> IdSources:
    """Read the rows that the plan needs into `state`. The accounts must be locked and in the state already.

    Returns the sources of ids for new entries, lots and holds.
    """
    accounts = {account.id: account for account in state.accounts.values()}
    keys = [(movement.app, movement.key) for movement in movements if movement.key]
    carrying = _carrying(state, movements)
    with conn.pipeline():
        existing = conn.execute(EXISTING, key_columns(keys), prepare=True, binary=True)
        lots = conn.execute(OPEN_LOTS, [arrays.ints(accounts)], prepare=True, binary=True)
        ids = conn.execute(NEXT_IDS["entry_id_seq"], [len(movements)], prepare=True, binary=True)
        carries = conn.execute(CARRIES, [arrays.ints(carrying)], prepare=True) if carrying else ()
    for account_id, rate, *numbers in carries:
        state.carries[account_id, rate] = Carry(account_id, rate, *map(int, numbers))
    state.existing = {(app, key): (id_, amount) for app, key, id_, amount in existing.fetchall()}
    for row in lots.fetchall():
        _add_lot(state, accounts, row)
    _load_holds(conn, state, movements)
    _load_posted(conn, state, movements)
    _load_closed_lots(conn, state, movements, accounts, now)
    _load_unsettled(conn, state, movements, now)
    return id_sources(conn, movements, [id_ for (id_,) in ids.fetchall()])


def _carrying(state: State, movements: Iterable[Movement]) -> set[int]:
    """The ids of the accounts whose carried totals the batch reads."""
    return {state.accounts[m.app, m.customer].id for m in movements if m.carried}


def _add_lot(state: State, accounts: dict[int, Account], row: tuple[Any, ...]) -> None:
    lot = Lot(*row)
    if lot.id in state.lots:
        return
    lot.expires_at = lot.expires_at or NEVER
    state.lots[lot.id] = lot
    accounts[lot.account_id].lots.append(lot)


def _load_unsettled(conn: Connection, state: State, movements: Iterable[Movement], now: datetime) -> None:
    """Set `oldest_unsettled_at` of the accounts in which a lot has expired or may expire in this batch.

    Reports that this batch settles count as well: the drain removes them from the queue before it posts.
    """
    named = {key for key, account in state.accounts.items() if any(lot.expires_at <= now for lot in account.lots)}
    named |= {(m.app, m.customer) for m in movements if isinstance(m, Grant) and (m.per_period or m.expires_at)}
    if not named:
        return
    for app, customer, received_at in conn.execute(UNSETTLED, key_columns(list(named))):
        state.accounts[app, customer].oldest_unsettled_at = received_at
    for movement in movements:
        if isinstance(movement, Take) and movement.received_at:
            account = state.accounts[movement.app, movement.customer]
            account.oldest_unsettled_at = min(account.oldest_unsettled_at or NEVER, movement.received_at)


def _load_holds(conn: Connection, state: State, movements: Iterable[Movement]) -> None:
    named = [(m.app, m.key) for m in movements if isinstance(m, Hold)]
    named += [(m.app, m.hold_key) for m in movements if isinstance(m, (Capture, Extend, Release))]
    if not named:
        return
    for row in conn.execute(HOLDS, key_columns(named)):
        hold = OpenHold(*row)
        state.holds[hold.app, hold.key] = hold


def _load_posted(conn: Connection, state: State, movements: Iterable[Movement]) -> None:
    """Load the entries that reversals and clawbacks name, and what was reversed of them."""
    by_app: dict[str, list[int]] = {}
    for movement in movements:
        if isinstance(movement, (Reverse, Clawback)):
            by_app.setdefault(movement.app, []).append(movement.entry_id)
    for app, ids in by_app.items():
        for row in conn.execute(POSTED, [app, ids]):
            state.posted[row[0]] = Posted(*row)
    if state.posted:
        _load_parts(conn, state)


def _load_parts(conn: Connection, state: State) -> None:
    """Load the allocations of the named entries, and those of their reversals."""
    ids = list(state.posted)
    for entry_id, lot_id, amount in conn.execute(POSTED_PARTS, [ids]):
        state.posted[entry_id].allocations.append((lot_id, amount))
    for entry_id, lot_id, amount in conn.execute(REVERSALS, [ids]):
        entry = state.posted[entry_id]
        entry.reversed_amount += amount
        entry.reversed_by_lot[lot_id] = amount


def _load_closed_lots(
    conn: Connection, state: State, movements: Sequence[Movement], accounts: dict[int, Account], now: datetime
) -> None:
    """Load the lots that movements may reopen, or must alter although they are empty."""
    owners = list(accounts)
    touched = _touched_lots(state)
    named = [m.entry_id for m in movements if isinstance(m, Clawback)]
    named += [entry_id for m in movements if isinstance(m, Freeze) for entry_id in m.entry_ids]
    renewed = [m.subscription_id for m in movements if isinstance(m, Grant) and m.per_period]
    rows: list[tuple[Any, ...]] = []
    if touched:
        rows += conn.execute(NAMED_LOTS, [owners, touched])
    if named:
        rows += conn.execute(GRANTED_LOTS, [owners, named])
    if renewed:
        rows += conn.execute(SPENT_PERIODS, [owners, renewed, now])
    for row in rows:
        _add_lot(state, accounts, row)


def _touched_lots(state: State) -> list[int]:
    """The ids of the lots that the named entries or their reversals drew from or filled."""
    touched = {lot for entry in state.posted.values() for lot, _ in entry.allocations}
    touched.update(lot for entry in state.posted.values() for lot in entry.reversed_by_lot)
    return [lot for lot in touched if lot is not None]


def key_columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Pairs (app, customer) or (app, key) as two array literals: the apps, the names."""
    return [arrays.texts([app for app, _ in pairs]), arrays.texts([name for _, name in pairs])]
