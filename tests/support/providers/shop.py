"""A sandbox provider that this process's Scrip talks to, and what a customer does at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.payments import checkouts
from models.catalog import catalog
from settings import settings
from tests.support.cast import ADA, app
from tests.support.providers.sandboxes import Provider, running_provider

PAGES = {"success_url": "https://app.example/thanks", "cancel_url": "https://app.example/packs"}


@contextmanager
def open_shop(folder: Path) -> Iterator[Provider]:
    """A sandbox of its own, which settings.sandbox_url leads to; its webhooks go nowhere."""
    with running_provider(folder) as provider:
        before = settings.sandbox_url
        object.__setattr__(settings, "sandbox_url", provider.url)
        try:
            yield provider
        finally:
            object.__setattr__(settings, "sandbox_url", before)


def order(**more: Any) -> dict[str, Any]:
    """The body of a checkout, checked as the web does."""
    sold = {} if {"pack", "plan", "stripe_price"} & more.keys() else {"pack": "starter"}
    return {"customer": ADA, "quantity": 1, **sold, **PAGES, **more}


def begin(*, now: datetime, slug: str = "ai-services", **more: Any) -> dict[str, Any]:
    """Open a checkout; returns the answer."""
    answer, is_new = checkouts.start(app(slug), order(**more), now=now)
    assert is_new
    return answer


def bought(provider: Provider, *, now: datetime, slug: str = "ai-services", **more: Any) -> str:
    """A pack paid at Stripe, of which we hear nothing; returns the session's id."""
    session = begin(now=now, slug=slug, **more)["url"].rpartition("/")[2]
    assert provider.pay(session).status_code < 400
    return str(session)


def change(slug: str, **changes: Any) -> None:
    """Another catalog, as after an edit and a restart."""
    apps = catalog.current().apps
    changed = type(apps[slug])(**{name: getattr(apps[slug], name) for name in apps[slug].__slots__} | changes)
    catalog.use(catalog.Catalog({**apps, slug: changed}))


def repack(slug: str, key: str, **changes: Any) -> None:
    """Change a pack of the catalog."""
    packs = catalog.current()[slug].packs
    change(slug, packs={**packs, key: replace(packs[key], **changes)})
