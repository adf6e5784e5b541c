"""Gated sessions: eligibility, start, heartbeat, end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scrip_client.base import Answer, Base, new_id, path_of


class Sessions(Base):
    def eligibility(self, customer: str) -> Answer:
        """Whether a session may start now, or why and when: `{"eligible", "reasons", "eligible_at", …}`."""
        return self._get(path_of("customers", customer, "eligibility"))

    def start_session(
        self, customer: str, *, wait: bool = False, metadata: Mapping[str, Any] | None = None, id: str | None = None
    ) -> Answer:
        """Start a session: `{"id", "state": "active", "available", "ends_by", …}`.

        With `wait`, if only the cooldown or the balance blocks the start, returns `{"id", "state": "waiting", …}`, and
        Scrip starts the session once neither does.

        Raises:
            TierRequired: the customer lacks the required tier.
            Conflict: a session is already active; `fields["session"]` is its id.
            CooldownActive: the cooldown is active.
            InsufficientCredits: the balance is too low.
        """
        return self._post("/v1/sessions", id=id or new_id(), customer=customer, wait=wait or None, metadata=metadata)

    def heartbeat(self, session_id: str) -> Answer:
        """Send a heartbeat: `{"remaining_seconds"}`. Raises Conflict if the session has ended."""
        return self._post(path_of("sessions", session_id, "heartbeat"))

    def end_session(self, session_id: str, *, seconds: int | None = None, summary: str | None = None) -> Answer:
        """End a session: `{"units", "balance", "shortfall", …}`.

        Its duration is `seconds`, or by default measured by Scrip.
        """
        return self._post(path_of("sessions", session_id, "end"), seconds=seconds, summary=summary)

    def cancel_session(self, session_id: str) -> Answer:
        """Cancel a waiting session: `{"state": "cancelled"}`."""
        return self._post(path_of("sessions", session_id, "cancel"))

    def session(self, session_id: str) -> Answer:
        """A session."""
        return self._get(path_of("sessions", session_id))

    def sessions(self, customer: str, *, state: str | None = None) -> Iterator[Answer]:
        """The customer's sessions, newest first."""
        return self._pages(path_of("customers", customer, "sessions"), "sessions", state=state)
