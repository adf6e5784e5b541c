"""Reconciliation, both ways: what the provider has and we never heard of is applied; what we credited and the provider
does not have is reported, and nothing is changed for it.

What was missed is stored as the event that would have told of it, and goes the way of every event: so it counts once,
whatever comes late, and however often this runs. It asks in pages, outside of any transaction; a page is a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import orjson
import structlog

from jobs.chunks import Chunk
from jobs.inbox import events
from jobs.providers.facts import AnyFact
from jobs.providers.fetched import Fetched, Window
from jobs.providers.paypal import reconciliation
from jobs.providers.stripe import reconciliation as stripe_reconcile
from jobs.reconciliation import facts as reconcile_facts
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.errors import NotOurs, ProviderAway, ProviderRefused, Unprocessable
from models.inbox.events import Event
from models.payments import reconciliation as reconciling

log = structlog.get_logger()

RECENT = timedelta(hours=6)
WHOLE_DAYS = 30
CREDITS = "credits"
DEAD = "dead events"
CREDITS_AT_ONCE = 20
DEAD_AT_ONCE = 100
MOST_BATCHES = 200
# Providers' times are whole seconds, and no two clocks are the same.
SLACK = timedelta(minutes=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)
COUNTS = ("looked_at", "missed_events", "missed_objects", "dead", "unbacked", "unreachable")
Unit = tuple[str, str, str]


class Source(Protocol):
    """What a provider's module of reconciliation has. `PARTS` are its lists: each gives a page and where it goes on."""

    NAME: str
    PARTS: Mapping[str, Callable[[App, Window, str | None], tuple[list[Fetched], str | None]]]

    def is_reachable(self, app: App) -> bool: ...
    def account(self, app: App) -> str: ...
    def now_there(self, app: App, now: datetime) -> datetime: ...
    def completed(self, app: App, told: Fetched) -> Fetched: ...
    def named_app(self, told: Fetched) -> str | None: ...
    def why_unpaid(self, app: App, ids: tuple[str, ...]) -> str | None: ...


SOURCES: dict[str, Source] = {source.NAME: source for source in (stripe_reconcile, reconciliation)}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something for a person to look at. `kind` is `unbacked`, `dead`, `unknown_price`, `unreachable` or `skipped`.

    An unbacked credit has its `customer`, its `units` and our id of its `payment`; an unknown price has the `customer`.
    """

    app: str
    provider: str
    kind: str
    reference: str
    detail: str
    customer: str | None = None
    units: int | None = None
    payment: int | None = None


@dataclass(slots=True)
class Page:
    """What one page came to. `done` of `total` lists are finished; `after` is where to go on, None at the end."""

    place: str
    done: int = 0
    total: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    found: list[Finding] = field(default_factory=list)
    after: dict[str, Any] | None = None


def chunks(*, now: datetime, back: timedelta, app: str | None = None, is_from_before: bool = False) -> Iterator[Page]:
    """All chunks, the whole account included, each done when it is yielded.

    `is_from_before`: also what was paid before the app was at home here, as after the loss of a database.
    """
    after = None
    while True:
        it = chunk(now=now, back=back, app=app, after=after, is_whole=True, is_from_before=is_from_before)
        yield it
        if it.after is None:
            return
        after = it.after


def recent(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk over the last hours: a webhook that never came is credit within minutes all the same."""
    return _chunk(chunk(now=now, app=app, after=after, back=RECENT))


def whole(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk over as many days as providers keep their events."""
    return _chunk(chunk(now=now, app=app, after=after, back=timedelta(days=WHOLE_DAYS), is_whole=True))


def _chunk(page: Page) -> Chunk:
    found = [asdict(finding) for finding in page.found]
    for finding in found:
        if finding["kind"] != "skipped":
            log.warning("reconciliation", **finding)
    return Chunk(page.counts, page.after, found)


def chunk(
    *,
    now: datetime,
    back: timedelta,
    app: str | None = None,
    after: dict[str, Any] | None = None,
    is_whole: bool = False,
    is_from_before: bool = False,
) -> Page:
    """One page of one list of one app's provider, and where the next one is. `now` of the first chunk holds for all."""
    units = list(_units(app, is_whole))
    began_at = datetime.fromisoformat(after["now"]) if after else now
    index = _index(units, after)
    it = Page(" ".join(units[index]) if units else "", total=len(units))
    if after is None:
        it.found += _skipped(app)
    if not units:
        return it
    slug, provider, part = units[index]
    source, mine = SOURCES[provider], catalog.current()[slug]
    cursor = after.get("cursor") if after else None
    window = _window(mine, source, began_at, back, is_whole, is_from_before)
    try:
        if part == DEAD:
            following = _look_at_dead(it, mine, source, cursor, began_at - back)
        elif part == CREDITS:
            following = _look_at_credits(it, mine, source, cursor, began_at - back, now)
        else:
            following = _look(it, mine, source, part, cursor, window, began_at - back, now) if window else None
    except (ProviderAway, ProviderRefused) as error:
        it.counts["unreachable"] += 1
        it.found.append(Finding(slug, provider, "unreachable", part, error.detail))
        following, index = None, _last_of(units, index)
    it.done = index if following else index + 1
    if it.done < len(units):
        it.after = {"unit": list(units[it.done]), "cursor": following, "now": began_at.isoformat()}
    return it


def _window(
    app: App, source: Source, began_at: datetime, back: timedelta, is_whole: bool, is_from_before: bool
) -> Window | None:
    """How far to look back: no further than the app is at home here; None where it is not yet."""
    until = source.now_there(app, began_at)
    first = LONG_AGO if is_from_before else reconciling.first_trace(app.slug)
    if first is None:
        return None
    home_since = source.now_there(app, first) - SLACK
    return Window(max(until - back, home_since), until, is_whole, home_since)


def _units(app: str | None, is_whole: bool) -> Iterable[Unit]:
    """Every list of every provider of the apps, in a fixed order; where all is looked at, our own credits too, and the
    events that are dead, which needs no provider.
    """
    for each in _apps(app):
        for source in SOURCES.values():
            if source.is_reachable(each):
                for part in (*source.PARTS, *([CREDITS] if is_whole else [])):
                    yield each.slug, source.NAME, part
            if is_whole:
                yield each.slug, source.NAME, DEAD


def _apps(app: str | None) -> list[App]:
    return [catalog.current()[app]] if app else list(catalog.current())


def _skipped(app: str | None) -> Iterable[Finding]:
    for each in _apps(app):
        if not any(source.is_reachable(each) for source in SOURCES.values()):
            yield Finding(each.slug, "", "skipped", "", "no provider is set up: there is no key to ask with")


def _index(units: list[Unit], after: dict[str, Any] | None) -> int:
    """Where to go on; from the start where the app has left the catalog meanwhile."""
    unit = tuple(after["unit"]) if after else None
    return units.index(unit) if unit in units else 0


def _last_of(units: list[Unit], index: int) -> int:
    """The last list of the same provider of the same app: one that gives no answer is not asked for the others."""
    return max(place for place, unit in enumerate(units) if unit[:2] == units[index][:2] and unit[2] != DEAD)


def _look(
    page: Page,
    app: App,
    source: Source,
    part: str,
    cursor: str | None,
    window: Window,
    since: datetime,
    now: datetime,
) -> str | None:
    database.release()
    told, following = source.PARTS[part](app, window, cursor)
    page.counts["looked_at"] += len(told)
    missed = _missed(app, source, told, now)
    for each in missed:
        complete = source.completed(app, each)
        if events.receive(app.slug, source.NAME, each.event_id, each.type, _written(complete), now=now):
            page.counts["missed_objects" if each.is_object else "missed_events"] += 1
    if missed:
        _apply_pending(now)
    if window.is_whole:
        _tell_unknown_prices(page, app, source, told, since, now)
    elif missed:
        _tell_dead(
            page, app, source, reconciling.dead_events(app.slug, source.NAME, [each.event_id for each in missed])
        )
    return following


def _written(told: Fetched) -> str:
    return orjson.dumps(told.payload).decode()


def _missed(app: App, source: Source, told: list[Fetched], now: datetime) -> list[Fetched]:
    """What of it we have to hear of, the oldest first; what we know of is noted as seen."""
    known = reconciling.known_events(app.slug, source.NAME, [each.event_id for each in told])
    is_shared = _is_shared(app, source)
    missed = []
    seen: set[str] = set()
    for each in reversed(told):
        facts = _facts(app, source, each, now)
        if facts:
            seen |= reconcile_facts.paid_ids(facts)
        if each.event_id not in known and _is_for(app, source, each, facts, is_shared):
            missed.append(each)
    reconciling.confirm(app.slug, source.NAME, seen, now=now)
    return missed


def _is_for(app: App, source: Source, told: Fetched, facts: list[AnyFact] | None, is_shared: bool) -> bool:
    """Whether it concerns this app, and (an object) is news.

    On an account that several apps share, what names no app is an app's only where we know it otherwise.
    """
    named = source.named_app(told)
    is_named = named == app.slug
    if told.needs_refetch:
        return is_named or (named is None and not is_shared)
    if told.is_object:
        return any(
            reconcile_facts.is_understood(app, fact)
            and (is_named or not is_shared or reconcile_facts.concerns(app, fact))
            and (not told.is_old or reconcile_facts.is_known(app, fact))
            and reconcile_facts.is_news(fact)
            for fact in facts or []
        )
    if is_named or not is_shared:
        return facts is None or bool(facts)
    return any(reconcile_facts.concerns(app, fact) for fact in facts or [])


def _is_shared(app: App, source: Source) -> bool:
    mine = source.account(app)
    return any(
        source.account(other) == mine
        for other in catalog.current()
        if other.slug != app.slug and source.is_reachable(other)
    )


def _facts(app: App, source: Source, told: Fetched, now: datetime) -> list[AnyFact] | None:
    """What it tells; nothing where it is none of ours, None where it cannot be understood."""
    event = Event(0, app.slug, source.NAME, told.event_id, told.type, told.payload, now)
    try:
        return list(events.PROVIDERS[source.NAME].facts_of(app, event))
    except NotOurs:
        return []
    except Unprocessable:
        return None


def _apply_pending(now: datetime) -> None:
    for _ in range(MOST_BATCHES):
        if not events.apply_pending(now=now):
            break


def _tell_dead(page: Page, app: App, source: Source, dead: Iterable[tuple[str, str | None]]) -> None:
    for event_id, error in dead:
        page.counts["dead"] += 1
        page.found.append(Finding(app.slug, source.NAME, "dead", event_id, error or "dead"))


def _tell_unknown_prices(
    page: Page, app: App, source: Source, told: list[Fetched], since: datetime, now: datetime
) -> None:
    """What names this app and is sold at a price that no plan of it has. On an account there may be others, of other
    apps or for other things: they name none. What a dead event tells of is not told again.
    """
    for each in told:
        if not each.is_object or each.is_old or source.named_app(each) != app.slug:
            continue
        for fact in _facts(app, source, each, now) or []:
            reference, detail = reconcile_facts.of_no_plan(app, fact) or ("", "")
            if reference and not reconciling.has_dead_event_about(app.slug, source.NAME, reference, since=since):
                customer = getattr(fact, "customer", None)
                page.found.append(Finding(app.slug, source.NAME, "unknown_price", reference, detail, customer=customer))


def _look_at_dead(page: Page, app: App, source: Source, cursor: str | None, since: datetime) -> str | None:
    """Nothing is well while an event is dead, whoever tried to apply it: this run or the webhook's own."""
    rows = reconciling.dead_since(app.slug, source.NAME, since=since, after=int(cursor or 0), limit=DEAD_AT_ONCE)
    _tell_dead(page, app, source, [(event_id, error) for _, event_id, error in rows])
    return str(rows[-1][0]) if len(rows) == DEAD_AT_ONCE else None


def _look_at_credits(
    page: Page, app: App, source: Source, cursor: str | None, since: datetime, now: datetime
) -> str | None:
    """The other way: each credited payment that no list has shown is asked for by its id."""
    rows = reconciling.unconfirmed(app.slug, source.NAME, since=since, after=int(cursor or 0), limit=CREDITS_AT_ONCE)
    for row in rows:
        reason = source.why_unpaid(app, row.ids)
        if reason is None:
            reconciling.confirm(app.slug, source.NAME, [row.reference], now=now)
            continue
        page.counts["unbacked"] += 1
        detail = f"payment {row.id} of {row.customer!r} credited {row.units} units, but {reason}"
        who: dict[str, Any] = {"customer": row.customer, "units": row.units, "payment": row.id}
        page.found.append(Finding(app.slug, source.NAME, "unbacked", row.reference, detail, **who))
    page.counts["looked_at"] += len(rows)
    return str(rows[-1].id) if len(rows) == CREDITS_AT_ONCE else None
