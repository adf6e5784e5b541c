"""Validation of the app that a command is called with: it must be in the catalog."""

from __future__ import annotations

import click


def known_app(ctx: click.Context, param: click.Parameter, slug: str | None) -> str | None:
    """The callback of every argument and option that names an app. Returns None if an optional one is absent.

    Raises:
        BadParameter: the app is not in the catalog; the message lists the known apps.
    """
    from models.catalog import catalog

    known = catalog.current()
    if slug is not None and slug not in known:
        raise click.BadParameter(f"unknown app {slug!r}; known apps: {', '.join(known.apps)}")
    return slug
