"""Payments in the form of the API, each with the state of the units that it bought.

`credit` follows from the present state of the lots that the payment granted:

- `refunded`: the payment is refunded in full, or everything that it granted was clawed back;
- `unredeemed`: units are left and none was used. Held units and refunded deductions count as unused;
- `partly_redeemed`: units are left and some were used;
- `redeemed`: no units are left, and all that were not clawed back were used;
- `expired`: no units are left, and some expired unused. A lot past its expiry counts as expired, swept or not;
- None: nothing was granted: the payment is pending or failed.

Every deduction counts as use (usage, debt, an operator's adjustment), except the lot's own expiry and the payment's own
clawback. If some units were clawed back, the rest decides.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from models import database, money, pagination
from models.catalog.apps import App
from models.errors import NotFound

LIST = "payments of a customer"

OF_CUSTOMER = """
SELECT p.*, %(customer)s::text AS customer FROM payment p
WHERE p.account_id = (SELECT id FROM account WHERE app = %(app)s AND customer = %(customer)s) AND p.id < %(below)s
ORDER BY p.id DESC LIMIT %(limit)s
"""
ONE = """
SELECT p.*, a.customer FROM payment p JOIN account a ON a.id = p.account_id WHERE p.app = %(app)s AND p.id = %(id)s
"""
LOTS = """
SELECT l.*, l.granted AS units FROM lot l WHERE l.payment_id = p.id
"""
CLAWED = """
SELECT -sum(x.amount) AS clawed, -sum(x.amount) FILTER (WHERE x.lot_id = l.id) AS clawed_here
FROM entry e JOIN allocation x ON x.entry_id = e.id WHERE e.app = p.app AND e.reverses_id = l.entry_id
"""
WITH_CREDIT = """
WITH page AS ({payments})
SELECT p.id, p.customer, p.provider, p.reference, array_remove(p.aliases || p.order_id, NULL), p.pack, p.plan,
       p.quantity, p.amount_minor, p.currency,
       p.refunded_minor, p.disputed_minor, p.state, s.provider_id, p.created_at, p.updated_at,
       coalesce(p.entry_id, c.entry_id), c.granted, c.left_over, c.lapsed, c.clawed, c.clawed_here,
       c.units, p.tax_minor, p.discount_minor, p.fee_minor
FROM page AS p
LEFT JOIN subscription s ON s.id = p.subscription_id
LEFT JOIN LATERAL (
    SELECT min(l.entry_id) AS entry_id, sum(l.granted)::bigint AS granted, sum(l.units)::bigint AS units,
           sum(l.held + CASE WHEN l.expires_at <= %(now)s THEN 0 ELSE l.remaining END)::bigint AS left_over,
           sum(l.lapsed + CASE WHEN l.expires_at <= %(now)s THEN l.remaining ELSE 0 END)::bigint AS lapsed,
           coalesce(sum(r.clawed), 0)::bigint AS clawed, coalesce(sum(r.clawed_here), 0)::bigint AS clawed_here
    FROM ({lots}) AS l LEFT JOIN LATERAL ({clawed}) AS r ON true
) AS c ON true
ORDER BY p.id DESC
"""


class _Row(NamedTuple):
    """The columns of `WITH_CREDIT`, in their order. `granted` to `units` are units; None: nothing was granted."""

    id: int
    customer: str
    provider: str
    reference: str
    aliases: list[str]
    pack: str | None
    plan: str | None
    quantity: int
    amount_minor: int | None
    currency: str | None
    refunded_minor: int
    disputed_minor: int
    state: str
    subscription: str | None
    created_at: datetime
    updated_at: datetime
    entry_id: int | None
    granted: int | None
    left_over: int | None
    expired: int | None
    clawed: int
    clawed_here: int
    units: int | None
    tax_minor: int | None
    discount_minor: int | None
    fee_minor: int | None


def for_customer(
    app: App, customer: str, *, limit: int = 50, cursor: str | None = None, now: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a customer's payments, newest first, and the cursor of the next one (None on the last).

    An unknown customer has none.

    Raises:
        Invalid: the cursor is not one that this list returned.
    """
    (below,) = pagination.decode(LIST, cursor)
    values = {"app": app.slug, "customer": customer, "below": below, "limit": limit + 1, "now": now}
    rows, following = pagination.cut(LIST, _fetch(OF_CUSTOMER, values), limit, attrgetter("id"))
    return [_to_json(row) for row in rows], following


def get(app: App, payment_id: int, *, now: datetime) -> dict[str, Any]:
    """One payment.

    Raises:
        NotFound: the app has no such payment.
    """
    rows = _fetch(ONE, {"app": app.slug, "id": payment_id, "now": now})
    if not rows:
        raise NotFound(f"no payment {payment_id}")
    return _to_json(rows[0])


def credit(
    state: str, granted: int | None, left_over: int | None, expired: int | None, clawed: int, clawed_here: int
) -> str | None:
    """The state of the units, by the rules at the top of this module.

    `granted` is None for a payment that granted nothing. `clawed`: units clawed back for this payment; `clawed_here`:
    those of them that came from its own lots.
    """
    if state == "refunded":
        return "refunded"
    if granted is None or left_over is None or expired is None:
        return None
    if clawed >= granted:
        return "refunded"
    is_used = granted - left_over - expired - clawed_here > 0
    if left_over:
        return "partly_redeemed" if is_used else "unredeemed"
    return "expired" if expired else "redeemed"


def _fetch(payments: str, values: dict[str, Any]) -> list[_Row]:
    rows = database.read(WITH_CREDIT.format(payments=payments, lots=LOTS, clawed=CLAWED), values)
    return [_Row(*row) for row in rows]


def _to_json(row: _Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "customer": row.customer,
        "provider": row.provider,
        "reference": row.reference,
        "aliases": row.aliases,
        "pack": row.pack,
        "plan": row.plan,
        "quantity": row.quantity,
        "money": _money(row.amount_minor, row.currency),
        "refunded": _money(row.refunded_minor, row.currency),
        "disputed": _money(row.disputed_minor, row.currency),
        "tax": _money(row.tax_minor, row.currency),
        "discount": _money(row.discount_minor, row.currency),
        "fee": _money(row.fee_minor, row.currency),
        "units": row.units or 0,
        "state": row.state,
        "credit": credit(row.state, row.granted, row.left_over, row.expired, row.clawed, row.clawed_here),
        "entry": row.entry_id,
        "subscription": row.subscription,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _money(minor: int | None, currency: str | None) -> dict[str, str] | None:
    return None if minor is None or currency is None else money.as_json(minor, currency)
