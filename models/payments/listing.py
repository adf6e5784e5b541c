"""Payments as the API shows them, each with what has become of the units that it bought.

`credit` is worked out from the lots that the payment granted, as they are now:

- `refunded`: the money went back in full, or all that was granted was clawed back;
- `unredeemed`: units are left and none was used. What is held is not used yet, and a refund makes it unused again;
- `partly_redeemed`: units are left and some were used;
- `redeemed`: none is left, and every unit that did not go back was used;
- `expired`: none is left, and some lapsed unused. A lot past its expiry has lapsed, swept or not;
- None: nothing was granted: the payment is pending, or has failed.

Used is whatever took units but the lot's own expiry and the payment's own clawback: use, debt, an operator's
adjustment. Where part was clawed back, the rest decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

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
SELECT l.*, l.granted AS units FROM lot l WHERE l.payment_id = p.id AND l.subscription_id IS NULL
UNION ALL
SELECT l.*, s.units FROM shares s JOIN lot l ON l.id = s.lot_id WHERE s.payment_id = p.id
"""
CLAWED = """
SELECT -sum(x.amount) AS clawed, -sum(x.amount) FILTER (WHERE x.lot_id = l.id) AS clawed_here
FROM entry e JOIN allocation x ON x.entry_id = e.id WHERE e.app = p.app AND e.reverses_id = l.entry_id
"""
WITH_CREDIT = """
WITH page AS ({payments}),
shares AS MATERIALIZED (
    SELECT * FROM plan_share WHERE units > 0
    AND subscription_id = ANY(ARRAY(SELECT DISTINCT subscription_id FROM page WHERE subscription_id IS NOT NULL))
)
SELECT p.id, p.customer, p.provider, p.reference, array_remove(p.aliases || p.order_id, NULL), p.pack, p.plan,
       p.quantity, p.amount_minor, p.currency,
       p.refunded_minor, p.disputed_minor, p.state, s.provider_id, p.created_at, p.updated_at,
       coalesce(p.entry_id, c.entry_id), c.granted, c.left_over, c.lapsed, c.clawed, c.clawed_here,
       c.units
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


def for_customer(
    app: App, customer: str, *, limit: int = 50, cursor: str | None = None, now: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a customer's payments, newest first, and the cursor of the next one (None on the last).

    A customer that Scrip does not know has none.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    (below,) = pagination.decode(LIST, cursor)
    values = {"app": app.slug, "customer": customer, "below": below, "limit": limit + 1, "now": now}
    rows, following = pagination.cut(LIST, _fetch(OF_CUSTOMER, values), limit, itemgetter(0))
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
    """What has become of the units; the rules are at the top of this module.

    `granted` is None for a payment that granted nothing. `clawed` went back for this payment, `clawed_here` of it out
    of its own lots.
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


def _fetch(payments: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    return database.read(WITH_CREDIT.format(payments=payments, lots=LOTS, clawed=CLAWED), values)


def _to_json(row: Sequence[Any]) -> dict[str, Any]:
    id_, customer, provider, reference, aliases, pack, plan, quantity, amount, currency, refunded, disputed, *more = row
    state, subscription, created_at, updated_at, entry_id, granted, left_over, expired, clawed, clawed_here, units = (
        more
    )
    return {
        "id": id_,
        "customer": customer,
        "provider": provider,
        "reference": reference,
        "aliases": aliases,
        "pack": pack,
        "plan": plan,
        "quantity": quantity,
        "money": _money(amount, currency),
        "refunded": _money(refunded, currency),
        "disputed": _money(disputed, currency),
        "units": units or 0,
        "state": state,
        "credit": credit(state, granted, left_over, expired, clawed, clawed_here),
        "entry": entry_id,
        "subscription": subscription,
        "created_at": created_at,
        "updated_at": updated_at,
    }


def _money(minor: int | None, currency: str | None) -> dict[str, str] | None:
    return None if minor is None or currency is None else money.as_json(minor, currency)
