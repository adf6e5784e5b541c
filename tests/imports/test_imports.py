"""Balances of an older system: each row once, all of a file or nothing, every bad line told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from jobs import maintenance
from jobs.imports import balances as imports
from jobs.imports import files
from jobs.imports.balances import Report
from jobs.ledger import holds, refunds
from models import database
from models.errors import Conflict
from models.ledger import balances
from models.operations import log
from tests.support.cast import ADA, BO, CY, app, balance, entries, give
from tests.support.running import ROOT, Running

SLUG = "echomind"
FILE = "customer,units,expires_at,reason\nada,3,2026-12-31T00:00:00Z,two packs\nbo,5,,\n"


@pytest.fixture
def books(db: str, now: datetime) -> Any:
    """An empty database whose books are checked at the end."""
    yield
    assert [check.name for check in maintenance.check_books(now=now, app=None) if not check.ok] == []


pytestmark = pytest.mark.usefixtures("books")


def load(text: str, now: datetime, **options: Any) -> Report:
    return imports.import_balances(app(SLUG), text.encode(), now=now, **options)


def wrong(text: str, now: datetime, **options: Any) -> list[tuple[int, str]]:
    """(line, column) of all that is wrong; nothing must have been stored."""
    report = load(text, now, **options)
    assert (report.stored, report.imported, report.units) == (False, 0, 0)
    assert database.read("SELECT count(*) FROM request WHERE resource = 'import'") == [(0,)]
    return [(bad.line, bad.column) for bad in report.bad]


def gates(customer: str) -> tuple[int, datetime | None]:
    sql = "SELECT free_sessions_used, cooldown_until FROM account WHERE app = %s AND customer = %s"
    (row,) = database.read(sql, [SLUG, customer])
    return row  # type: ignore[return-value]


def test_each_row_becomes_a_lot_with_its_expiry_and_reason(now: datetime) -> None:
    report = load(FILE, now)
    assert (report.imported, report.already, report.units, report.bad, report.stored) == (2, 0, 8, [], True)
    (lot,) = balances.current(app(SLUG), ADA, now=now)["lots"]
    assert (lot["source"], lot["remaining"]) == ("import", 3)
    assert lot["expires_at"] == datetime(2026, 12, 31, tzinfo=timezone.utc)
    sql = "SELECT type, reason, actor FROM entry ORDER BY id"
    assert database.read(sql) == [
        ("admin_adjustment", "two packs", "import"),
        ("admin_adjustment", "imported", "import"),
    ]


def test_the_same_file_again_changes_nothing_in_any_order_of_its_rows(now: datetime) -> None:
    load(FILE, now)
    header, *rows = FILE.splitlines()
    for text in (FILE, "\n".join([header, *reversed(rows)])):
        again = load(text, now + timedelta(days=1))
        assert (again.imported, again.already, again.units, again.stored) == (0, 2, 0, True)
    assert (balance(ADA, SLUG), balance(BO, SLUG)) == (3, 5)


def test_a_repetition_is_none_the_wiser_for_an_expiry_that_passed_meanwhile(now: datetime) -> None:
    load(FILE, now)
    assert load(FILE, now + timedelta(days=400)).already == 2


def test_two_rows_of_a_customer_with_other_expiries_are_both_imported_once(now: datetime) -> None:
    text = "customer,units,expires_at\nada,3,2026-12-31T00:00:00Z\nada,3,2027-12-31T00:00:00+01:00\nada,3,\n"
    assert load(text, now).imported == 3
    assert load(text, now).already == 3
    assert entries(ADA, SLUG) == [("admin_adjustment", 3)] * 3


def test_more_rows_of_a_customer_may_follow_but_not_other_ones(now: datetime) -> None:
    load("customer,units\nada,3\n", now)
    assert load("customer,units\nada,3\nada,4\n", now).imported == 1
    (bad,) = load("customer,units\nada,3\nada,5\nbo,1\n", now).bad
    assert (bad.line, bad.column) == (3, "customer")
    assert "give the row an id" in bad.reason
    assert (balance(ADA, SLUG), balance(BO, SLUG)) == (7, 0)
    assert load("customer,units,id\nada,5,5th\n", now).imported == 1


def test_an_id_with_other_content_is_refused_with_what_differs(now: datetime) -> None:
    load("id,customer,units,reason\nr1,ada,3,pack\n", now)
    bad = load("id,customer,units,reason\nr2,bo,1,\nr1,cy,4,pack\n", now).bad
    assert [(each.line, each.column) for each in bad] == [(3, "customer"), (3, "units")]
    assert str(bad[1]) == "line 3, units: is 4, but id 'r1' was imported with 3"
    assert balance(BO, SLUG) == 0


def test_every_bad_line_is_told_with_its_column_and_nothing_is_stored(now: datetime) -> None:
    text = """customer,units,expires_at,reason,free_sessions_used,id
ada,1.5,2026-12-31T00:00:00Z,,,
a/b,-1,tomorrow,,,
,7,,,,
bo,,,,x,
cy,99999999999999,2026-12-31T00:00:00,,,a\\b
dan,1,2026-01-01T00:00:00Z,,,
eve,1
fay,1,,,,
"""
    assert wrong(text, now) == [
        (2, "units"),
        (3, "customer"),
        (3, "expires_at"),
        (3, "units"),
        (4, "customer"),
        (5, "free_sessions_used"),
        (5, "units"),
        (6, "expires_at"),
        (6, "id"),
        (6, "units"),
        (7, "expires_at"),
        (8, ""),
    ]


@pytest.mark.parametrize(
    ("rows", "line"),
    [("ada,1,\nbo,1,\nada,1,\n", 4), ("ada,1,r1\nbo,1,r1\n", 3), ("ada,1,r1\nada,1,r1\n", 3)],
)
def test_rows_that_are_there_twice_are_bad(now: datetime, rows: str, line: int) -> None:
    assert [bad for bad, _ in wrong("customer,units,id\n" + rows, now)] == [line]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("customer,units,colour", ["colour"]),
        ("customer", ["units"]),
        ("customer,units,Units", ["units"]),
        ("customer,units,", ["column 3"]),
        ("", ["customer", "units"]),
    ],
)
def test_a_file_with_other_columns_is_refused(now: datetime, header: str, columns: list[str]) -> None:
    assert wrong(header, now) == [(1, column) for column in columns]


def test_a_file_may_look_as_spreadsheets_write_it(now: datetime) -> None:
    header = "\ufeffCustomer;Units;Expires At;Free sessions used;REASON"
    text = "\r\n".join([header, '"ada";3;;1;"one; ""two""\nthree"', "", "bö;4;;;", ""])
    report = imports.import_balances(app(SLUG), text.encode(), now=now)
    assert (report.imported, report.bad) == (2, [])
    assert database.read("SELECT reason FROM entry ORDER BY id") == [('one; "two"\nthree',), ("imported",)]
    assert balance("bö", SLUG) == 4


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"customer,units\nada,1\nb\xf6,2\n", 3),
        (b'customer,units\nada,1\n"bo,2\n', 3),
        (b"customer,units\nada\0,1\n", 2),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_line(now: datetime, data: bytes, line: int) -> None:
    report = imports.import_balances(app(SLUG), data, now=now)
    assert [bad.line for bad in report.bad] == [line]
    assert not report.stored


def test_a_line_after_one_with_a_line_break_in_it_keeps_its_number() -> None:
    parsed = files.parse(b'customer,units,reason\nada,1,"a\nb"\nbo,x,\n')
    assert [bad.line for bad in parsed.bad] == [4]


def test_bad_lines_may_be_left_out(now: datetime) -> None:
    report = load("customer,units\nada,1\nbo,x\ncy,3\n", now, skip_bad=True)
    assert (report.imported, len(report.bad), report.stored) == (2, 1, True)
    mended = load("customer,units\nada,1\nbo,2\ncy,3\n", now)
    assert (mended.imported, mended.already) == (1, 2)


def test_a_balance_beyond_what_an_account_can_hold_is_a_bad_line(now: datetime) -> None:
    for n in range(1000):
        give(ADA, 10**15, now=now, slug=SLUG, key=f"much:{n}")
    text = "customer,units\nbo,1\nada,1\n"
    assert wrong(text, now) == [(3, "units")]
    assert balance(BO, SLUG) == 0
    report = load(text, now, skip_bad=True)
    assert (report.imported, report.units, balance(BO, SLUG)) == (1, 1, 1)


def test_a_dry_run_tells_and_stores_nothing(now: datetime) -> None:
    report = load(FILE, now, dry_run=True)
    assert (report.imported, report.units, report.stored) == (2, 8, False)
    assert database.read("SELECT count(*) FROM account") == [(0,)]


def test_used_free_sessions_and_cooldowns_are_noted_and_never_lowered(now: datetime) -> None:
    text = "customer,units,free_sessions_used,cooldown_until\nada,0,1,2026-03-10T12:10:00Z\nada,2,0,\nbo,0,2,\n"
    assert load(text, now).imported == 3
    assert gates(ADA) == (1, now + timedelta(minutes=10))
    assert gates(BO) == (2, None)
    assert (entries(ADA, SLUG), entries(BO, SLUG)) == ([("admin_adjustment", 2)], [])
    load("customer,units,free_sessions_used,id\nada,0,3,more\nbo,0,1,less\n", now)
    assert (gates(ADA)[0], gates(BO)[0]) == (3, 2)


def test_what_was_imported_is_credit_like_any_other(now: datetime) -> None:
    load(FILE, now)
    holds.create(app(SLUG), {"id": "h1", "customer": ADA, "units": 2}, now=now)
    holds.capture(app(SLUG), "h1", {}, now=now)
    (entry,) = database.read("SELECT id FROM entry WHERE type = 'deduction'")
    refunds.refund(app(SLUG), {"id": "f1", "entry": entry[0], "reason": "broke off"}, now=now)
    assert balances.current(app(SLUG), ADA, now=now)["balance"] == 3
    assert balances.current(app(SLUG), ADA, now=now + timedelta(days=365))["balance"] == 0


def test_the_documented_example_can_be_imported(now: datetime) -> None:
    page = (ROOT / "docs" / "importing.md").read_text()
    (example,) = re.findall(r"```\n(customer,.*?)```", page, re.DOTALL)
    report = load(example, now)
    assert (report.imported, report.units, report.bad) == (3, 4, [])
    assert [name for name in files.CELLS if f"`{name}`" not in page] == []


def test_the_operation_log_tells_of_each_row(now: datetime) -> None:
    load("customer,units,free_sessions_used\nada,3,0\nbo,0,1\n", now)
    lines = log.list_page(SLUG, operation="IMPORT")[0]
    assert sorted((line["customer"], line["status"]) for line in lines) == [
        (ADA, "STARTED"),
        (ADA, "SUCCESS"),
        (BO, "STARTED"),
        (BO, "SUCCESS"),
    ]
    assert len({line["details"]["key"] for line in lines if line["customer"] == ADA}) == 1


def test_of_imports_at_the_same_time_one_goes_on_and_the_others_are_told(now: datetime) -> None:
    text = "customer,units\n" + "".join(f"user-{n},1\n" for n in range(3000))

    def attempt(_: int) -> list[Any]:
        try:
            report = load(text, now)
            return [report.imported + report.already, report.bad]
        except Conflict as running:
            return [running.detail]
        finally:
            database.release()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(4)))
    assert [3000, []] in results
    assert all(result in ([3000, []], ["another import for echomind is running"]) for result in results)
    assert database.read("SELECT sum(balance) FROM account") == [(3000,)]


def rows_read() -> int:
    """By all statements so far, of the tables that grow during an import."""
    database.connection().execute("SELECT pg_stat_force_next_flush()")
    sql = "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname = ANY(%s)"
    return int(database.read(sql, [["account", "entry", "lot", "request"]])[0][0])


def test_twenty_thousand_rows_are_found_at_once_though_the_tables_were_small(now: datetime) -> None:
    for number in range(12):  # a connection keeps the plans that it made for small tables
        give(f"small-{number}", 5, now=now, slug=SLUG)
    give(CY, 5, now=now, slug=SLUG)
    rows = [f"user-{n},{n % 50},2027-01-01T00:00:00Z" for n in range(19_999)]
    text = "\n".join(["customer,units,expires_at", *rows, "cy,7,"])
    told: list[tuple[int, int]] = []
    before = rows_read()
    report = load(text, now, progress=lambda done, total: told.append((done, total)))
    assert rows_read() - before < 50 * 20_000
    assert (report.imported, told[0], told[-1]) == (20_000, (0, 20_000), (20_000, 20_000))
    assert balance(CY, SLUG) == 12
    assert load(text, now).already == 20_000


def test_an_import_that_is_killed_half_way_leaves_nothing(db: str, now: datetime, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("customer,units\n" + "".join(f"user-{n},1\n" for n in range(5000)))
    command = [sys.executable, "manage.py", "import", "balances", SLUG, str(file), "--json"]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "SCRIP_CRASH_AT": "import-after-chunk:2"})
    assert killed.returncode == -9
    assert database.read("SELECT count(*) FROM entry") == [(0,)]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert json.loads(again.stdout)["imported"] == 5000


def test_the_command_tells_what_it_did(system: Running, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("customer,units,free sessions used\nold-ada,3,1\nold-bo,x,\n")
    refused = system.manage("import", "balances", SLUG, str(file))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[0].startswith("line 3, units: must be a whole number")
    assert "nothing imported: 1 bad line;" in refused.stderr
    skipped = system.manage("import", "balances", SLUG, str(file), "--skip-bad")
    assert (skipped.returncode, skipped.stdout) == (
        0,
        "imported 1 row with 3 units; 0 imported before; 1 bad line left out\n",
    )
    file.write_text("customer,units,free sessions used\nold-ada,3,1\n")
    told = json.loads(system.manage("import", "balances", SLUG, str(file), "--dry-run", "--json").stdout)
    assert (told["imported"], told["already"], told["stored"], told["bad"]) == (0, 1, False, [])
    assert system.balance("old-ada", app=SLUG) == 3
    assert system.manage("import", "balances", "dance", str(file)).returncode == 2
    assert system.is_clean()
