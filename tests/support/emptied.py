"""Emptying the database between tests.

TRUNCATE makes new files for each table and each of its indexes, whether rows are there or not. To delete the rows of
the tables that have any is ten times as quick. Only a table that has grown large is truncated: dead rows would slow
down the tests that follow.
"""

from __future__ import annotations

import functools

from models import database

LARGE_BYTES = 256 * 1024
TABLES = """
SELECT quote_ident(tablename) FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT IN ('schema_migration', 'secret')
"""
SEQUENCES = """
SELECT quote_ident(sequencename) FROM pg_sequences
WHERE schemaname = 'public' AND sequencename <> 'schema_migration_id_seq'
"""
EMPTY = """
IF EXISTS (SELECT FROM {0}) THEN
    IF pg_relation_size('{0}') > {1} THEN TRUNCATE {0}; ELSE DELETE FROM {0}; END IF;
END IF;
"""
RESTART = "IF (SELECT is_called FROM {0}) THEN PERFORM setval('{0}', 1, false); END IF;\n"
# As a replica, PostgreSQL runs no triggers: those of entries and allocations refuse to delete.
BLOCK = "DO $$ BEGIN SET LOCAL session_replication_role = replica; {0} END $$"


def empty() -> None:
    """Delete all rows but those of the tables `schema_migration` and `secret`; identities start at 1 again."""
    database.write(_block())


@functools.cache
def _block() -> str:
    tables = [EMPTY.format(table, LARGE_BYTES) for (table,) in database.read(TABLES)]
    sequences = [RESTART.format(sequence) for (sequence,) in database.read(SEQUENCES)]
    return BLOCK.format("".join(tables + sequences))
