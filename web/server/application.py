"""The ASGI application: reads a request on the event loop, runs Flask in a thread, and sends the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from models.errors import BadRequest, Overloaded, RequestTimeout, ScripError, TooLarge
from web.http import problems
from web.server.bodies import Bodies, Limits, Receive
from web.server.environ import environ
from web.streams import events
from web.streams.events import WATCH, Watch
from web.streams.hub import SEND_SECONDS, Hub

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[bytes, bytes]]
GET, HEAD = "GET", "HEAD"


@dataclass(slots=True)
class Reply:
    """A response of Flask. `rest` yields further parts of a streamed one, each computed when it is needed."""

    status: int
    headers: Headers
    body: bytes
    rest: Iterator[bytes] | None = None
    close: Callable[[], None] | None = field(default=None, repr=False)


class Application:
    """Runs `wsgi` in `threads` threads.

    `immediate`: paths that are answered on the event loop, with what `wsgi` answers now: they work whatever the threads
    do.
    """

    def __init__(
        self, wsgi: Wsgi, *, threads: int, limits: Limits | None = None, immediate: Sequence[str] = ()
    ) -> None:
        self._wsgi = wsgi
        self._bodies = Bodies(limits or Limits())
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._hub = Hub()
        self._immediate = {path: call(wsgi, environ(_get(path), b"")) for path in immediate}

    def stop(self) -> None:
        """End the event streams, so that the server can stop. Call it on the event loop."""
        self._hub.stop()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] in self._immediate and scope["method"] in (GET, HEAD):
            await _send_whole(send, self._immediate[scope["path"]], scope["method"])
            return
        try:
            body = await self._bodies.read(receive, _header(scope, b"content-length"))
        except (BadRequest, TooLarge, RequestTimeout, Overloaded) as error:
            await self._refuse(receive, send, error)
            return
        loop = asyncio.get_running_loop()
        environment = environ(scope, body)
        reply = await loop.run_in_executor(self._threads, call, self._wsgi, environment)
        if WATCH in environment and scope["method"] == GET:
            await self._follow(environment[WATCH], reply, receive, send)
        elif reply.rest is None:
            await _send_whole(send, reply, scope["method"])
        else:
            await self._stream(loop, send, reply)

    async def _refuse(self, receive: Receive, send: Send, error: ScripError) -> None:
        """Send the refusal at once, and read what the client still sends, within bounds.

        Without a length the response ends with the last part. The server would close the connection after a response
        of known length, and the client might lose what it has not read.
        """
        reply = _whole(error)
        headers = [(name, value) for name, value in reply.headers if name != b"content-length"]
        headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        if not isinstance(error, RequestTimeout):
            await self._bodies.drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, watch: Watch, reply: Reply, receive: Receive, send: Send) -> None:
        """Send the first events, and then what changes."""
        if self._hub.is_full:
            await _send_whole(send, _whole(Overloaded("too many streams are open", retry_after=30)), GET)
            return

        async def send_part(part: bytes) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": True})

        headers = [(name, value) for name, value in reply.headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send_part(reply.body or events.COMMENT)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._hub.follow(watch, send_part, gone)
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, loop: asyncio.AbstractEventLoop, send: Send, reply: Reply) -> None:
        """Send the parts one by one. No thread is held while the client reads."""
        assert reply.rest is not None
        try:
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            part: bytes | None = reply.body
            while part is not None:
                message = {"type": "http.response.body", "body": part, "more_body": True}
                await asyncio.wait_for(send(message), SEND_SECONDS)
                part = await loop.run_in_executor(self._threads, next, reply.rest, None)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if reply.close is not None:
                await loop.run_in_executor(self._threads, reply.close)


def call(wsgi: Wsgi, environment: dict[str, Any]) -> Reply:
    """Run the WSGI application. A response whose length it does not know is streamed."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = [int(status[:3]), headers]

    parts = wsgi(environment, start_response)
    close = getattr(parts, "close", None)
    iterator = iter(parts)
    first = next(iterator, b"")
    status, given = started
    headers = _encoded(given)
    if any(name == b"content-length" for name, _ in headers):
        body = first + b"".join(iterator)
        if close is not None:
            close()
        return Reply(status, headers, body)
    return Reply(status, headers, first, iterator, close)


async def _send_whole(send: Send, reply: Reply, method: str) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    body = b"" if method == HEAD else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _whole(error: ScripError) -> Reply:
    response = problems.answer(error)
    return Reply(response.status_code, _encoded(response.headers), response.get_data())


def _encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _header(scope: Mapping[str, Any], wanted: bytes) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return found


def _get(path: str) -> dict[str, Any]:
    return {"type": "http", "method": GET, "path": path, "raw_path": path.encode(), "headers": []}
