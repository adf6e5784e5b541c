"""The providers' events in the sandbox's SQLite file: what was emitted, and the state of its delivery.

States: `waiting` (to be sent at `due_at`, in seconds of the wall clock), `delivered`, `failed` (attempts used up),
`swallowed` (listed only, never sent).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

SHOWN = ("number", "provider", "id", "type", "created", "state", "tries", "answer")


class DueEvent(NamedTuple):
    """An event to send now. `copies`: how many deliveries are left; `tries`: attempts so far."""

    number: int
    account: str
    provider: str
    body: str
    tries: int
    copies: int


class Events:
    """Queries of the event table. `rows` executes a statement and returns all its rows."""

    def __init__(self, rows: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._rows = rows

    def add(
        self,
        account: str,
        provider: str,
        id_: str,
        type_: str,
        *,
        created: int,
        body: str,
        state: str,
        due_at: float,
        copies: int,
    ) -> None:
        """Store an event. `created` is sandbox time, `due_at` wall-clock time, both in seconds."""
        self._rows(
            "INSERT INTO event (account, provider, id, type, created, body, state, due_at, copies)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(account, provider, id_, type_, created, body, state, due_at, copies),
        )

    def due(self, now: float, limit: int) -> list[DueEvent]:
        """The events to send at `now`, in order of their due time."""
        rows = self._rows(
            "SELECT number, account, provider, body, tries, copies FROM event"
            " WHERE state = 'waiting' AND due_at <= ? ORDER BY due_at, number LIMIT ?",
            *(now, limit),
        )
        return [DueEvent(*row) for row in rows]

    def next_due_at(self) -> float | None:
        """When the next waiting event is due; None if none waits."""
        ((due_at,),) = self._rows("SELECT min(due_at) FROM event WHERE state = 'waiting'")
        return due_at

    def record_attempt(self, number: int, *, state: str, due_at: float, tries: int, copies: int, answer: str) -> None:
        """Record the result of a delivery attempt."""
        self._rows(
            "UPDATE event SET state = ?, due_at = ?, tries = ?, copies = ?, answer = ? WHERE number = ?",
            *(state, due_at, tries, copies, answer, number),
        )

    def resend(self, account: str, id_: str) -> bool:
        """Make an event due again, whatever its state. Returns False if the account has no such event."""
        if self.find(account, id_) is None:
            return False
        self._rows(
            "UPDATE event SET state = 'waiting', due_at = 0, tries = 0, copies = 1 WHERE id = ? AND account = ?",
            *(id_, account),
        )
        return True

    def find(self, account: str, id_: str) -> tuple[str, str] | None:
        """The body and the state of one event, or None."""
        found = self._rows("SELECT body, state FROM event WHERE id = ? AND account = ?", id_, account)
        return (found[0][0], found[0][1]) if found else None

    def created_between(self, account: str, provider: str, since: int, before: int) -> list[tuple[str, str]]:
        """Body and state of a provider's events created from `since` to before `before`, the newest first."""
        rows = self._rows(
            "SELECT body, state FROM event WHERE account = ? AND provider = ? AND created >= ? AND created < ?"
            " ORDER BY number DESC",
            *(account, provider, since, before),
        )
        return [(body, state) for body, state in rows]

    def page(self, account: str, start: int, size: int) -> list[dict[str, Any]]:
        """A page of an account's events for people, the newest first: the columns of SHOWN, without the body."""
        rows = self._rows(
            f"SELECT {', '.join(SHOWN)} FROM event WHERE account = ? ORDER BY number DESC LIMIT ? OFFSET ?",
            *(account, size, start),
        )
        return [dict(zip(SHOWN, row, strict=True)) for row in rows]

    def count(self, account: str) -> int:
        """How many events the account has."""
        ((number,),) = self._rows("SELECT count(*) FROM event WHERE account = ?", account)
        return int(number)
