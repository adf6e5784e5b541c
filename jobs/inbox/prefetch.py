"""Asking providers about events before they are applied: several at once, and none that is away again and again.

An answer takes as long as it takes. No transaction waits for it, nor do the events of other apps; other drains leave
the events alone meanwhile, by a lease that ends by itself if this process does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta

from models import database
from models.errors import ProviderAway
from models.inbox import events
from models.inbox.events import Event

AT_ONCE = 8
LEASE = timedelta(seconds=60)


def prefetched(
    asked: Sequence[Event], prepare: Callable[[Event], Event], *, now: datetime
) -> Iterator[tuple[int, Event | Exception]]:
    """(id, the event as its provider's answer makes it, or the error), in the order in which the answers come."""
    mine = events.lease([event.id for event in asked], now=now, until=now + LEASE) if asked else set()
    ours = [event for event in asked if event.id in mine]
    if not ours:
        return
    away: dict[tuple[str, str], ProviderAway] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(ours)), thread_name_prefix="asking") as pool:
        waiting = {pool.submit(_prefetch, event, prepare, away): event.id for event in ours}
        for answer in as_completed(waiting):
            yield waiting[answer], answer.result()


def _prefetch(
    event: Event, prepare: Callable[[Event], Event], away: dict[tuple[str, str], ProviderAway]
) -> Event | Exception:
    """Whoever gave one event no answer is not asked about the next one in this round."""
    account = (event.app, event.provider)
    if account in away:
        return away[account]
    try:
        return prepare(event)
    except ProviderAway as error:
        away[account] = error
        return error
    except Exception as error:
        return error
    finally:
        database.release()
