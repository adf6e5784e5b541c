"""Reading request bodies on the event loop: within a size, a time and the memory of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import BadRequest, Overloaded, RequestTimeout, TooLarge
from web.http.bodies import MOST_BODY_BYTES, TOO_LARGE

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Limits:
    """`pause_seconds`: between two parts of a body. `most_bytes`: of all incomplete bodies of the process."""

    body_seconds: float = 20.0
    pause_seconds: float = 5.0
    most_bytes: int = 64 * MOST_BODY_BYTES
    # What is still read of a body that was refused, so that a client that sends all of it sees the answer.
    drained_bytes: int = 8 * MOST_BODY_BYTES
    drain_seconds: float = 5.0
    drain_pause_seconds: float = 0.5


class Bodies:
    """Reads the bodies of one process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held_bytes = 0

    async def read(self, receive: Receive, content_length: bytes) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is over 1 MiB, with or without a Content-Length.
            BadRequest: it is incomplete, or not encoded as it says.
            RequestTimeout: it does not arrive in time.
            Overloaded: the process holds too much of incomplete bodies.
        """
        if content_length.isdigit() and int(content_length) > MOST_BODY_BYTES:
            raise TooLarge(TOO_LARGE)
        deadline = asyncio.get_running_loop().time() + self.limits.body_seconds
        first, more = await self._part(receive, deadline, self.limits.pause_seconds)
        return first if not more else await self._rest(receive, deadline, first)

    async def _rest(self, receive: Receive, deadline: float, first: bytes) -> bytes:
        parts, size, more = [first], len(first), True
        self.held_bytes += size
        try:
            while more:
                part, more = await self._part(receive, deadline, self.limits.pause_seconds)
                parts.append(part)
                size += len(part)
                self.held_bytes += len(part)
                if size > MOST_BODY_BYTES:
                    raise TooLarge(TOO_LARGE)
                if self.held_bytes > self.limits.most_bytes:
                    raise Overloaded("too many requests are being received; repeat this one", retry_after=1)
        finally:
            self.held_bytes -= size
        return b"".join(parts)

    async def _part(self, receive: Receive, deadline: float, pause_seconds: float) -> tuple[bytes, bool]:
        left = min(deadline - asyncio.get_running_loop().time(), pause_seconds)
        try:
            message = await asyncio.wait_for(receive(), left)
        except (TimeoutError, asyncio.TimeoutError):
            raise RequestTimeout("the request body did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise BadRequest("the request body is incomplete, or its chunks are malformed")
        return message.get("body", b""), message.get("more_body", False)

    async def drain(self, receive: Receive) -> None:
        """Read the rest of a body that was refused, within bounds: closing on unread bytes may lose the answer."""
        left = self.limits.drained_bytes
        deadline = asyncio.get_running_loop().time() + self.limits.drain_seconds
        more = True
        while more and left > 0:
            try:
                part, more = await self._part(receive, deadline, self.limits.drain_pause_seconds)
            except (BadRequest, RequestTimeout):
                return
            left -= len(part)
