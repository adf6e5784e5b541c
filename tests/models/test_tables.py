"""The models describe the migrated database exactly: tables, columns, constraints and indexes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import peewee
import pytest
from click.testing import CliRunner

from commands import er_diagram
from models import database, tables
from models.database import Connection
from models.tables.base import CustomerField, ReferenceField
from settings import ROOT

Facts = dict[tuple[str, str], str]

# What PostgreSQL itself says of the tables of a schema: (what, aspect, value). The table of the migrations belongs to
# playhouse's runner, which has its own model of it.
FACTS = """
WITH tables AS (
    SELECT oid, relname::text AS name, reloptions FROM pg_class
    WHERE relnamespace = %(schema)s::text::regnamespace AND relkind = 'r' AND relname <> 'schema_migration'
), columns AS (
    SELECT tables.name || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation::text END AS collated,
           CASE WHEN a.attnotnull THEN 'no' ELSE 'yes' END AS nullable,
           pg_get_expr(d.adbin, d.adrelid) AS by_default,
           CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity
    FROM tables JOIN pg_attribute a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
), indexes AS (
    SELECT tables.name, indexrelid::regclass::text AS index,
           replace(pg_get_indexdef(indexrelid), ' ON ' || %(schema)s::text || '.', ' ON ') AS sql
    FROM tables JOIN pg_index ON indrelid = tables.oid
)
SELECT name, 'table', 'exists' FROM tables
UNION ALL SELECT name, 'storage', reloptions::text FROM tables
UNION ALL SELECT name, 'type', type FROM columns
UNION ALL SELECT name, 'collation', collated FROM columns
UNION ALL SELECT name, 'nullable', nullable FROM columns
UNION ALL SELECT name, 'default', by_default FROM columns
UNION ALL SELECT name, 'identity', identity FROM columns
UNION ALL SELECT name, 'index ' || index, sql FROM indexes
UNION ALL SELECT name, 'constraint ' || conname, pg_get_constraintdef(c.oid)
    FROM tables JOIN pg_constraint c ON c.conrelid = tables.oid AND c.contype <> 'n'
"""


def facts(conn: Connection, schema: str) -> Facts:
    """The tables of the schema, as PostgreSQL describes them."""
    conn.execute(f"SET LOCAL search_path TO {schema}")
    rows = conn.execute(FACTS, {"schema": schema}).fetchall()
    return {(name, aspect): value for name, aspect, value in rows if value is not None}


def declared(conn: Connection) -> Facts:
    """The tables that the models would create, as PostgreSQL describes them."""
    conn.execute("CREATE SCHEMA declared")
    conn.execute("SET LOCAL search_path TO declared")
    for model in tables.TABLES:
        model.create_table(safe=False)
    return facts(conn, "declared")


def differences(conn: Connection) -> list[str]:
    """What is in the database or in the models, and not the same in the other. Leaves a schema of its own behind."""
    migrated, modelled = facts(conn, "public"), declared(conn)
    return sorted(
        f"{name}: {aspect}: {migrated.get((name, aspect))} in the database, {modelled.get((name, aspect))} in the model"
        for name, aspect in migrated.keys() | modelled.keys()
        if migrated.get((name, aspect)) != modelled.get((name, aspect))
    )


@pytest.fixture
def conn(db: str) -> Iterator[Connection]:
    """The connection that peewee uses, in a transaction that is rolled back."""
    with database.connection().transaction(force_rollback=True):
        yield database.connection()


def test_the_models_are_what_the_migrations_made(conn: Connection) -> None:
    assert differences(conn) == []


CHANGES = {
    "CREATE TABLE tip (id bigint)": {
        "tip: table": ("exists", None),
        "tip.id: nullable": ("yes", None),
        "tip.id: type": ("bigint", None),
    },
    "DROP TABLE schedule_run": {"schedule_run: table": (None, "exists")},
    "ALTER TABLE lot ADD extra text DEFAULT 'x'": {
        "lot.extra: type": ("text", None),
        "lot.extra: nullable": ("yes", None),
        "lot.extra: default": ("'x'::text", None),
        "lot.extra: collation": ('"default"', None),
    },
    "ALTER TABLE lot DROP price_minor": {
        "lot.price_minor: type": (None, "bigint"),
        "lot.price_minor: nullable": (None, "yes"),
    },
    "ALTER TABLE lot ALTER priority TYPE bigint": {"lot.priority: type": ("bigint", "integer")},
    'ALTER TABLE checkout ALTER title TYPE text COLLATE "C"': {"checkout.title: collation": ('"C"', '"default"')},
    "ALTER TABLE lot ALTER source DROP NOT NULL": {"lot.source: nullable": ("yes", "no")},
    "ALTER TABLE lot ALTER expires_at SET NOT NULL": {"lot.expires_at: nullable": ("no", "yes")},
    "ALTER TABLE lot ALTER held SET DEFAULT 1": {"lot.held: default": ("1", "0")},
    "ALTER TABLE lot ALTER held DROP DEFAULT": {"lot.held: default": (None, "0")},
    "ALTER TABLE api_key ALTER id SET GENERATED BY DEFAULT": {"api_key.id: identity": ("by default", "always")},
    "ALTER TABLE lot SET (fillfactor = 90)": {"lot: storage": ("{fillfactor=90}", "{fillfactor=70}")},
    "ALTER TABLE secret DROP CONSTRAINT secret_pkey": {
        "secret: constraint secret_pkey": (None, "PRIMARY KEY (name)"),
        "secret: index secret_pkey": (None, "CREATE UNIQUE INDEX secret_pkey ON secret USING btree (name)"),
    },
    "ALTER TABLE lot DROP CONSTRAINT lot_held_check": {
        "lot: constraint lot_held_check": (None, "CHECK ((held >= 0))"),
    },
    "ALTER TABLE hold ADD CHECK (captured <= units)": {
        "hold: constraint hold_check": ("CHECK ((captured <= units))", None),
    },
    "DROP INDEX hold_account": {
        "hold: index hold_account": (None, "CREATE INDEX hold_account ON hold USING btree (account_id)"),
    },
    "DROP INDEX hold_account; CREATE UNIQUE INDEX hold_account ON hold (account_id)": {
        "hold: index hold_account": (
            "CREATE UNIQUE INDEX hold_account ON hold USING btree (account_id)",
            "CREATE INDEX hold_account ON hold USING btree (account_id)",
        ),
    },
    "DROP INDEX outbox_message_age; CREATE INDEX outbox_message_age ON outbox_message (created_at, id)": {
        "outbox_message: index outbox_message_age": (
            "CREATE INDEX outbox_message_age ON outbox_message USING btree (created_at, id)",
            "CREATE INDEX outbox_message_age ON outbox_message USING btree (created_at)",
        ),
    },
    "DROP INDEX session_due; CREATE INDEX session_due ON session (due_at)": {
        "session: index session_due": (
            "CREATE INDEX session_due ON session USING btree (due_at)",
            "CREATE INDEX session_due ON session USING btree (due_at) WHERE (state = 'active'::text)",
        ),
    },
    "CREATE INDEX extra ON secret (value)": {
        "secret: index extra": ("CREATE INDEX extra ON secret USING btree (value)", None),
    },
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_database_that_differs_from_the_models_is_named(conn: Connection, change: str) -> None:
    conn.execute(change)
    found = differences(conn)
    expected = [
        f"{what}: {migrated} in the database, {modelled} in the model"
        for what, (migrated, modelled) in CHANGES[change].items()
    ]
    if change.startswith("DROP TABLE"):
        assert set(expected) <= set(found)
        assert all(line.startswith(change.removeprefix("DROP TABLE ")) for line in found)
    else:
        assert found == sorted(expected)


def test_every_table_has_a_sentence_and_can_be_read(db: str) -> None:
    for model in tables.TABLES:
        assert (model.__doc__ or "").partition("\n")[0].endswith("."), model
        # The signing secrets are kept between tests.
        assert model is tables.Secret or list(model.select()) == []
        assert all(isinstance(row, model) for row in model.select())


def test_every_column_that_refers_to_a_table_names_one_that_exists() -> None:
    fields = [field for model in tables.TABLES for field in model._meta.sorted_fields]
    names = {model._meta.table_name for model in tables.TABLES}
    assert {field.references for field in fields if getattr(field, "references", None)} < names
    ids = [field for field in fields if field.name.endswith("_id") and isinstance(field, peewee.BigIntegerField)]
    assert [field for field in ids if not isinstance(field, ReferenceField)] == []
    customers = [field for field in fields if field.name == "customer" and field.model is not tables.Account]
    assert [field for field in customers if not isinstance(field, CustomerField)] == []


AT = datetime(2026, 3, 10, 13, 30, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize("value", [{"b": [1, None, 2.5], "a": "é"}, "[1]", "null", [], 0, 2**63], ids=repr)
def test_json_is_read_as_it_was_written(db: str, value: Any) -> None:
    row = {"app": "songs", "resource": "charge", "id": "1", "customer": "ada", "created_at": AT}
    tables.Request.insert(**row, content=value, answer=value).execute()
    read = tables.Request.get()
    assert (read.content, read.answer) == (value, value)
    assert type(read.content) is type(read.answer) is type(value)


def test_an_absent_json_value_is_null(db: str) -> None:
    tables.ScheduleRun.insert(job="expire", period=AT, next_attempt_at=AT, counts=None).execute()
    assert tables.ScheduleRun.select().where(tables.ScheduleRun.counts.is_null()).count() == 1


def test_times_are_aware_and_the_moment_that_was_written(db: str) -> None:
    tables.ScheduleRun.insert(job="expire", period=AT, next_attempt_at=AT).execute()
    read = tables.ScheduleRun.get()
    assert (read.period, read.period.utcoffset() is not None) == (AT, True)
    assert tables.ScheduleRun.get(period=AT.astimezone(timezone.utc)) == read


def test_arrays_bytes_and_uuids_are_read_as_such_and_defaults_are_the_databases(db: str) -> None:
    hashed = bytes(range(256))
    key = tables.ApiKey.create(
        app="songs", name="till", prefix="sk_", hash=hashed, scopes=["read", 'a,"b'], created_at=AT
    )
    read = tables.ApiKey.get(tables.ApiKey.hash == hashed)
    assert (read, read.hash, read.scopes) == (key, hashed, ["read", 'a,"b'])
    message = tables.OutboxMessage.create(app="songs", type="test", data={}, created_at=AT)
    assert isinstance(tables.OutboxMessage.get_by_id(message.id).uid, uuid.UUID)
    endpoint = tables.Endpoint.create(
        app="songs", external_id="e", url="https://e.test", secret="s", created_at=AT, updated_at=AT
    )
    read = tables.Endpoint.get_by_id(endpoint.id)
    assert (read.events, read.state) == ([], "enabled")


def test_a_row_that_is_saved_writes_what_was_assigned_and_no_more(db: str) -> None:
    endpoint = tables.Endpoint.create(
        app="songs", external_id="e", url="https://e.test", secret="s", created_at=AT, updated_at=AT
    )
    stale = tables.Endpoint.get_by_id(endpoint.id)
    tables.Endpoint.update(secret="new").execute()
    stale.url = "https://f.test"
    stale.save()
    read = tables.Endpoint.get_by_id(endpoint.id)
    assert (read.url, read.secret) == ("https://f.test", "new")


def test_the_diagrams_of_the_schema_are_up_to_date() -> None:
    page = ROOT / "docs/schema.md"
    assert er_diagram.replaced(page) == page.read_text(), "run `manage.py er-diagram --write docs/schema.md`"


def test_the_diagrams_have_every_table_column_and_relation() -> None:
    drawn = er_diagram.markdown()
    for line in (
        "- `account`: A customer of an app,",
        "Unique: (app, key), (account_id, seq).",
        '        timestamptz expires_at "null"',
        "        text[] aliases",
        "        bigint report_id PK, FK",
        "        bigint subscription_id FK, UK",
        "    account ||--o{ lot : account_id",
        "    payment |o--o{ lot : payment_id",
        "    account |o--o{ usage_report : customer",
        "    usage_report ||--o| usage_queue : report_id",
        "    subscription ||--o| activation_key : subscription_id",
    ):
        assert line in drawn, line
    for model in tables.TABLES:
        (block,) = re.findall(rf"^    {model._meta.table_name} {{\n(.*?)^    }}$", drawn, re.DOTALL | re.MULTILINE)
        assert [line.split()[1] for line in block.splitlines()] == [
            field.column_name for field in model._meta.sorted_fields
        ]
        assert block.count("PK") == len(model._meta.get_primary_keys())


def test_old_diagrams_are_found_and_replaced_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{er_diagram.BEGIN}old\n{er_diagram.END}after\n")
    run = CliRunner().invoke
    assert run(er_diagram.command, ["--check", str(page)]).exit_code == 1
    assert run(er_diagram.command, ["--write", str(page)]).exit_code == 0
    assert page.read_text() == f"before\n{er_diagram.BEGIN}\n{er_diagram.markdown()}\n{er_diagram.END}after\n"
    assert run(er_diagram.command, ["--check", str(page)]).exit_code == 0
    assert run(er_diagram.command).output == er_diagram.markdown()
    page.write_text("no markers\n")
    assert "a line is missing" in run(er_diagram.command, ["--check", str(page)]).output
