"""What the tests of sessions do all the time: an app with a gate, and its customers' sessions as time goes by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.catalog.catalog import Catalog

MINUTE = timedelta(minutes=1)


def gated(slug: str, **changes: Any) -> App:
    """The shipped app, with these terms of its gate changed; `on_shortfall` is the app's."""
    of_app = {name: changes.pop(name) for name in ("on_shortfall",) if name in changes}
    known = catalog.current()
    sessions = known[slug].sessions
    assert sessions
    app = replace(known[slug], sessions=replace(sessions, **changes), **of_app)
    catalog.use(Catalog(MappingProxyType({**known.apps, slug: app})))
    return app


def states(slug: str) -> list[tuple[str, str]]:
    """(id, state) of the app's sessions, oldest first."""
    return database.read("SELECT external_id, state FROM session WHERE app = %s ORDER BY id", [slug])


def held(customer: str, slug: str) -> tuple[int, int]:
    """(balance, held) of the account."""
    (row,) = database.read("SELECT balance, held FROM account WHERE app = %s AND customer = %s", [slug, customer])
    return row[0], row[1]
