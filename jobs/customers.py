"""What a client may say about a customer: tier, email, timezone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from models import customers, database
from models.catalog.apps import App
from models.errors import Invalid


def patch(app: App, customer: str, changes: dict[str, str | None], *, now: datetime) -> dict[str, Any]:
    """Set those of `tier`, `email` and `timezone` that `changes` has; None clears. Returns the customer as GET does.

    A customer that is new is made. The tier of a plan that is active or trialing stands before the one set here.

    Raises:
        Invalid: the timezone is none that the tz database knows.
    """
    zone = changes.get("timezone")
    if zone is not None and zone not in available_timezones():
        raise Invalid([("timezone", f"unknown timezone {zone!r}; it is a name such as Europe/Berlin")])
    database.transaction(lambda conn: customers.change(conn, app.slug, customer, changes, now=now))
    return customers.get(app, customer, now=now)
