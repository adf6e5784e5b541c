"""Checkouts as stored: what was promised when it was sold, and where the customer pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models import database, durations
from models.catalog.apps import Pack
from models.database import Connection

COLUMNS = (
    "id, external_id, customer, content, pack, plan, quantity, units, price_minor, currency, expires_after, refundable,"
    " title, stripe_price, email, success_url, cancel_url, provider, provider_id, url, state, payment_id, created_at"
)
INSERT = """
INSERT INTO checkout (app, external_id, customer, content, pack, plan, quantity, units, price_minor, currency,
                      expires_after, refundable, title, stripe_price, email, success_url, cancel_url, provider,
                      created_at, updated_at)
VALUES (%(app)s, %(external_id)s, %(customer)s, %(content)s::jsonb, %(pack)s, %(plan)s, %(quantity)s, %(units)s,
        %(price_minor)s, %(currency)s, %(expires_after)s, %(refundable)s, %(title)s, %(stripe_price)s, %(email)s,
        %(success_url)s, %(cancel_url)s, %(provider)s, %(now)s, %(now)s)
ON CONFLICT (app, external_id) DO NOTHING
"""
OPEN = """
UPDATE checkout SET provider_id = %s, url = %s, state = 'open', updated_at = %s
WHERE app = %s AND external_id = %s AND state = 'new'
"""
PAID = """
UPDATE checkout SET state = 'paid', payment_id = coalesce(payment_id, %s), updated_at = %s
WHERE id = %s AND (state <> 'paid' OR payment_id IS NULL)
"""
# What is further along stays so, whatever is told later: so any order of events ends the same.
STATES = ("new", "open", "expired", "pending", "failed", "paid")
ADVANCE = """
UPDATE checkout SET state = %(state)s, updated_at = %(now)s
WHERE id = %(id)s AND array_position(%(states)s::text[], state) < array_position(%(states)s::text[], %(state)s)
"""
PROMISED = f"""
SELECT {COLUMNS} FROM checkout
WHERE app = %(app)s AND (external_id = %(id)s OR (provider = %(provider)s AND provider_id = ANY(%(ids)s::text[])))
ORDER BY external_id = %(id)s DESC, id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One checkout. `units`, `price_minor` and `expires_after` are of one pack, or of one month of the plan."""

    row_id: int
    id: str
    customer: str
    content: dict[str, Any]
    pack: str | None
    plan: str | None
    quantity: int
    units: int
    price_minor: int
    currency: str
    expires_after: str | None
    refundable: bool
    title: str
    stripe_price: str | None
    email: str | None
    success_url: str
    cancel_url: str
    provider: str
    provider_id: str | None
    url: str | None
    state: str
    payment_id: int | None
    created_at: datetime

    def is_paid_by(self, customer: str | None, order: str | None) -> bool:
        """Whether a payment that names it is its own: for its pack, by nobody but its customer, of its own order.

        Whoever made the order may have named any checkout of ours.
        """
        is_its_order = order is None or self.provider_id in (None, order)
        return self.pack is not None and customer in (None, self.customer) and is_its_order

    def sold_pack(self) -> Pack | None:
        """The pack as it was sold; None for a plan."""
        if self.pack is None:
            return None
        lifetime = durations.parse(self.expires_after) if self.expires_after else None
        return Pack(
            self.pack, self.units, self.price_minor, self.currency, expires_after=lifetime, refundable=self.refundable
        )


def insert(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a new checkout; False if its id is taken. `values` are its columns, and `now`."""
    stored = {**values, "content": orjson.dumps(values["content"]).decode()}
    return conn.execute(INSERT, stored).rowcount == 1


def find(app: str, checkout_id: str) -> Checkout | None:
    """The checkout that its client named so."""
    rows = database.read(f"SELECT {COLUMNS} FROM checkout WHERE app = %s AND external_id = %s", [app, checkout_id])
    return Checkout(*rows[0]) if rows else None


def promised(conn: Connection, app: str, provider: str, checkout_id: str | None, ids: Sequence[str]) -> Checkout | None:
    """What was promised to whom a payment is of, read in the transaction that keeps the promise; None where the
    payment is of no checkout of ours.

    A payment names its checkout by our id, or it is known by the provider's id of the checkout, among `ids`.
    """
    values = {"app": app, "id": checkout_id or "", "provider": provider, "ids": list(ids)}
    row = conn.execute(PROMISED, values, prepare=True).fetchone()
    return Checkout(*row) if row else None


def named(app: str, provider: str, checkout_id: str | None, ids: Sequence[str]) -> Checkout | None:
    """The same before there is a payment, outside of any transaction."""
    values = {"app": app, "id": checkout_id or "", "provider": provider, "ids": list(ids)}
    rows = database.read(PROMISED, values)
    return Checkout(*rows[0]) if rows else None


def is_news(app: str, checkout_id: str, state: str) -> bool:
    """Whether there is such a checkout, and it is not as far along as `state`."""
    it = find(app, checkout_id)
    return it is not None and STATES.index(it.state) < STATES.index(state)


def of_payment(payment_id: int) -> Checkout | None:
    """The checkout that a payment paid."""
    rows = database.read(f"SELECT {COLUMNS} FROM checkout WHERE payment_id = %s ORDER BY id LIMIT 1", [payment_id])
    return Checkout(*rows[0]) if rows else None


def complete(app: str, checkout_id: str, provider_id: str, url: str, *, now: datetime) -> bool:
    """Write down where the customer pays; False if another request did so first, or the payment came already."""
    return database.write(OPEN, [provider_id, url, now, app, checkout_id]).rowcount == 1


def forget(app: str, checkout_id: str) -> None:
    """Drop a checkout that its provider refused to open: a refusal stores nothing."""
    database.write("DELETE FROM checkout WHERE app = %s AND external_id = %s AND state = 'new'", [app, checkout_id])


def mark_paid(conn: Connection, row_id: int, payment_id: int | None, *, now: datetime) -> None:
    """Its payment has come, in the transaction that credits it. Of two payments the row keeps the first."""
    conn.execute(PAID, [payment_id, now, row_id])


def advance(conn: Connection, row_id: int, state: str, *, now: datetime) -> None:
    """Bring a checkout to a state, unless it is further along."""
    conn.execute(ADVANCE, {"id": row_id, "state": state, "states": list(STATES), "now": now})


def open_at(app: str, provider: str, *, since: datetime, after: int, limit: int) -> list[Checkout]:
    """Checkouts that were opened since then and are not decided as far as we know, beyond the row `after`."""
    rows = database.read(
        f"SELECT {COLUMNS} FROM checkout WHERE app = %s AND provider = %s AND state IN ('open', 'pending')"
        " AND created_at >= %s AND id > %s ORDER BY id LIMIT %s",
        [app, provider, since, after, limit],
    )
    return [Checkout(*row) for row in rows]


def expire(app: str, provider: str, provider_id: str, *, now: datetime) -> None:
    """The provider has no such checkout any more: nobody can pay it."""
    database.write(
        "UPDATE checkout SET state = 'expired', updated_at = %s"
        " WHERE app = %s AND provider = %s AND provider_id = %s AND state = 'open'",
        [now, app, provider, provider_id],
    )
