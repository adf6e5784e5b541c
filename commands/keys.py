"""`manage.py keys`: make, list and revoke API keys."""

from __future__ import annotations

import click
import orjson

from commands import servers
from commands.options import known_app
from models import clock
from models.access import keys
from models.access.keys import SCOPES


@click.group("keys", short_help="Make, list and revoke API keys.")
def command() -> None:
    """API keys. A key belongs to one app and has scopes; it is shown once, when it is made."""


@command.command("create")
@click.argument("app", callback=known_app)
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@click.option("--name", default="", help="What it is for; shown in the list.")
@click.option("--rate-limit", type=click.IntRange(min=1), help="Requests a minute; no limit if absent.")
@click.option("--json", "as_json", is_flag=True)
def create(app: str, scopes: tuple[str, ...], name: str, rate_limit: int | None, as_json: bool) -> None:
    """Make a key for APP and print it."""
    with servers.database():
        key = keys.create(app, scopes, name, rate_limit_per_minute=rate_limit, now=clock.now())
    click.echo(orjson.dumps({"app": app, "key": key, "scopes": sorted(scopes)}) if as_json else key)


@command.command("list")
@click.argument("app", required=False, callback=known_app)
@click.option("--json", "as_json", is_flag=True)
def list_(app: str | None, as_json: bool) -> None:
    """The keys of APP, or of all apps."""
    with servers.database():
        found = keys.list_page(app)
    if as_json:
        click.echo(orjson.dumps({"keys": found}))
        return
    if not found:
        click.echo("no keys yet: manage.py keys create APP --scope write --scope read")
    for key in found:
        state = f"revoked {key['revoked_at']:%Y-%m-%d %H:%M} UTC" if key["revoked_at"] else "works"
        click.echo(f"{key['id']:>5}  {key['app']}  {key['prefix']}…  {','.join(key['scopes'])}  {state}  {key['name']}")


@command.command("revoke")
@click.argument("key_id", type=int)
def revoke(key_id: int) -> None:
    """End the key KEY_ID (see `keys list`). Running web processes follow within seconds."""
    with servers.database():
        keys.revoke(key_id, now=clock.now())
    click.echo(f"key {key_id} is revoked")
