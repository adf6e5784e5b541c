"""Imports: the balances of an older system become credit, each row once, all of a file or nothing.

What makes a repetition safe is the row's id. A row without one is known by its customer and its content: the same file
again changes nothing, in any order of its rows. A customer whose rows have changed since is refused, not paid twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from jobs.imports.files import Bad, Row, parse
from models import database, imports
from models.catalog.apps import App
from models.database import Connection
from models.imports import Gate, Stored
from models.ledger.post import post
from models.planning.movements import Grant, Outcome
from runtime.crashpoints import crashpoint

CHUNK = 2000


@dataclass(slots=True)
class Report:
    """What became of a file, or in a dry run would. `imported` and `already` are rows, `bad` what is wrong with others.

    `stored` is false if nothing was: the file has bad lines that were not to be skipped, or it was a dry run.
    """

    imported: int = 0
    already: int = 0
    units: int = 0
    bad: list[Bad] = field(default_factory=list)
    stored: bool = False


class _Refused(Exception):
    """Rolls back: nothing is to be stored."""


def import_balances(
    app: App,
    data: bytes,
    *,
    now: datetime,
    skip_bad: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Import a CSV file in one transaction: all of it, or nothing if a line is bad and bad ones are not to be skipped.

    `progress` is told (rows done, rows to do).

    Raises:
        Conflict: another import for the app is running.
    """
    parsed = parse(data)
    rows, doubles = _distinct(parsed.rows)
    report = Report()

    def work(conn: Connection) -> None:
        nonlocal report
        # The tables grow within this transaction: a plan that was made while they were small would read them whole.
        conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        imports.lock(conn, app.slug)
        fresh, refused = _judged(conn, app, rows, now)
        bad = [*parsed.bad, *doubles, *refused]
        report = Report(len(fresh), len(rows) - len(fresh) - len({each.line for each in refused}), bad=bad)
        report.units = sum(row.units for row in fresh)
        if dry_run or (bad and not skip_bad):
            raise _Refused
        _store(conn, app, fresh, report, now=now, progress=progress)
        if report.bad and not skip_bad:  # posting found more
            raise _Refused
        report.stored = True

    try:
        database.transaction(work)
    except _Refused:
        if not dry_run:
            report.imported = report.units = 0
    report.bad.sort()
    return report


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], list[Bad]]:
    """The rows, each with an id, and what is wrong with those that repeat another one."""
    found: dict[str, Row] = {}
    bad = []
    for given in rows:
        row = given if given.id else replace(given, id=_derived_id(given))
        first = found.setdefault(row.id, row)
        if first is not row and given.id:
            bad.append(Bad(row.line, "id", f"is that of line {first.line} too"))
        elif first is not row:
            bad.append(Bad(row.line, "", f"is the same as line {first.line}; give each an id if both are meant"))
    return list(found.values()), bad


def _derived_id(row: Row) -> str:
    """An id that says what the row says. The slash keeps it apart from all that a file may give."""
    digest = hashlib.sha256(orjson.dumps(row.content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{row.customer}/{digest[:16]}"


def _is_derived(id_: str) -> bool:
    return "/" in id_


def _judged(conn: Connection, app: App, rows: Sequence[Row], now: datetime) -> tuple[list[Row], list[Bad]]:
    """The rows that are to be imported, and what is wrong with rows. Those imported before are in neither."""
    customers = {row.customer for row in rows}
    stored = {row.id: row for row in imports.known(conn, app.slug, customers, [row.id for row in rows])}
    left_out = _left_out(stored.values(), {row.id for row in rows})
    fresh: list[Row] = []
    bad: list[Bad] = []
    for row in rows:
        if row.id in stored:
            bad += _differences(row, stored[row.id].content)
        elif row.expires_at and row.expires_at <= now:
            bad.append(Bad(row.line, "expires_at", "is past"))
        elif _is_derived(row.id) and row.customer in left_out:
            before = left_out[row.customer].content["units"]
            reason = f"was imported before, with {before} units and other content; give the row an id if it is one more"
            bad.append(Bad(row.line, "customer", reason))
        else:
            fresh.append(row)
    return fresh, bad


def _left_out(stored: Any, ids: set[str]) -> dict[str, Stored]:
    """Rows without ids that were imported before and are not in the file, by customer: that file was another."""
    return {row.customer: row for row in stored if _is_derived(row.id) and row.id not in ids}


def _differences(row: Row, before: dict[str, Any]) -> list[Bad]:
    """Where the row is not what was imported with its id."""
    after = row.content
    return [
        Bad(row.line, name, f"is {after.get(name)}, but id {row.id!r} was imported with {before.get(name)}")
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _store(
    conn: Connection,
    app: App,
    rows: Sequence[Row],
    report: Report,
    *,
    now: datetime,
    progress: Callable[[int, int], None],
) -> None:
    """Post the rows a chunk at a time.

    In the order of the accounts' ids, new ones last: who posts to several of these accounts at the same time locks them
    in that order too, so that neither waits for the other for ever.
    """
    ids = imports.account_ids(conn, app.slug, {row.customer for row in rows})
    ordered = sorted(rows, key=lambda row: (row.customer not in ids, ids.get(row.customer, 0), row.customer))
    progress(0, len(ordered))
    for start in range(0, len(ordered), CHUNK):
        _store_chunk(conn, app, ordered[start : start + CHUNK], report, now)
        crashpoint("import-after-chunk")
        progress(min(start + CHUNK, len(ordered)), len(ordered))


def _store_chunk(conn: Connection, app: App, rows: Sequence[Row], report: Report, now: datetime) -> None:
    outcomes = post(conn, [_grant(app, row) for row in rows], now=now)
    done: list[tuple[Row, Outcome]] = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.status != "refused":
            done.append((row, outcome))
            continue
        report.bad.append(Bad(row.line, "units", "would carry the balance beyond what an account can hold"))
        report.imported, report.units = report.imported - 1, report.units - row.units
    stored = [Stored(row.id, row.customer, row.content) for row, _ in done]
    answers = [{"units": outcome.units, "balance": outcome.balance, "entry": outcome.entry_id} for _, outcome in done]
    imports.remember(conn, app.slug, stored, answers, now=now)
    gates = [Gate(row.customer, row.free_sessions_used, row.cooldown_until) for row, _ in done]
    gates = [gate for gate in gates if gate.free_sessions_used or gate.cooldown_until]
    if gates:
        imports.set_gates(conn, app.slug, gates, now=now)


def _grant(app: App, row: Row) -> Grant:
    return Grant(
        app=app.slug,
        customer=row.customer,
        key=f"import:{row.id}",
        units=row.units,
        type="admin_adjustment",
        source="import",
        expires_at=row.expires_at,
        reason=row.reason,
        actor="import",
    )
