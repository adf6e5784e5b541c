"""The results of reconciliation: counts, and findings that a person should look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

COUNTS = ("looked_at", "missed_events", "missed_objects", "dead", "unbacked", "unreachable")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at. `kind`: `unbacked`, `dead`, `unknown_price`, `unreachable` or `skipped`.

    An unbacked credit has its `customer`, its `units` and `payment`, the id of the payment in Scrip. An unknown price
    has the `customer` if the provider names one.
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
    """The result of one page. `place`: the app, provider and list that it belongs to.

    `done` of `total` lists are finished. `after`: where the next page starts; None after the last page.
    """

    place: str
    done: int = 0
    total: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    found: list[Finding] = field(default_factory=list)
    after: dict[str, Any] | None = None

    def add_dead(self, app: str, provider: str, events: Iterable[tuple[str, str | None]]) -> None:
        """Count and report dead events: (event id, error)."""
        for event_id, error in events:
            self.counts["dead"] += 1
            self.found.append(Finding(app, provider, "dead", event_id, error or "dead"))
