"""Long jobs in short steps, so that a crash loses one chunk and a worker is never held for long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk did. `after` is where the next chunk goes on; None when the job is finished.

    `found`: what a person should look at, ready for an answer.
    """

    counts: dict[str, int]
    after: Any = None
    found: list[dict[str, Any]] = field(default_factory=list)
