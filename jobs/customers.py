"""Changes to a customer's fields: tier, email, timezone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from models import customers, database
from models.catalog.apps import App
from models.errors import Invalid


def patch(app: App, customer: str, changes: dict[str, str | None], *, now: datetime) -> dict[str, Any]:
    """Set those of `tier`, `email` and `timezone` that `changes` has; None clears. Returns the customer as GET does.

    Creates a customer that is new. The tier of an active or trialing plan takes precedence over the one set here.

    Raises:
        Invalid: the timezone is not in the tz database.
    """
    zone = changes.get("timezone")
    if zone is not None and zone not in available_timezones():
        raise Invalid([("timezone", f"unknown timezone {zone!r}; use a name such as Europe/Berlin")])
    database.transaction(lambda conn: customers.change(conn, app.slug, customer, changes, now=now))
    return customers.get(app, customer, now=now)
