"""The servers of a command, and the database connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import settings
from runtime import embedded
from sandbox import address


@contextmanager
def database() -> Iterator[None]:
    """Attach to or start the servers, migrate the schema, and bind `models.database`."""
    mine = replace(settings.settings, sandbox_url=address.known_url(settings.settings))
    with embedded.ensure(mine) as servers:
        settings.settings = embedded.export(mine, servers)
        from models import database, schema

        database.bind(servers.database_url, max_connections=4, application_name="scrip command")
        try:
            schema.migrate()
            yield
        finally:
            database.database.close_all()
