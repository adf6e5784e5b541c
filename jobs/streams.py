"""The contents of an event stream about a customer: the balance, the session and the eligibility."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.sessions import gate
from models.catalog.apps import App
from models.ledger import balances
from models.sessions import listing

# By name, in the order in which they are sent. Apps without sessions have a balance only.
Contents = dict[str, Any]
# Time alone changes them at other times only rarely (a tier that ends, a lot that is frozen).
LONGEST_PAUSE = timedelta(seconds=15)


def contents(app: App, customer: str, *, now: datetime) -> Contents:
    """The content of each event, as the API returns it. `session`: the latest one, None if there is none."""
    found: Contents = {"balance": balances.current(app, customer, now=now)}
    if app.sessions is not None:
        latest, _ = listing.list_page(app.slug, customer, limit=1)
        found["session"] = latest[0] if latest else None
        found["eligibility"] = gate.eligibility(app, customer, now=now)
    return found


def look_again_at(known: Contents, now: datetime) -> datetime:
    """When time alone may change the contents: a lot expires, or a cooldown ends."""
    expiring, eligibility = known["balance"]["expiring_next"], known.get("eligibility") or {}
    times = [expiring["at"] if expiring else None, eligibility.get("eligible_at")]
    return min([now + LONGEST_PAUSE, *(at for at in times if at is not None and at > now)])
