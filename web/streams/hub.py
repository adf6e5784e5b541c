"""Event streams: one look for all streams of the process, several times a second, and none while there is no stream.

No stream holds a thread. What changed is computed once per customer, however many streams follow it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import structlog

from jobs import streams
from models import clock, database
from models.catalog import catalog
from models.streams import versions
from web.streams import events
from web.streams.events import Marks, Watch

log = structlog.get_logger()
Key = tuple[str, str]
LOOK_SECONDS = 0.15
COMMENT_SECONDS = 15.0
# A client that reads nothing for this long loses its response.
SEND_SECONDS = 30.0
MOST_STREAMS = 2000


class Stream:
    """One open stream. `changed` is set after each look that found something new of its customer."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.changed = asyncio.Event()


class Hub:
    """All streams of this process."""

    def __init__(self) -> None:
        self._streams: dict[Key, set[Stream]] = defaultdict(set)
        self._contents: dict[Key, streams.Contents] = {}
        self._looked: dict[Key, tuple[str | None, datetime]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="streams")
        self._looking: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether no further stream is accepted."""
        return sum(map(len, self._streams.values())) >= MOST_STREAMS

    def stop(self) -> None:
        """End all streams. Their clients connect again, to another process."""
        self._is_stopping = True
        for stream in [stream for streams_ in self._streams.values() for stream in streams_]:
            stream.changed.set()

    async def follow(self, watch: Watch, send: Callable[[bytes], Awaitable[None]], gone: asyncio.Future[Any]) -> None:
        """Send what changes, until the client is gone or its token expires."""
        key, stream = (watch.app, watch.customer), Stream(watch.marks)
        self._streams[key].add(stream)
        self._looked.pop(key, None)  # what changed after the first events were computed is found by the next look
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_forever())
        try:
            while not gone.done() and not self._is_stopping:
                left = (watch.until - datetime.now(timezone.utc)).total_seconds() if watch.until else COMMENT_SECONDS
                if left <= 0:
                    return
                if news := await self._next(key, stream, gone, left):
                    await asyncio.wait_for(send(news), SEND_SECONDS)
        finally:
            self._streams[key].discard(stream)
            if not self._streams[key]:
                del self._streams[key]
                self._contents.pop(key, None)
                self._looked.pop(key, None)

    async def _next(self, key: Key, stream: Stream, gone: asyncio.Future[Any], left: float) -> bytes:
        """The next events, or a comment; nothing if the client is gone."""
        changed = asyncio.ensure_future(stream.changed.wait())
        await asyncio.wait([changed, gone], timeout=min(left, COMMENT_SECONDS), return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        if self._is_stopping or gone.done():
            return b""
        if not stream.changed.is_set():
            return events.COMMENT
        stream.changed.clear()
        news, stream.marks = events.changes(self._contents[key], stream.marks)
        return news

    async def _look_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while self._streams:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                found = await loop.run_in_executor(self._thread, self._look, list(self._streams))
            except Exception as error:  # the database is away: look again
                log.warning("streams wait", error=type(error).__name__)
                continue
            for key, contents in found.items():
                if key in self._streams:
                    self._contents[key] = contents
                    for stream in self._streams[key]:
                        stream.changed.set()

    def _look(self, keys: list[Key]) -> Mapping[Key, streams.Contents]:
        """The contents of the customers of whom something may have changed. Runs in the thread of the streams."""
        now, found = clock.now(), {}
        try:
            known = versions(keys)
            for key in keys:
                version, again_at = self._looked.get(key, ("", now))
                if known.get(key) == version and now < again_at:
                    continue
                slug, customer = key
                found[key] = streams.contents(catalog.current()[slug], customer, now=now)
                self._looked[key] = (known.get(key), streams.look_again_at(found[key], now))
            return found
        finally:
            database.release()
