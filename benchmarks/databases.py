"""The databases of the rows: data sets that are created once and kept as templates, and copies of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg

from models import database, schema

TEMPLATE_PREFIX, COPY_PREFIX = "bench_set_", "bench_row_"


@dataclass(frozen=True)
class Database:
    """One database of the benchmark."""

    url: str

    def tidy(self) -> None:
        """Vacuum and checkpoint, so that neither autovacuum nor a checkpoint disturbs the measurement."""
        self.run("VACUUM (ANALYZE)")
        self.run("CHECKPOINT")

    def run(self, sql: str) -> None:
        """Execute one statement outside a transaction."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(sql)

    def value(self, sql: str) -> int:
        """The single number that a query returns."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            row = conn.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def measured(copy: Database) -> Iterator[None]:
    """One round: tidy the database before, and vacuum after, so that autovacuum does not disturb the next row."""
    copy.tidy()
    try:
        yield
    finally:
        copy.run("VACUUM")


@contextmanager
def bound(target: Database) -> Iterator[None]:
    """Bind `models.database` of this process to `target` for the block."""
    database.bind(target.url, max_connections=4, application_name="scrip benchmark")
    try:
        yield
    finally:
        database.database.close_all()


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server at `url`."""

    url: str

    @contextmanager
    def copy(self, row: str, data_set: str, fill: Callable[[], None]) -> Iterator[Database]:
        """A copy of the data set as a database of the row; dropped at the end of the block.

        If the data set does not exist, `fill` creates it in the database that `models.database` is bound to.
        """
        template = self._template(data_set, fill)
        name = f"{COPY_PREFIX}{row.lower()}"
        self._drop(name)
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self._named(name)
        finally:
            self._drop(name)

    def _template(self, data_set: str, fill: Callable[[], None]) -> str:
        """The name of the template, derived from the data set and the schema. Creates a missing template."""
        name = f"{TEMPLATE_PREFIX}{data_set}_{_schema_digest()}"
        if name not in self._names(f"{TEMPLATE_PREFIX}{data_set}_"):
            for old in self._names(f"{TEMPLATE_PREFIX}{data_set}_"):
                self._drop(old)
            self._make(name, fill)
        return name

    def _make(self, name: str, fill: Callable[[], None]) -> None:
        """Create a template under a draft name and rename it when complete, so that aborted runs leave none."""
        draft = f"{COPY_PREFIX}draft"
        self._drop(draft)
        self._execute(f"CREATE DATABASE {draft}")
        with bound(self._named(draft)):
            schema.migrate()
            fill()
        self._named(draft).tidy()
        self._execute(f"ALTER DATABASE {draft} RENAME TO {name}")

    def _names(self, prefix: str) -> list[str]:
        with psycopg.connect(self.url) as conn:
            rows = conn.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
            return [name for (name,) in rows]

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, sql: str) -> None:
        Database(self.url).run(sql)

    def _named(self, name: str) -> Database:
        return Database(urlsplit(self.url)._replace(path=f"/{name}").geturl())


def _schema_digest() -> str:
    files = sorted(schema.MIGRATIONS.glob("*.sql"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]
