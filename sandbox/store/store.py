"""The sandbox's data: objects, events, idempotent responses and accounts, in one SQLite file.

Objects are JSON in the provider's format. Keys that start with an underscore are internal and never rendered.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.store.events import Events
from sandbox.store.upgrades import upgrade

Thing = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS thing (
    number INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS thing_listed ON thing (account, kind, created);
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, provider TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL, created INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, due_at REAL NOT NULL,
    copies INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, answer TEXT);
CREATE INDEX IF NOT EXISTS event_listed ON event (account, provider, created);
CREATE INDEX IF NOT EXISTS event_due ON event (due_at) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS answer (
    account TEXT NOT NULL, key TEXT NOT NULL, asked TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (account, key));
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY, deliver TEXT NOT NULL DEFAULT 'normal', late_seconds REAL NOT NULL DEFAULT 30,
    shape TEXT NOT NULL DEFAULT 'new');
"""

UNFINISHED = """
SELECT account, kind, body FROM thing
WHERE (kind = 'subscription' AND json_extract(body, '$.status') != 'canceled')
   OR (kind = 'paypal.subscription' AND json_extract(body, '$.status') = 'ACTIVE')
   OR (kind IN ('checkout.session', 'paypal.capture')
       AND (json_extract(body, '$.status') = 'open' OR json_extract(body, '$._settles_at') IS NOT NULL))
ORDER BY number
"""


PAYMENTS = """
account = ? AND (kind IN ('charge', 'paypal.sale', ?)
    OR (kind = 'checkout.session' AND json_extract(body, '$._settles_at') IS NOT NULL))
"""


@dataclass(frozen=True)
class Ways:
    """An account's delivery mode, the delay of "late", and the shape of its objects: "new" or "old" (before basil)."""

    deliver: str = "normal"
    late_seconds: float = 30.0
    shape: str = "new"


class Store:
    """One connection for all threads, one transaction at a time. That is enough for the one user of a sandbox."""

    def __init__(self, path: Path | str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.executescript(SCHEMA)
        upgrade(self.connection)
        self.lock = threading.RLock()
        self.after_commit: Callable[[], None] = lambda: None
        self.events = Events(self.rows)
        self._depth = 0

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; a nested one joins the outer one. Afterwards, `after_commit` is called."""
        with self.lock:
            if self._depth:
                yield
                return
            self.connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
        self.after_commit()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement and return all its rows."""
        with self.lock:
            return self.connection.execute(statement, values).fetchall()

    # --- objects

    def save(self, account: str, kind: str, thing: Thing, created: int) -> None:
        """Insert or update an object."""
        self.rows(
            "INSERT INTO thing (account, kind, id, created, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            *(account, kind, thing["id"], created, json.dumps(thing)),
        )

    def find(self, account: str, kind: str, id_: str) -> Thing | None:
        """An object of the account, or None."""
        found = self.rows("SELECT body FROM thing WHERE id = ? AND account = ? AND kind = ?", id_, account, kind)
        return json.loads(found[0][0]) if found else None

    def owner(self, kind: str, id_: str) -> str | None:
        """The account that has the object, or None."""
        found = self.rows("SELECT account FROM thing WHERE id = ? AND kind = ?", id_, kind)
        return found[0][0] if found else None

    def each(self, account: str, kind: str, since: int = 0, before: int = 2**53) -> list[Thing]:
        """The objects of a kind created from `since` to before `before` (seconds), the newest first."""
        found = self.rows(
            "SELECT body FROM thing WHERE account = ? AND kind = ? AND created >= ? AND created < ?"
            " ORDER BY number DESC",
            *(account, kind, since, before),
        )
        return [json.loads(body) for (body,) in found]

    def payments(self, account: str, capture: str, start: int, size: int) -> list[tuple[str, Thing]]:
        """A page of payments as (kind, object), the newest first: charges, captures, sessions with a pending transfer.

        `capture` is the kind of PayPal's captures.
        """
        found = self.rows(
            f"SELECT kind, body FROM thing WHERE {PAYMENTS} ORDER BY number DESC LIMIT ? OFFSET ?",
            *(account, capture, size, start),
        )
        return [(kind, json.loads(body)) for kind, body in found]

    def count_payments(self, account: str, capture: str) -> int:
        """How many `payments` the account has."""
        return int(self.rows(f"SELECT count(*) FROM thing WHERE {PAYMENTS}", account, capture)[0][0])

    def parts(self, account: str, kind: str, field: str, id_: str) -> list[Thing]:
        """The objects of a kind whose field ("charge", or "a.b") is `id_`, the oldest first."""
        found = self.rows(
            "SELECT body FROM thing WHERE account = ? AND kind = ? AND json_extract(body, ?) = ? ORDER BY number",
            *(account, kind, f"$.{field}", id_),
        )
        return [json.loads(body) for (body,) in found]

    def unfinished(self) -> list[tuple[str, str, Thing]]:
        """The objects that can fall due by the clock, as (account, kind, object), the oldest first."""
        found = self.rows(UNFINISHED)
        return [(account, kind, json.loads(body)) for account, kind, body in found]

    # --- accounts and answers

    def accounts(self) -> list[str]:
        """The accounts that have objects, sorted."""
        return [name for (name,) in self.rows("SELECT DISTINCT account FROM thing ORDER BY account")]

    def ways(self, account: str) -> Ways:
        """The settings of an account."""
        found = self.rows("SELECT deliver, late_seconds, shape FROM account WHERE name = ?", account)
        return Ways(*found[0]) if found else Ways()

    def set_ways(self, account: str, ways: Ways) -> None:
        """Save the settings of an account."""
        self.rows(
            "INSERT INTO account VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET deliver = excluded.deliver,"
            " late_seconds = excluded.late_seconds, shape = excluded.shape",
            *(account, ways.deliver, ways.late_seconds, ways.shape),
        )

    def answer(self, account: str, key: str) -> tuple[str, int, str] | None:
        """The stored response of an idempotency key, as (request, status, body), or None."""
        found = self.rows("SELECT asked, status, body FROM answer WHERE account = ? AND key = ?", account, key)
        return found[0] if found else None

    def keep_answer(self, account: str, key: str, request: str, status: int, body: str) -> None:
        """Store a response for later requests with the same idempotency key."""
        self.rows("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", account, key, request, status, body)
