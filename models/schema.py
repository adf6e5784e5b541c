"""The migrations of the database: SQL files in models/migrations/, applied in the order of their numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from playhouse.migrations import Migration, Runner

from models import database

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_265_910_441


class _SqlFile(Migration):
    """A migration in a plain SQL file."""

    __slots__ = ()

    def load(self) -> SimpleNamespace:
        """The module that playhouse's runner expects: an `up` that runs in a transaction."""

        def up(migrator: Any, db: Any) -> None:
            db.connection().execute(Path(self.path).read_text())

        return SimpleNamespace(up=up, atomic=True)


class _Runner(Runner):
    def migrations(self) -> list[Migration]:
        return sorted(_SqlFile(int(path.stem[:4]), path.stem, str(path), None) for path in MIGRATIONS.glob("*.sql"))


def migrate() -> list[str]:
    """Apply pending migrations, under an advisory lock so that nodes can start concurrently. Returns their names."""
    conn = database.connection()
    conn.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    try:
        return _Runner(database.database, str(MIGRATIONS)).up()
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def pending_migrations() -> list[str]:
    """The names of the migrations that are not applied to the database yet."""
    database.connection()
    return [row.name for row in _Runner(database.database, str(MIGRATIONS)).status() if row.path and not row.applied]
