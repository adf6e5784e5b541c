"""The app that a command is told: one of the catalog, or the command was called wrongly."""

from __future__ import annotations

import click


def known_app(ctx: click.Context, param: click.Parameter, slug: str | None) -> str | None:
    """The callback of every argument and option that names an app; None where it may be left out and is.

    Raises:
        BadParameter: the catalog has no such app; it names those that it has.
    """
    from models.catalog import catalog

    known = catalog.current()
    if slug is not None and slug not in known:
        raise click.BadParameter(f"there is no app {slug!r}; there are {', '.join(known.apps)}")
    return slug
