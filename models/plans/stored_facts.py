"""The facts of subscriptions as stored: rows that are added, and never changed or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from models import database
from models.cycles import LONG_AGO
from models.database import Connection
from models.plans import codec
from models.plans.facts import (
    Bill,
    CreditNote,
    Facts,
    Opening,
    PlanFact,
    Promise,
    Returned,
    Schedule,
    Session,
    Snapshot,
)

KINDS: dict[str, type[PlanFact]] = {
    "snapshot": Snapshot,
    "bill": Bill,
    "session": Session,
    "credit_note": CreditNote,
    "opening": Opening,
    "schedule": Schedule,
}
KIND_OF = {kind: name for name, kind in KINDS.items()}
# More reports than any subscription has: ten years of daily bills.
MOST_FACTS = 20_000

STORE = """
INSERT INTO plan_fact (app, provider, subscription, bill, kind, key, content, event_id, received_at)
VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s) ON CONFLICT (app, provider, kind, key) DO NOTHING
"""
COUNT = "SELECT count(*) FROM plan_fact WHERE app = %s AND provider = %s AND subscription = %s"
OF_SUBSCRIPTION = """
SELECT kind, content, received_at FROM plan_fact
WHERE app = %(app)s AND provider = %(provider)s AND subscription = %(subscription)s
UNION ALL
SELECT n.kind, n.content, n.received_at FROM plan_fact n
WHERE n.app = %(app)s AND n.provider = %(provider)s AND n.kind = 'credit_note' AND n.bill IN (
    SELECT bill FROM plan_fact
    WHERE app = %(app)s AND provider = %(provider)s AND subscription = %(subscription)s AND kind = 'bill')
"""
LISTED = """
SELECT kind, key, event_id, received_at, content FROM plan_fact
WHERE app = %(app)s AND provider = %(provider)s
  AND (subscription = %(subscription)s OR kind = 'credit_note' AND bill IN (
    SELECT bill FROM plan_fact
    WHERE app = %(app)s AND provider = %(provider)s AND subscription = %(subscription)s AND kind = 'bill'))
ORDER BY coalesce((content ->> 'at')::timestamptz, received_at), id
"""
SUBSCRIPTION_OF_BILL = """
SELECT subscription FROM plan_fact
WHERE app = %s AND provider = %s AND bill = ANY(%s::text[]) AND kind = 'bill' ORDER BY id LIMIT 1
"""
PROMISED = """
SELECT customer, plan, units FROM checkout
WHERE app = %(app)s AND plan IS NOT NULL
  AND (external_id = ANY(%(ids)s::text[]) OR (provider = %(provider)s AND provider_id = %(subscription)s))
ORDER BY id LIMIT 1
"""
MAPPED = """
SELECT DISTINCT a.customer FROM provider_customer c JOIN account a ON a.id = c.account_id
WHERE c.app = %s AND c.provider = %s AND c.provider_id = ANY(%s::text[])
"""
RETURNED = """
SELECT reference, aliases, coalesce(amount_minor, 0), refunded_minor + disputed_minor, frozen FROM payment
WHERE app = %s AND subscription_id = %s AND (refunded_minor + disputed_minor > 0 OR frozen)
"""
HAS = "SELECT 1 FROM plan_fact WHERE app = %s AND provider = %s AND kind = %s AND key = %s"


def store(
    conn: Connection, app: str, provider: str, subscription: str | None, fact: PlanFact, *, event_id: str, now: datetime
) -> bool:
    """Store a fact; False if it is stored already."""
    bill = fact.bill if isinstance(fact, Bill | CreditNote) else None
    kind = KIND_OF[type(fact)]
    key = fact.key if not isinstance(fact, Opening) else subscription
    values = [app, provider, subscription, bill, kind, key, codec.write(fact), event_id, now]
    return conn.execute(STORE, values, prepare=True).rowcount == 1


def has(app: str, provider: str, fact: PlanFact) -> bool:
    """Whether a fact of this kind and key is stored."""
    key = "" if isinstance(fact, Opening) else fact.key
    return bool(database.read(HAS, [app, provider, KIND_OF[type(fact)], key]))


def count(conn: Connection, app: str, provider: str, subscription: str) -> int:
    """How many facts the subscription has."""
    row = conn.execute(COUNT, [app, provider, subscription]).fetchone()
    return int(row[0]) if row else 0


def subscription_of_bill(conn: Connection, app: str, provider: str, ids: Sequence[str]) -> str | None:
    """The provider's id of the subscription that a bill with one of these ids belongs to."""
    row = conn.execute(SUBSCRIPTION_OF_BILL, [app, provider, list(ids)]).fetchone()
    return str(row[0]) if row and row[0] else None


def read(conn: Connection, app: str, provider: str, subscription: str, subscription_id: int) -> Facts:
    """All facts of a subscription, with what else is known about it. It should be locked.

    The checkout's promise counts only for Scrip's own checkouts, as the facts name them.
    """
    values = {"app": app, "provider": provider, "subscription": subscription}
    rows = conn.execute(OF_SUBSCRIPTION, values, prepare=True).fetchall()
    facts = [codec.read(KINDS[kind], content) for kind, content, _ in rows]
    snapshots = tuple(fact for fact in facts if isinstance(fact, Snapshot))
    bills = tuple(fact for fact in facts if isinstance(fact, Bill))
    sessions = tuple(fact for fact in facts if isinstance(fact, Session))
    told: list[Snapshot | Bill | Session] = [*snapshots, *bills, *sessions]
    return Facts(
        first_seen_at=min((received_at for _, _, received_at in rows), default=LONG_AGO),
        snapshots=snapshots,
        bills=bills,
        sessions=sessions,
        notes=tuple(fact for fact in facts if isinstance(fact, CreditNote)),
        opening=next((fact for fact in facts if isinstance(fact, Opening)), None),
        promise=_promise(conn, values, {one.checkout for one in told if one.checkout}),
        mapped=_mapped(conn, app, provider, {one.provider_customer for one in told if one.provider_customer}),
        returned=returned(conn, app, subscription_id, bills),
        schedules=tuple(fact for fact in facts if isinstance(fact, Schedule)),
    )


def listed(conn: Connection, app: str, provider: str, subscription: str) -> list[dict[str, Any]]:
    """The facts of a subscription in the order of the provider's times, with the event that brought each."""
    names = ("kind", "key", "event", "received_at", "content")
    values = {"app": app, "provider": provider, "subscription": subscription}
    return [dict(zip(names, row, strict=True)) for row in conn.execute(LISTED, values)]


def returned(conn: Connection, app: str, subscription_id: int, bills: Iterable[Bill]) -> dict[str, Returned]:
    """What was refunded or disputed of the subscription's payments, by the ids of the payment and of its bill."""
    found: dict[str, Returned] = {}
    for reference, aliases, paid, back, frozen in conn.execute(RETURNED, [app, subscription_id], prepare=True):
        found.update(dict.fromkeys([reference, *aliases], Returned(back, paid, frozen)))
    for bill in bills:
        for alias in bill.aliases:
            if alias in found:
                found.setdefault(bill.bill, found[alias])
    return found


def _promise(conn: Connection, values: dict[str, str], checkouts: Iterable[str]) -> Promise | None:
    """What the checkout promised that the facts name, or that opened the subscription itself, as at PayPal."""
    row = conn.execute(PROMISED, {**values, "ids": sorted(checkouts)}).fetchone()
    return Promise(*row) if row else None


def _mapped(conn: Connection, app: str, provider: str, ids: set[str]) -> frozenset[str]:
    if not ids:
        return frozenset()
    rows: Iterable[tuple[Any, ...]] = conn.execute(MAPPED, [app, provider, sorted(ids)], prepare=True)
    return frozenset(customer for (customer,) in rows)
