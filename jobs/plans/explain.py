"""Why a subscription was granted what it was granted: its facts, what is owed by them, and its lots."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from models.catalog import catalog
from models.database import Connection
from models.errors import Conflict, NotFound
from models.plans import differences, owed, plan_lots, plan_payments, stored_facts, stored_terms, subscriptions
from models.plans.facts import Bill, Facts
from models.plans.owed import Account


def explain(conn: Connection, name: str, *, now: datetime, app: str | None = None) -> dict[str, Any]:
    """All that is known of one subscription, computed now. `name`: its id at the provider, or its number.

    Raises:
        NotFound: there is none.
        Conflict: several apps have one.
    """
    found = subscriptions.find(conn, name, app)
    if not found:
        raise NotFound(f"there is no subscription {name!r}; use the provider's id, or the number from an event")
    if len(found) > 1:
        raise Conflict(f"several subscriptions are called {name!r}, in {_apps(found)}; use --app, or the number")
    (row,) = found
    slug, provider, provider_id = row["app"], row["provider"], row["provider_id"]
    known = catalog.current().apps.get(slug)
    book = stored_terms.with_catalog(conn, known, now=now) if known else stored_terms.stored(conn, slug)
    facts = stored_facts.read(conn, slug, provider, provider_id, row["id"])
    account = owed.account(facts, book, now)
    lots = plan_lots.of_subscription(conn, row["id"])
    payments = plan_payments.of_subscription(conn, row["id"])
    references = {bill.bill: payments[bill.bill][1] for bill in account.bills if bill.bill in payments}
    different = differences.between(account.owed, lots, references)
    return {
        "subscription": row,
        "owner": _owner(account),
        "facts": stored_facts.listed(conn, slug, provider, provider_id),
        "bills": [_bill(bill, facts) for bill in account.bills],
        "owed": [asdict(one) for one in account.owed],
        "lots": [asdict(lot) for lot in lots],
        "due": [asdict(one) for one in different.grants],
        "clawbacks": [{"entry": one.lot.entry_id, "target_units": one.units} for one in different.targets],
        "notes": account.notes,
    }


def _apps(found: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['app']} ({row['id']})" for row in found)


def _owner(account: Account) -> dict[str, Any]:
    whose = account.owner
    return {
        "customer": whose.latest,
        "decided_at": whose.decided_at,
        "problem": whose.problem,
        "changes": [{"since": since, "customer": customer} for since, customer in whose.named],
    }


def _bill(bill: Bill, facts: Facts) -> dict[str, Any]:
    back = facts.returned.get(bill.bill)
    return {
        "bill": bill.bill,
        "state": bill.state,
        "at": bill.at,
        "reason": bill.reason,
        "total_minor": bill.total_minor,
        "credited_minor": bill.credited_minor,
        "returned_minor": back.back_minor if back else 0,
        "currency": bill.currency,
        "lines": [asdict(line) for line in bill.lines],
    }
