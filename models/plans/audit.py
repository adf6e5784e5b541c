"""Whether the lots of every subscription are what its facts say that it is owed: part of `manage.py verify`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from models.database import Connection
from models.plans import differences, owed, plan_lots, plan_payments, stored_facts, stored_terms
from models.plans.terms import TermsBook

# Some are about to be computed: their facts are stored in a commit of their own.
SUBSCRIPTIONS = """
SELECT id, app, provider, provider_id, coalesce(next_due_at > %(overdue)s AND next_due_at <= %(now)s, false)
FROM subscription WHERE %(app)s::text IS NULL OR app = %(app)s ORDER BY id
"""


def failures(conn: Connection, *, now: datetime, overdue: datetime, app: str | None = None) -> tuple[int, list[str]]:
    """(How many subscriptions there are, a text for each period that differs). What fell due after `overdue` may
    still be granted by the schedule, and what was reported since then may still be computed.
    """
    books: dict[str, TermsBook] = {}
    rows = conn.execute(SUBSCRIPTIONS, {"app": app, "overdue": overdue, "now": now}).fetchall()
    found: list[str] = []
    for id_, slug, provider, provider_id, is_waiting in rows:
        if is_waiting:
            continue
        book = books.get(slug) or books.setdefault(slug, stored_terms.stored(conn, slug))
        found += of_subscription(conn, book, (id_, slug, provider, provider_id), now=now, overdue=overdue)
    return len(rows), found


def of_subscription(
    conn: Connection, book: TermsBook, row: tuple[int, str, str, str], *, now: datetime, overdue: datetime
) -> Iterator[str]:
    """A text for each period of one subscription that differs. `row`: its number, app, provider and id there."""
    id_, app, provider, provider_id = row
    facts = stored_facts.read(conn, app, provider, provider_id, id_)
    account = owed.account(facts, book, now)
    known = plan_payments.of_subscription(conn, id_)
    references = {
        bill.bill: known[name][1] for bill in account.bills for name in (bill.bill, *bill.aliases) if name in known
    }
    different = differences.between(account.owed, plan_lots.of_subscription(conn, id_), references)
    for one in different.grants:
        if one.due <= overdue:
            yield f"subscription {id_} ({provider_id}): {one.units} units of {one.plan} are owed from {one.start} on"
    for target in different.targets:
        lot = target.lot
        yield (
            f"subscription {id_} ({provider_id}): entry {lot.entry_id} granted {lot.granted}, clawed back {lot.clawed},"
            f" target {target.units}, expired {lot.expired}; lot frozen {lot.is_frozen}, target {target.is_frozen}"
        )
