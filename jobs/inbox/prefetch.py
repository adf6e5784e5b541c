"""Prefetches provider objects for pending events, concurrently, and skips an account after its first failure.

Requests run outside any transaction, and events of other apps do not wait for them. Other drains skip the events
meanwhile, by a lease that expires if this process crashes.
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
    pending: Sequence[Event], prepare: Callable[[Event], Event], *, now: datetime
) -> Iterator[tuple[int, Event | Exception]]:
    """(id, the prepared event or the error) of each event that could be leased, in the order of the responses."""
    leased = events.lease([event.id for event in pending], now=now, until=now + LEASE) if pending else set()
    mine = [event for event in pending if event.id in leased]
    if not mine:
        return
    outages: dict[tuple[str, str], ProviderAway] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(mine)), thread_name_prefix="prefetch") as pool:
        requests = {pool.submit(_prefetch, event, prepare, outages): event.id for event in mine}
        for request in as_completed(requests):
            yield requests[request], request.result()


def _prefetch(
    event: Event, prepare: Callable[[Event], Event], outages: dict[tuple[str, str], ProviderAway]
) -> Event | Exception:
    """Once a provider account fails, the rest of its events in this batch fail fast."""
    account = (event.app, event.provider)
    if account in outages:
        return outages[account]
    try:
        return prepare(event)
    except ProviderAway as error:
        outages[account] = error
        return error
    except Exception as error:
        return error
    finally:
        database.release()
