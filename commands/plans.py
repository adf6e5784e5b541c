"""`manage.py plans`: why a subscription was granted its units, and compute all subscriptions again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from commands.support import servers
from commands.support.options import known_app

if TYPE_CHECKING:
    from jobs.plans.recompute import Result


@click.group("plans", short_help="Explain subscriptions, or compute them again.")
def command() -> None:
    """Explain what a subscription is owed, or compute all subscriptions again (docs/plans.md)."""


@command.command("explain")
@click.argument("subscription")
@click.option("--app", callback=known_app, help="The app, if several have this subscription.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def explain(subscription: str, app: str | None, as_json: bool) -> None:
    """Print what was reported of SUBSCRIPTION, what it is owed by that, and what was granted.

    SUBSCRIPTION is the provider's id (sub_..., I-...), or Scrip's number.
    """
    with servers.database():
        from jobs.plans import explain as explained
        from models import clock, database

        found = explained.explain(database.live_connection(), subscription, now=clock.now(), app=app)
    if as_json:
        click.echo(orjson.dumps(found, default=str))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    row, owner = found["subscription"], found["owner"]
    items = ", ".join(f"{one['quantity']} × {one['plan']} ({one['units']:,} units)" for one in row["items"])
    ends = next((f", {what} {_time(row[key])}" for key, what in ENDS if row[key]), "")
    return [
        f"subscription {row['id']}: {row['provider_id']} at {row['provider']}, app {row['app']}",
        f"status    {row['status']}{ends}",
        f"items     {items or 'none that belongs to a plan'}",
        f"customer  {owner['customer'] or owner['problem']}",
        *(f"          {one['customer']} since {_time(one['since'])}" for one in owner["changes"][1:]),
        *_section("facts", [_fact(one) for one in found["facts"]]),
        *_section("bills", [_bill(one) for one in found["bills"]]),
        *_section("owed", [_owed(one) for one in found["owed"]]),
        *_section("lots", [_lot(one) for one in found["lots"]]),
        *_section("due", [f"{_time(one['due'])}  {one['units']:,} {one['plan']}" for one in found["due"]]),
        *_section("clawbacks", [f"entry {one['entry']}: to {one['target_units']:,}" for one in found["clawbacks"]]),
        *_section("notes", found["notes"]),
    ]


ENDS = (("ended_at", "ended"), ("cancel_at", "ends"), ("trial_end", "trial until"))


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def _fact(one: dict[str, Any]) -> str:
    content = one["content"]
    names = [item.get("price") or "a plan" for item in content.get("items", ())]
    said = content.get("status") or content.get("state") or ""
    what = " ".join(filter(None, (one["kind"], content.get("bill"), said, ", ".join(names))))
    return f"{_time(content.get('at'))}  {what}; received {_time(one['received_at'])} as {one['event'] or one['key']}"


def _bill(one: dict[str, Any]) -> str:
    returned = f", {one['returned_minor']} returned" if one["returned_minor"] else ""
    credited = f", {one['credited_minor']} credited" if one["credited_minor"] else ""
    total = f"{one['total_minor']} {one['currency'] or ''}".strip()
    return f"{_time(one['at'])}  {one['bill']} {one['state']}, {total}{credited}{returned}, {len(one['lines'])} lines"


def _owed(one: dict[str, Any]) -> str:
    refunded = f" of {one['whole_units']:,}" if one["units"] != one["whole_units"] else ""
    period = f"{_time(one['start'])} to {_time(one['end'])}"
    return f"{period}  {one['units']:,}{refunded}  {one['why']} ({one['customer']})"


def _lot(one: dict[str, Any]) -> str:
    clawed = f", {one['clawed']:,} clawed back" if one["clawed"] else ""
    expired = f", {one['expired']:,} expired" if one["expired"] else ""
    frozen = ", frozen" if one["is_frozen"] else ""
    return f"{_time(one['start'])}  {one['granted']:,} {one['plan']}{clawed}{expired}{frozen}; entry {one['entry_id']}"


def _time(value: Any) -> str:
    return str(value)[:16].replace("T", " ") if value else "-"


@command.command("recompute")
@click.option("--app", callback=known_app, help="One app only.")
@click.option("--dry-run", is_flag=True, help="List the differences; store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def recompute(app: str | None, dry_run: bool, as_json: bool) -> None:
    """Compute all subscriptions again from their facts, and post what differs from their lots.

    It is safe to repeat: a second run finds nothing. Exit code 0, with or without differences; 1 if a subscription
    could not be computed.
    """
    with servers.database():
        from jobs.plans import recompute as again
        from models import clock

        console = Console(stderr=True)
        found: list[Result] = []
        columns = (TextColumn("computing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
            task, done = bar.add_task("", total=again.count(app)), 0
            for result in again.results(now=clock.now(), app=app, dry_run=dry_run):
                done += 1
                bar.update(task, completed=done)
                if result.differences or result.error:
                    found.append(result)
    _show(found, done, dry_run, as_json)
    if any(result.error for result in found):
        raise click.exceptions.Exit(1)


def _show(found: list[Result], done: int, dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps({"subscriptions": done, "dry_run": dry_run, "found": found}))
        return
    changed = sum(bool(result.differences) for result in found)
    click.echo(f"computed {done:,} subscriptions; {changed:,} {'would change' if dry_run else 'changed'}")
    for result in found:
        for text in [*result.differences, *([result.error] if result.error else [])]:
            click.echo(f"  {result.app}: {text}")
