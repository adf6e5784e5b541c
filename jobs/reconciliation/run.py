"""Reconciliation with the payment providers, in both directions.

What a provider has and Scrip missed is applied; what Scrip credited and the provider does not have is reported. Each
list of each provider of each app is read page by page, outside any transaction. A page is a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

import structlog

from jobs.chunks import Chunk
from jobs.providers.fetched import Window
from jobs.reconciliation import missed, unbacked
from jobs.reconciliation.findings import Finding, Page
from jobs.reconciliation.sources import SOURCES, Scope
from models.catalog import catalog
from models.catalog.apps import App
from models.errors import ProviderAway, ProviderRefused
from models.payments import reconciliation

log = structlog.get_logger()

RECENT = timedelta(hours=6)
WHOLE_DAYS = 30
# Lists that are Scrip's own, beside those of the providers.
CREDITS = "credits"
DEAD = "dead events"
# Providers' times are whole seconds, and clocks differ.
SLACK = timedelta(minutes=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)
# One list: (app, provider, list).
Unit = tuple[str, str, str]


def chunks(
    *, now: datetime, lookback: timedelta, app: str | None = None, include_history: bool = False
) -> Iterator[Page]:
    """Reconcile everything, page by page; a page is complete when it is yielded.

    `include_history`: also payments from before the app's first customer or last import, as after the loss of a
    database.
    """
    after = None
    while True:
        page = chunk(now=now, lookback=lookback, app=app, after=after, is_whole=True, include_history=include_history)
        yield page
        if page.after is None:
            return
        after = page.after


def recent(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk over the last `RECENT` hours, so that a lost webhook delays a credit by minutes only."""
    return _chunk(chunk(now=now, app=app, after=after, lookback=RECENT))


def whole(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk over the last `WHOLE_DAYS` days, for which providers keep their events."""
    return _chunk(chunk(now=now, app=app, after=after, lookback=timedelta(days=WHOLE_DAYS), is_whole=True))


def _chunk(page: Page) -> Chunk:
    found = [asdict(finding) for finding in page.found]
    for finding in found:
        if finding["kind"] != "skipped":
            log.warning("reconciliation", **finding)
    return Chunk(page.counts, page.after, found)


def chunk(
    *,
    now: datetime,
    lookback: timedelta,
    app: str | None = None,
    after: dict[str, Any] | None = None,
    is_whole: bool = False,
    include_history: bool = False,
) -> Page:
    """Reconcile one page. `after`: that of the page before; the time of the first page applies to all."""
    units = list(_units(app, is_whole))
    started_at = datetime.fromisoformat(after["now"]) if after else now
    index = _index(units, after)
    page = Page(" ".join(units[index]) if units else "", total=len(units))
    if after is None:
        page.found += _skipped(app)
    if not units:
        return page
    slug, provider, part = units[index]
    scope = Scope(catalog.current()[slug], SOURCES[provider], started_at - lookback, now)
    window = _window(scope, started_at, is_whole, include_history)
    try:
        next_cursor = _look(page, scope, part, after.get("cursor") if after else None, window)
    except (ProviderAway, ProviderRefused) as error:
        page.counts["unreachable"] += 1
        page.found.append(Finding(slug, provider, "unreachable", part, error.detail))
        next_cursor, index = None, _last_of_provider(units, index)
    page.done = index if next_cursor else index + 1
    if page.done < len(units):
        page.after = {"unit": list(units[page.done]), "cursor": next_cursor, "now": started_at.isoformat()}
    return page


def _look(page: Page, scope: Scope, part: str, cursor: str | None, window: Window | None) -> str | None:
    """Reconcile one page of one list. Returns the cursor of the next page, or None at the end of the list."""
    if part == DEAD:
        return missed.check_dead_events(page, scope, cursor)
    if part == CREDITS:
        return unbacked.check_credits(page, scope, cursor)
    return missed.apply_missed(page, scope, part, cursor, window) if window else None


def _window(scope: Scope, started_at: datetime, is_whole: bool, include_history: bool) -> Window | None:
    """The period to read, from the app's first trace in Scrip at the earliest; None if it has none yet."""
    source, app = scope.source, scope.app
    first = LONG_AGO if include_history else reconciliation.first_trace(app.slug)
    if first is None:
        return None
    until = source.provider_time(app, started_at)
    home_since = source.provider_time(app, first) - SLACK
    since = until - (started_at - scope.since)
    return Window(max(since, home_since), until, is_whole, home_since)


def _units(app: str | None, is_whole: bool) -> Iterable[Unit]:
    """Every list to read, in a fixed order. With `is_whole` also credits, and dead events, which need no provider."""
    for known in _apps(app):
        for source in SOURCES.values():
            if source.is_reachable(known):
                for part in (*source.PARTS, *([CREDITS] if is_whole else [])):
                    yield known.slug, source.NAME, part
            if is_whole:
                yield known.slug, source.NAME, DEAD


def _apps(app: str | None) -> list[App]:
    return [catalog.current()[app]] if app else list(catalog.current())


def _skipped(app: str | None) -> Iterable[Finding]:
    for known in _apps(app):
        if not any(source.is_reachable(known) for source in SOURCES.values()):
            yield Finding(known.slug, "", "skipped", "", "no payment provider is configured: set its API credentials")


def _index(units: list[Unit], after: dict[str, Any] | None) -> int:
    """The list to continue with; the first one if the app has left the catalog meanwhile."""
    unit = tuple(after["unit"]) if after else None
    return units.index(unit) if unit in units else 0


def _last_of_provider(units: list[Unit], index: int) -> int:
    """The last list of the same app and provider: after a failed request, its other lists are skipped."""
    return max(place for place, unit in enumerate(units) if unit[:2] == units[index][:2] and unit[2] != DEAD)
