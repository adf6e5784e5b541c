"""Events and objects fetched from a provider for reconciliation. An object is wrapped in the event that reports it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Window:
    """The period to reconcile, in the provider's time. `is_whole`: also older objects that may have changed since.

    `home_since`: objects created before this time were paid elsewhere and are skipped unless Scrip knows them.
    """

    since: datetime
    until: datetime
    is_whole: bool
    home_since: datetime


@dataclass(frozen=True, slots=True)
class Fetched:
    """An event of the provider, or (`is_object`) an object in an event that Scrip made for it.

    `needs_refetch`: it has no facts until the provider is called, when it is applied. `is_old`: the object was created
    before `Window.home_since`.
    """

    event_id: str
    type: str
    payload: dict[str, Any]
    is_object: bool = False
    needs_refetch: bool = False
    is_old: bool = False

    def with_object(self, thing: dict[str, Any]) -> Fetched:
        """The same event with another copy of the object."""
        return replace(self, payload={**self.payload, "data": {"object": thing}})
