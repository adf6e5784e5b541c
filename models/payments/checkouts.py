"""Checkouts: what was sold, on which terms, and where the customer pays.

Rows are `models.tables.Checkout`. `external_id` is the id that the client gave (`private_id` for a customer's token),
`provider_id` the id of the session or order at the provider. `units`, `price_minor` and `expires_after` are of one
pack, or of one month of the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peewee import SQL

from models import database, durations, money
from models.catalog.apps import Pack
from models.database import Connection
from models.outbox import messages
from models.outbox.messages import Message
from models.tables import Checkout

# A checkout only moves forward in this list, so that events may arrive in any order.
STATES = ("new", "open", "expired", "pending", "failed", "paid")
ENDS = ("expired", "failed", "paid")
# Constants, not parameters: only then can a cached plan use the partial index checkout_open.
IS_UNDECIDED = SQL("state IN ('open', 'pending')")

# The two statements that every paid pack runs are SQL: peewee takes 1.4 ms of CPU to build such a SELECT.
COLUMNS = tuple(Checkout._meta.sorted_field_names)
FOR_PAYMENT = f"""
SELECT {", ".join(COLUMNS)} FROM checkout
WHERE app = %(app)s AND (external_id = %(id)s OR (provider = %(provider)s AND provider_id = ANY(%(ids)s::text[])))
ORDER BY external_id = %(id)s DESC, id LIMIT 1
"""
PAID = """
UPDATE checkout SET state = 'paid', payment_id = coalesce(payment_id, %(payment)s), updated_at = %(now)s
WHERE id = %(id)s AND (state <> 'paid' OR payment_id IS NULL)
"""
LOCK = f"SELECT {', '.join(COLUMNS)} FROM checkout WHERE id = %s FOR UPDATE"


def insert(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a new checkout. Returns False if its id is taken. `values` are its columns, and `now`."""
    columns = {name: value for name, value in values.items() if name != "now"}
    query = Checkout.insert(**columns, created_at=values["now"], updated_at=values["now"])
    stored = query.on_conflict(conflict_target=(Checkout.app, Checkout.external_id), action="IGNORE").as_rowcount()
    return bool(stored.execute())


def private_id(customer: str, given_id: str) -> str:
    """The id under which a checkout is stored whose id the customer's token gave.

    No client can give such an id, because ids have no slash, and two customers' are never the same.
    """
    digest = hashlib.sha256(f"{customer}/{given_id}".encode()).hexdigest()
    return f"own/{digest[:40]}"


def shown_id(checkout: Checkout) -> str:
    """The id that the client gave."""
    return str(checkout.given_id or checkout.external_id)


def is_stored(app: str, checkout_id: str) -> bool:
    """Whether a checkout has this id."""
    return bool(Checkout.select().where(Checkout.app == app, Checkout.external_id == checkout_id).exists())


def find(app: str, checkout_id: str) -> Checkout | None:
    """The checkout with the id that its client gave."""
    return Checkout.get_or_none(Checkout.app == app, Checkout.external_id == checkout_id)


def find_for_payment(
    conn: Connection, app: str, provider: str, checkout_id: str | None, ids: Sequence[str]
) -> Checkout | None:
    """The checkout that a payment pays, read in the caller's transaction; None for a payment without one.

    A payment names its checkout by Scrip's id. Otherwise the provider's id of the checkout is among `ids`.
    """
    row = conn.execute(FOR_PAYMENT, _identifiers(app, provider, checkout_id, ids), prepare=True).fetchone()
    return _checkout(row) if row else None


def find_before_payment(app: str, provider: str, checkout_id: str | None, ids: Sequence[str]) -> Checkout | None:
    """As `find_for_payment`, outside of any transaction, while there is no payment yet."""
    rows = database.read(FOR_PAYMENT, _identifiers(app, provider, checkout_id, ids))
    return _checkout(rows[0]) if rows else None


def is_news(app: str, checkout_id: str, state: str) -> bool:
    """Whether the checkout exists and has not reached `state`."""
    checkout = find(app, checkout_id)
    return checkout is not None and STATES.index(checkout.state) < STATES.index(state)


def of_payment(payment_id: int) -> Checkout | None:
    """The checkout that a payment paid."""
    return Checkout.select().where(Checkout.payment_id == payment_id).order_by(Checkout.id).first()


def is_paid_by(checkout: Checkout, customer: str | None, order: str | None) -> bool:
    """Whether a payment that names the checkout may use its terms: it is for a pack, and the payment is its customer's
    and of its own order. None: the payment names no customer, or no order.

    The creator of an order can put the id of any checkout into it, so the id alone proves nothing.
    """
    is_its_order = order is None or checkout.provider_id in (None, order)
    return checkout.pack is not None and customer in (None, checkout.customer) and is_its_order


def sold_pack(checkout: Checkout) -> Pack | None:
    """The pack as it was sold; None for a plan."""
    if checkout.pack is None:
        return None
    return Pack(
        checkout.pack,
        checkout.units,
        checkout.price_minor,
        checkout.currency,
        expires_after=durations.parse(checkout.expires_after) if checkout.expires_after else None,
        refundable=checkout.refundable,
    )


def complete(app: str, checkout_id: str, provider_id: str, url: str, *, now: datetime) -> bool:
    """Store where the customer pays. Returns False if another request did so first, or the checkout is paid already."""
    query = Checkout.update(provider_id=provider_id, url=url, state="open", updated_at=now)
    opened = query.where(Checkout.app == app, Checkout.external_id == checkout_id, Checkout.state == "new")
    return bool(database.transaction(lambda _: opened.execute()))


def delete_refused(app: str, checkout_id: str) -> None:
    """Delete a checkout that its provider refused to open: a refusal stores nothing."""
    query = Checkout.delete()
    refused = query.where(Checkout.app == app, Checkout.external_id == checkout_id, Checkout.state == "new")
    database.transaction(lambda _: refused.execute())


def mark_paid(conn: Connection, row_id: int, payment_id: int | None, *, now: datetime) -> None:
    """Mark a checkout as paid, in the transaction that credits its payment. Of two payments the row keeps the first.

    Emits `checkout.paid` if it was not paid before.
    """
    before = _locked(conn, row_id)
    conn.execute(PAID, {"payment": payment_id, "now": now, "id": row_id})
    if before.state != "paid":
        _emit(conn, before, "paid", payment_id, now=now)


def advance(conn: Connection, row_id: int, state: str, *, now: datetime) -> None:
    """Move a checkout to `state`, unless it has passed that state. Emits the event of a state that ends it."""
    before = _locked(conn, row_id)
    if STATES.index(before.state) < STATES.index(state):
        Checkout.update(state=state, updated_at=now).where(Checkout.id == row_id).execute()
        _emit(conn, before, state, before.payment_id, now=now)


def _locked(conn: Connection, row_id: int) -> Checkout:
    database.require_transaction(conn)
    row = conn.execute(LOCK, [row_id], prepare=True).fetchone()
    assert row is not None, "checkouts that a provider has opened are never deleted"
    return _checkout(row)


def _emit(conn: Connection, checkout: Checkout, state: str, payment_id: int | None, *, now: datetime) -> None:
    """Emit `checkout.paid`, `checkout.failed` or `checkout.expired`, each at most once for a checkout."""
    if state not in ENDS:
        return
    options: dict[str, Any] = checkout.options or {}
    data = {
        "checkout": shown_id(checkout),
        "provider": checkout.provider,
        "pack": checkout.pack,
        "plan": checkout.plan,
        "quantity": checkout.quantity,
        "money": money.as_json(checkout.price_minor * checkout.quantity, checkout.currency),
        "payment": payment_id,
        "metadata": options.get("metadata") or {},
    }
    key = f"checkout.{state}:{checkout.id}"
    messages.emit(conn, [Message(checkout.app, f"checkout.{state}", checkout.customer, data, key=key)], now=now)


def open_at(app: str, provider: str, *, since: datetime, after: int, limit: int) -> list[Checkout]:
    """Open and pending checkouts created since then, in the order of their rows, after the row `after`."""
    of_provider = Checkout.select().where(Checkout.app == app, Checkout.provider == provider, IS_UNDECIDED)
    return list(of_provider.where(Checkout.created_at >= since, Checkout.id > after).order_by(Checkout.id).limit(limit))


def expire(app: str, provider: str, provider_id: str, *, now: datetime) -> None:
    """Expire an open checkout that the provider no longer has: it cannot be paid."""
    named = (Checkout.app == app, Checkout.provider == provider, Checkout.provider_id == provider_id)

    def work(conn: Connection) -> None:
        for checkout in Checkout.select().where(*named, Checkout.state == "open"):
            advance(conn, checkout.id, "expired", now=now)

    database.transaction(work)


def _identifiers(app: str, provider: str, checkout_id: str | None, ids: Sequence[str]) -> dict[str, Any]:
    return {"app": app, "id": checkout_id or "", "provider": provider, "ids": list(ids)}


def _checkout(row: tuple[Any, ...]) -> Checkout:
    return Checkout(**dict(zip(COLUMNS, row, strict=True)))
