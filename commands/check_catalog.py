"""`manage.py check-catalog`."""

from __future__ import annotations

import os
from pathlib import Path

import click
import orjson

from models.catalog import catalog, modes
from models.errors import CatalogError
from settings import settings


@click.command("check-catalog", short_help="Validate the catalog without starting anything.")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Print nothing if the catalog is valid.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(directory: Path | None, quiet: bool, as_json: bool) -> None:
    """Validate every app in DIRECTORY (default: SCRIP_CATALOG_DIR). Print each problem with file, key and reason."""
    directory = directory or settings.catalog_dir
    try:
        found = catalog.load(directory, os.environ)
        modes.check(found, settings)
    except CatalogError as error:
        if as_json:
            problems = [{"file": p.file, "key": p.key, "reason": p.reason} for p in error.extra["problems"]]
            click.echo(orjson.dumps({"ok": False, "problems": problems}))
        else:
            click.echo(str(error), err=True)
        raise click.exceptions.Exit(1) from None
    if as_json:
        click.echo(orjson.dumps({"ok": True, "apps": [app.slug for app in found]}))
    elif not quiet:
        for app in found:
            click.echo(
                f"{app.slug}: {len(app.packs)} packs, {len(app.rates)} rates, {len(app.plans)} plans; unit {app.unit}"
            )
