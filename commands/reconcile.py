"""`manage.py reconcile`: compare the payment providers with the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from commands.support import servers
from commands.support.options import known_app

if TYPE_CHECKING:
    from jobs.reconciliation.findings import Finding

MOST_DAYS = 365
MOST_SHOWN = 100
TOLD = {
    "unbacked": "credited without a payment at the provider; nothing was changed",
    "unknown_price": "sold for this app at a price that no plan of its catalog has; nothing was granted",
    "dead": "dead; follow the error of each event, then replay it",
    "unreachable": "not checked, because the provider did not respond; run the command again",
    "skipped": "skipped",
}


@click.command("reconcile", short_help="Compare the payment providers with the ledger.")
@click.argument("app", required=False, callback=known_app)
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, MOST_DAYS), help="Days to look back.")
@click.option(
    "--from-before",
    is_flag=True,
    help="Include payments from before the app's first customer, or before its last import.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(app: str | None, days: int, from_before: bool, as_json: bool) -> None:
    """Reconcile APP, or all apps, with the payment providers: apply what Scrip missed, and report credits without a
    payment. It is safe to repeat.

    Payments from before the app's first customer, or before its last import, are skipped. After the loss of a database,
    use --from-before to include them.

    Exit code 1 if anything needs attention.
    """
    with servers.database():
        counts, found = _run(app, days, from_before, as_json)
    if as_json:
        click.echo(orjson.dumps({"counts": dict(counts), "found": [asdict(each) for each in found]}))
    else:
        _tell(counts, found)
    if any(each.kind != "skipped" for each in found):
        raise click.exceptions.Exit(1)


def _run(app: str | None, days: int, from_before: bool, quiet: bool) -> tuple[Counter[str], list[Finding]]:
    from jobs.reconciliation import run
    from jobs.reconciliation.findings import COUNTS
    from models import clock

    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    found: list[Finding] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("reconciling", total=None)
        lookback = timedelta(days=days)
        for page in run.chunks(now=clock.now(), lookback=lookback, app=app, include_history=from_before):
            counts.update(page.counts)
            found += page.found
            bar.update(task, description=page.place or "reconciling", completed=page.done, total=page.total)
    return counts, found


def _tell(counts: Counter[str], found: list[Finding]) -> None:
    events, objects = counts["missed_events"], counts["missed_objects"]
    applied = f"{_counted(events, 'missed event')}, {_counted(objects, 'missed object')}"
    click.echo(f"looked at {_counted(counts['looked_at'], 'object')}; applied {applied}")
    for kind, told in TOLD.items():
        mine = [each for each in found if each.kind == kind]
        if mine:
            click.echo(f"{len(mine):,} {told}:")
        for each in mine[:MOST_SHOWN]:
            parts = (f"{each.app} {each.provider}".strip(), each.reference, each.detail)
            click.echo("  " + ": ".join(part for part in parts if part))
        if len(mine) > MOST_SHOWN:
            click.echo(f"  and {len(mine) - MOST_SHOWN:,} more; use --json to list all")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
