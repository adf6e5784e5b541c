"""`manage.py verify`: check the ledger's invariants."""

from __future__ import annotations

from dataclasses import asdict

import click
import orjson
from rich.progress import Progress

from commands.support import servers
from commands.support.options import known_app


@click.command("verify", short_help="Check the invariants of the ledger.")
@click.option("--app", callback=known_app, help="One app only.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(app: str | None, as_json: bool) -> None:
    """Check the nine invariants of the ledger on one snapshot of the database. Exit code 1 if one is violated."""
    with servers.database():
        from jobs import maintenance
        from models import clock

        with Progress(transient=True, disable=as_json) as bar:
            task = bar.add_task("verify", total=8)
            checks = maintenance.check_books(now=clock.now(), app=app, progress=lambda *_: bar.advance(task))
    ok = all(check.ok for check in checks)
    if as_json:
        click.echo(orjson.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}, default=str))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}  ({check.checked:,} checked)")
            for failure in check.failures:
                click.echo(f"      {failure}")
    if not ok:
        raise click.exceptions.Exit(1)
