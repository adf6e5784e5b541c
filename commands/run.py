"""`manage.py run JOB`: run a scheduled job to completion."""

from __future__ import annotations

from collections import Counter

import click
import orjson
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from commands.support import servers
from commands.support.options import known_app

JOBS = (
    "expire",
    "grant-monthly",
    "release-holds",
    "settle-sessions",
    "start-waiting",
    "reconcile",
    "reconcile-recent",
    "tell-expiring",
    "verify",
    "prune",
)


@click.command("run", short_help="Run a scheduled job now.")
@click.argument("job", type=click.Choice(JOBS))
@click.option("--app", callback=known_app, help="One app only.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def command(job: str, app: str | None, as_json: bool) -> None:
    """Run JOB to completion, for one app or all, and print its counts. It is safe to repeat."""
    counts: Counter[str] = Counter()
    with servers.database():
        from jobs import runs
        from models import clock

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, transient=True, disable=as_json) as bar:
            task = bar.add_task(job, total=None)
            for step in runs.chunks(job, now=clock.now(), app=app):
                counts.update(step.counts)
                bar.update(task, description=f"{job}: {_told(counts)}")
    click.echo(orjson.dumps({"job": job, "counts": dict(counts)}) if as_json else f"{job}: {_told(counts)}")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) or "nothing to do"
