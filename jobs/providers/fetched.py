"""What a provider has, as reconciliation reads it: events, and objects as the events that would tell of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Window:
    """How far to look back, in the provider's time. `is_whole`: also at what is older and may have changed since.

    `home_since`: what was made before that was paid elsewhere, and concerns us only if we know of it.
    """

    since: datetime
    until: datetime
    is_whole: bool
    home_since: datetime


@dataclass(frozen=True, slots=True)
class Fetched:
    """One event of the provider's, or (`is_object`) an object as an event of ours.

    `needs_asking`: it tells nothing before its provider is asked, when it is applied. `is_old`: the object was made
    before the app was at home here.
    """

    event_id: str
    type: str
    payload: dict[str, Any]
    is_object: bool = False
    needs_refetch: bool = False
    is_old: bool = False

    def with_object(self, thing: dict[str, Any]) -> Fetched:
        """The same about another copy of the object."""
        return replace(self, payload={**self.payload, "data": {"object": thing}})
