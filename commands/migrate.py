"""`manage.py migrate`."""

from __future__ import annotations

import click
import orjson

import settings
from runtime import embedded


@click.command("migrate", short_help="Bring the database's schema up to date.")
@click.option("--json", "as_json", is_flag=True, help="Print what was applied as JSON.")
def command(as_json: bool) -> None:
    """Apply the migrations that the database has not had. Several nodes may do so at once."""
    with embedded.ensure(settings.settings) as servers:
        from models import database

        database.bind(servers.database_url, max_connections=2, application_name="scrip migrate")
        applied = database.migrate()
        database.database.close_all()
    if as_json:
        click.echo(orjson.dumps({"applied": applied}))
    else:
        click.echo(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
