"""`manage.py replay`: retry dead events and usage reports."""

from __future__ import annotations

import click
import orjson
from rich.progress import track

from commands.support import servers
from commands.support.options import known_app


@click.command("replay", short_help="Retry dead events and usage reports.")
@click.argument("app", callback=known_app)
@click.option(
    "--event", "events_given", multiple=True, type=int, help="The id of an event, in any state. May be repeated."
)
@click.option(
    "--usage", "reports_given", multiple=True, help="The id of a dead or refused usage report. May be repeated."
)
@click.option("--dead", is_flag=True, help="All dead events and all dead usage reports of the app.")
@click.option("--json", "as_json", is_flag=True, help="Print what was replayed as JSON.")
def command(app: str, events_given: tuple[int, ...], reports_given: tuple[str, ...], dead: bool, as_json: bool) -> None:
    """Make events and usage reports of APP pending again.

    The workers apply them. Nothing is applied twice.
    """
    if not (events_given or reports_given or dead):
        raise click.UsageError("nothing to replay: give --event ID, --usage ID or --dead")
    with servers.database():
        from jobs.inbox import events
        from models import clock
        from models.inbox import events as stored_events
        from models.usage import reports as stored_reports
        from workers import main as actors
        from workers.wakeups import notify

        assert actors.broker, "the actors must be registered before a wake-up is sent"

        event_ids = [*events_given, *(stored_events.dead_ids(app) if dead else [])]
        report_ids = [*reports_given, *(stored_reports.dead_ids(app) if dead else [])]
        for event_id in track(event_ids, "events", transient=True, disable=as_json):
            events.replay(app, event_id, now=clock.now())
        for report_id in track(report_ids, "usage", transient=True, disable=as_json):
            stored_reports.replay(app, report_id, now=clock.now())
        for queue in ("inbox", "usage"):
            notify(queue)
    done = {"events": len(event_ids), "usage": len(report_ids)}
    click.echo(
        orjson.dumps(done) if as_json else f"{len(event_ids)} events and {len(report_ids)} reports are pending again"
    )
