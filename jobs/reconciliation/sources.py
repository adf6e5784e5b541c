"""The providers that reconciliation reads, and what belongs to an app there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jobs.inbox import events
from jobs.providers.facts import AnyFact
from jobs.providers.fetched import Fetched, Window
from jobs.providers.paypal import reconciliation as paypal
from jobs.providers.stripe import reconciliation as stripe
from models.catalog import catalog
from models.catalog.apps import App
from models.errors import NotOurs, Unprocessable
from models.inbox.events import Event


class Source(Protocol):
    """A provider's reconciliation module.

    `PARTS` are the lists that it can read: each returns one page, and the cursor of the next page or None.
    """

    NAME: str
    PARTS: Mapping[str, Callable[[App, Window, str | None], tuple[list[Fetched], str | None]]]

    def is_reachable(self, app: App, /) -> bool: ...
    def account(self, app: App, /) -> str: ...
    def provider_time(self, app: App, now: datetime, /) -> datetime: ...
    def completed(self, app: App, fetched: Fetched, /) -> Fetched: ...
    def named_app(self, fetched: Fetched, /) -> str | None: ...
    def why_unpaid(self, app: App, ids: tuple[str, ...], /) -> str | None: ...


SOURCES: dict[str, Source] = {source.NAME: source for source in (stripe, paypal)}


@dataclass(frozen=True, slots=True)
class Scope:
    """One app at one provider. `since`: the start of the period that is reconciled; `now`: the time of this chunk."""

    app: App
    source: Source
    since: datetime
    now: datetime

    @property
    def key(self) -> tuple[str, str]:
        """(app, provider), as stored."""
        return self.app.slug, self.source.NAME

    def is_shared(self) -> bool:
        """Whether another app of the catalog uses the same account of the provider."""
        account = self.source.account(self.app)
        return any(
            self.source.account(other) == account
            for other in catalog.current()
            if other.slug != self.app.slug and self.source.is_reachable(other)
        )

    def facts_of(self, fetched: Fetched) -> list[AnyFact] | None:
        """The facts of an event; [] if it does not concern the app, None if it cannot be applied."""
        event = Event(0, *self.key, fetched.event_id, fetched.type, fetched.payload, self.now)
        try:
            return list(events.PROVIDERS[self.source.NAME].facts_of(self.app, event))
        except NotOurs:
            return []
        except Unprocessable:
            return None
