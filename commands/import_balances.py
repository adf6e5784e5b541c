"""`manage.py import`: data of another system."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from commands.support import servers
from commands.support.options import known_app

if TYPE_CHECKING:
    from jobs.imports.balances import Report


@click.group("import", short_help="Import balances from another system.")
def command() -> None:
    """Import CSV data from another system."""


@command.command("balances")
@click.argument("app", callback=known_app)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check FILE and print what would be imported; store nothing.")
@click.option("--skip-bad", is_flag=True, help="Import the valid lines and skip the invalid ones.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def balances(app: str, file: Path, dry_run: bool, skip_bad: bool, as_json: bool) -> None:
    """Import the balances in FILE for the customers of APP.

    FILE is CSV with the columns customer and units, and optionally expires_at, reason, free_sessions_used,
    cooldown_until and id. All lines are imported, or none; repeating an import changes nothing. If lines are invalid,
    each is printed with its column, nothing is imported, and the exit code is 1.
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
        click.echo(f"nothing imported: {_counted(lines, 'bad line')}; correct the file, or use --skip-bad", err=True)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
