"""Server-sent events: the format, and which events a client has seen.

The id of an event has a mark of each content as it was sent last, so that a client that reconnects with `Last-Event-ID`
is sent only what changed meanwhile.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from web.http.answers import dumps

MEDIA_TYPE = "text/event-stream"
COMMENT = b": still here\n\n"
# The environment's name of what a stream goes on to watch, for web/server.
WATCH = "scrip.watch"
NAMES = ("balance", "session", "eligibility")
SEPARATOR = "-"
Marks = dict[str, str]


@dataclass(frozen=True, slots=True)
class Watch:
    """A stream that goes on after its first events. It ends at `until`: the expiry of the token."""

    app: str
    customer: str
    marks: Marks
    until: datetime | None


def seen(last_event_id: str) -> Marks:
    """The marks in the id of the last event that the client saw; none if Scrip did not create it."""
    marks = last_event_id.split(SEPARATOR)
    return dict(zip(NAMES, marks, strict=True)) if len(marks) == len(NAMES) else {}


def changes(contents: Mapping[str, Any], marks: Marks) -> tuple[bytes, Marks]:
    """(The events of those contents that differ from what was seen, the marks after them)."""
    found, marks = [], dict(marks)
    for name, content in contents.items():
        mark = _mark(name, content)
        if marks.get(name) != mark:
            marks[name] = mark
            id_ = SEPARATOR.join(marks.get(each, "") for each in NAMES)
            found.append(b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), id_.encode(), dumps(content)))
    return b"".join(found), marks


def _mark(name: str, content: Any) -> str:
    kept = content
    if name == "balance":
        kept = {**content, "as_of": None}
    elif name == "eligibility":
        # They differ at each look, also `eligible_at` while it is now.
        is_later = content["eligible_at"] and content["eligible_at"] > content["server_time"]
        kept = {**content, "server_time": None, "cooldown_seconds": None}
        kept["eligible_at"] = content["eligible_at"] if is_later else bool(content["eligible_at"])
    return f"{zlib.crc32(dumps(kept)):08x}"
