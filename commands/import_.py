"""`manage.py import`: what an older system knew."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from commands import servers
from commands.options import known_app

if TYPE_CHECKING:
    from jobs.imports.balances import Report


@click.group("import", short_help="Import the balances of an older system.")
def command() -> None:
    """What an older system knew, as CSV."""


@command.command("balances")
@click.argument("app", callback=known_app)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check FILE and say what would be imported; store nothing.")
@click.option("--skip-bad", is_flag=True, help="Import the good lines and leave out the bad ones.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def balances(app: str, file: Path, dry_run: bool, skip_bad: bool, as_json: bool) -> None:
    """Give the customers of APP the balances in FILE, a CSV file with the columns customer and units, and if you like
    expires_at, reason, free_sessions_used, cooldown_until and id.

    All lines or none; running it again changes nothing. Exit code 1, and each bad line with its column, if nothing was
    imported because of them.
    """
    with servers.database():
        from jobs.imports import balances as imports
        from models import clock
        from models.catalog import catalog

        found = catalog.current()[app]
        columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
            task = bar.add_task("", total=None)
            report = imports.import_balances(
                found,
                file.read_bytes(),
                now=clock.now(),
                skip_bad=skip_bad,
                dry_run=dry_run,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    if as_json:
        told = {**asdict(report), "bad": [each._asdict() for each in report.bad]}
        click.echo(orjson.dumps({"app": found.slug, **told}))
    else:
        _tell(report, dry_run)
    if report.bad and not skip_bad:
        raise click.exceptions.Exit(1)


def _tell(report: Report, dry_run: bool) -> None:
    for bad in report.bad:
        click.echo(str(bad), err=True)
    rows = f"{_counted(report.imported, 'row')} with {_counted(report.units, 'unit')}"
    lines = len({bad.line for bad in report.bad})
    if report.stored:
        left_out = f"; {_counted(lines, 'bad line')} left out" if lines else ""
        click.echo(f"imported {rows}; {report.already:,} imported before{left_out}")
    elif dry_run:
        click.echo(f"would import {rows}; {report.already:,} imported before; {_counted(lines, 'bad line')}")
    else:
        click.echo(f"nothing imported: {_counted(lines, 'bad line')}; mend, or leave out with --skip-bad", err=True)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
