"""`manage.py call`: one API request to the running Scrip."""

from __future__ import annotations

import click

from commands.support import http
from commands.support.options import known_app
from settings import settings


@click.command("call", short_help="Send one API request to the running Scrip.")
@click.argument("method", type=click.Choice(["GET", "POST", "PATCH", "DELETE"], case_sensitive=False))
@click.argument("path")
@click.argument("body", required=False)
@click.option("--app", callback=known_app, help="Use the sandbox key of this app.")
@click.option("--key", envvar="SCRIP_KEY", help="Use this API key (default: SCRIP_KEY).")
def command(method: str, path: str, body: str | None, app: str | None, key: str | None) -> None:
    """Send METHOD PATH with BODY as JSON and print the response. Exit code 1 if the response is an error.

    For example: call GET /v1/customers/ada/balance --app clash-ai
    """
    if not path.startswith("/"):
        raise click.BadParameter(f"must start with a slash: /{path}", param_hint="PATH")
    if not key and not (app and settings.sandbox):
        raise click.UsageError("give --key KEY, or --app APP to use the sandbox key of an app")
    headers = {"Authorization": f"Bearer {key or f'sk_sandbox_{app}'}", "Content-Type": "application/json"}
    status, answer = http.send(method.upper(), path, body=body.encode() if body else None, headers=headers)
    http.echo(answer)
    if status >= 400:
        raise click.exceptions.Exit(1)
