"""Gated sessions: may it start, start, keep alive, end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scrip_client.base import Answer, Base, new_id, path_of


class Sessions(Base):
    def eligibility(self, customer: str) -> Answer:
        """Whether a session may start now, and if not why and when: `{"eligible", "reasons", "eligible_at", …}`."""
        return self._get(path_of("customers", customer, "eligibility"))

    def start_session(
        self, customer: str, *, wait: bool = False, metadata: Mapping[str, Any] | None = None, id: str | None = None
    ) -> Answer:
        """Start a session: `{"id", "state": "active", "available", "ends_by", …}`.

        With `wait`, where only cooldown or balance is in the way, it may be `{"id", "state": "waiting", …}` instead:
        Scrip starts it as soon as both allow.

        Raises:
            CooldownActive, InsufficientCredits, Forbidden (tier), Conflict (`fields["session"]` is active already).
        """
        return self._post("/v1/sessions", id=id or new_id(), customer=customer, wait=wait or None, metadata=metadata)

    def heartbeat(self, session_id: str) -> Answer:
        """Say that the session lives: `{"remaining_seconds"}`. Conflict once it has ended."""
        return self._post(path_of("sessions", session_id, "heartbeat"))

    def end_session(self, session_id: str, *, seconds: int | None = None, summary: str | None = None) -> Answer:
        """End it, by Scrip's clock or after the `seconds` that you measured: `{"units", "balance", "shortfall", …}`."""
        return self._post(path_of("sessions", session_id, "end"), seconds=seconds, summary=summary)

    def cancel_session(self, session_id: str) -> Answer:
        """Give up waiting: `{"state": "cancelled"}`."""
        return self._post(path_of("sessions", session_id, "cancel"))

    def session(self, session_id: str) -> Answer:
        """A session as it stands."""
        return self._get(path_of("sessions", session_id))

    def sessions(self, customer: str, *, state: str | None = None) -> Iterator[Answer]:
        """The customer's sessions, newest first."""
        return self._pages(path_of("customers", customer, "sessions"), "sessions", state=state)
