"""`manage.py migrate`."""

from __future__ import annotations

import click
import orjson

import settings
from runtime import embedded


@click.command("migrate", short_help="Migrate the database schema.")
@click.option("--json", "as_json", is_flag=True, help="Print the applied migrations as JSON.")
def command(as_json: bool) -> None:
    """Apply all pending migrations. Several nodes can run this at the same time."""
    with embedded.ensure(settings.settings) as servers:
        from models import database, schema

        database.bind(servers.database_url, max_connections=2, application_name="scrip migrate")
        applied = schema.migrate()
        database.database.close_all()
    if as_json:
        click.echo(orjson.dumps({"applied": applied}))
    else:
        click.echo(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
