"""Long jobs run in chunks, so that a crash loses one chunk at most and a worker is not blocked for long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """The result of one chunk. `after`: where the next chunk continues; None if the job is finished.

    `found`: findings for an operator, ready for JSON.
    """

    counts: dict[str, int]
    after: Any = None
    found: list[dict[str, Any]] = field(default_factory=list)
