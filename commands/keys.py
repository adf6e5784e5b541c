"""`manage.py keys`: create, list and revoke API keys."""

from __future__ import annotations

import click
import orjson

from commands.support import servers
from commands.support.options import known_app
from models import clock
from models.access import keys
from models.access.keys import SCOPES


@click.group("keys", short_help="Create, list and revoke API keys.")
def command() -> None:
    """Manage API keys. A key belongs to one app and has scopes. It is shown once, when it is created."""


@command.command("create")
@click.argument("app", callback=known_app)
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@click.option("--name", default="", help="A label, shown in the list.")
@click.option("--rate-limit", type=click.IntRange(min=1), help="Requests per minute; default: no limit.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def create(app: str, scopes: tuple[str, ...], name: str, rate_limit: int | None, as_json: bool) -> None:
    """Create a key for APP and print it."""
    with servers.database():
        key = keys.create(app, scopes, name, rate_limit_per_minute=rate_limit, now=clock.now())
    click.echo(orjson.dumps({"app": app, "key": key, "scopes": sorted(scopes)}) if as_json else key)


@command.command("list")
@click.argument("app", required=False, callback=known_app)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def list_(app: str | None, as_json: bool) -> None:
    """List the keys of APP, or of all apps."""
    with servers.database():
        found = keys.list_page(app)
    if as_json:
        click.echo(orjson.dumps({"keys": found}))
        return
    if not found:
        click.echo("no keys; create one with: manage.py keys create APP --scope write --scope read")
    for key in found:
        state = f"revoked {key['revoked_at']:%Y-%m-%d %H:%M} UTC" if key["revoked_at"] else "active"
        click.echo(f"{key['id']:>5}  {key['app']}  {key['prefix']}…  {','.join(key['scopes'])}  {state}  {key['name']}")


@command.command("revoke")
@click.argument("key_id", type=int)
def revoke(key_id: int) -> None:
    """Revoke the key KEY_ID (see `keys list`). Web processes stop accepting it within five seconds."""
    with servers.database():
        keys.revoke(key_id, now=clock.now())
    click.echo(f"key {key_id} revoked")
