"""Imports: the balances of an older system become credit, each row once, and the whole file or nothing.

The row's id makes an import idempotent. A row without an id is identified by its customer and content: importing the
same file again changes nothing, in any order of its rows. A row without an id is refused if the customer was imported
before with other content, so that no balance is credited twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
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
    """The result of an import or of a dry run. `imported` and `already` count rows; `bad` lists what is wrong.

    `stored` is false if nothing was stored: some lines are bad and were not to be skipped, or it was a dry run.
    """

    imported: int = 0
    already: int = 0
    units: int = 0
    bad: list[Bad] = field(default_factory=list)
    stored: bool = False


class _Refused(Exception):
    """Rolls the transaction back, so that nothing is stored."""


def import_balances(
    app: App,
    data: bytes,
    *,
    now: datetime,
    skip_bad: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Import a CSV file in one transaction: the whole file, or nothing if a line is bad and `skip_bad` is false.

    `progress` is called with (rows done, rows in total).

    Raises:
        Conflict: another import for the app is running.
    """
    parsed, report = parse(data), Report()
    rows, duplicates = _distinct(parsed.rows)

    def work(conn: Connection) -> None:
        nonlocal report
        imports.plan_each_statement(conn)
        imports.lock(conn, app.slug)
        fresh, refused = _select(conn, app, rows, now)
        report = _plan(rows, fresh, refused)
        report.bad += [*parsed.bad, *duplicates]
        if dry_run:
            raise _Refused
        _refuse_bad(report, skip_bad)
        _store(conn, app, fresh, report, now=now, progress=progress)
        _refuse_bad(report, skip_bad)  # posting can find more
        report.stored = True

    try:
        database.transaction(work)
    except _Refused:
        if not dry_run:
            report.imported = report.units = 0
    report.bad.sort()
    return report


def _refuse_bad(report: Report, skip_bad: bool) -> None:
    if report.bad and not skip_bad:
        raise _Refused


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], list[Bad]]:
    """The rows, each with an id, and what is wrong with those that repeat another row."""
    distinct: dict[str, Row] = {}
    bad = []
    for read in rows:
        row = read if read.id else replace(read, id=_derived_id(read))
        first = distinct.setdefault(row.id, row)
        if first is not row and read.id:
            bad.append(Bad(row.line, "id", f"is that of line {first.line} too"))
        elif first is not row:
            bad.append(Bad(row.line, "", f"is the same as line {first.line}; give each an id if both are meant"))
    return list(distinct.values()), bad


def _derived_id(row: Row) -> str:
    """An id derived from the row's content. Ids in a file cannot contain its slash."""
    digest = hashlib.sha256(orjson.dumps(row.content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{row.customer}/{digest[:16]}"


def _is_derived(id_: str) -> bool:
    return "/" in id_


def _select(conn: Connection, app: App, rows: Sequence[Row], now: datetime) -> tuple[list[Row], list[Bad]]:
    """The rows to import, and what is wrong with other rows. Rows that were imported before are in neither."""
    customers = {row.customer for row in rows}
    stored = {row.id: row for row in imports.find(conn, app.slug, customers, [row.id for row in rows])}
    others = _not_in_file(stored.values(), {row.id for row in rows})
    fresh: list[Row] = []
    bad: list[Bad] = []
    for row in rows:
        if row.id in stored:
            bad += _differences(row, stored[row.id].content)
        elif row.expires_at and row.expires_at <= now:
            bad.append(Bad(row.line, "expires_at", "is past"))
        elif _is_derived(row.id) and row.customer in others:
            before = others[row.customer].content["units"]
            reason = f"was imported before, with {before} units and other content; give the row an id if it is one more"
            bad.append(Bad(row.line, "customer", reason))
        else:
            fresh.append(row)
    return fresh, bad


def _not_in_file(stored: Iterable[Stored], ids: set[str]) -> dict[str, Stored]:
    """Rows without ids that were imported before, from another file, and are not in this one, by customer."""
    return {row.customer: row for row in stored if _is_derived(row.id) and row.id not in ids}


def _plan(rows: Sequence[Row], fresh: Sequence[Row], refused: Sequence[Bad]) -> Report:
    """The report of an import that stores all of the `fresh` rows."""
    already = len(rows) - len(fresh) - len({fault.line for fault in refused})
    return Report(len(fresh), already, sum(row.units for row in fresh), bad=[*refused])


def _differences(row: Row, before: dict[str, Any]) -> list[Bad]:
    """The columns in which the row differs from the one imported with its id."""
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
    """Post the rows a chunk at a time, in the order of the accounts' ids, new accounts last.

    Other transactions that post to several of these accounts lock them in the same order, so no deadlock arises.
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
    imports.store(conn, app.slug, stored, answers, now=now)
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
