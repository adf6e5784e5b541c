"""Ledger entries: of one customer, of all customers, and a single entry."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from models.ledger import entries
from models.ledger.entries import EntryType, Selection
from web.http import csv
from web.http.call import Call
from web.http.fields import Page, Shape, Time
from web.http.routes import Answer, Routes

routes = Routes("Entries")

COLUMNS = (
    "id",
    "customer",
    "amount",
    "type",
    "reason",
    "balance_before",
    "balance_after",
    "reverses",
    "metadata",
    "created_at",
    "occurred_at",
    "key",
    "actor",
)
CSV = ("text/csv",)


class EntriesQuery(Page):
    type: EntryType | None = Field(None, description="Return only entries of this type.")
    since: Time | None = Field(None, alias="from", description="Return only entries created at or after this time.")
    until: Time | None = Field(None, alias="to", description="Return only entries created before this time.")


class AllEntriesQuery(EntriesQuery):
    customer: str | None = Field(None, max_length=120, description="Return only entries of this customer.")


class Entry(Shape):
    id: int
    customer: str
    amount: int
    type: EntryType
    reason: str
    balance_before: int
    balance_after: int
    reverses: int | None
    metadata: dict[str, Any]
    created_at: datetime
    occurred_at: datetime | None
    key: str
    actor: str
    example = {
        "id": 2,
        "customer": "ada",
        "amount": -3,
        "type": "deduction",
        "reason": "voice_call",
        "balance_before": 100,
        "balance_after": 97,
        "reverses": None,
        "metadata": {"rate": "voice_call", "quantity": 123, "price": [1, 60, 0]},
        "created_at": "2026-01-31T12:00:00Z",
        "occurred_at": None,
        "key": "usage:call-77",
        "actor": "usage",
    }


class Entries(Shape):
    entries: list[Entry]
    next: str | None


class Allocation(Shape):
    lot: int | None
    amount: int


class EntryInFull(Entry):
    allocations: list[Allocation]


@routes.get(
    "/v1/customers/{customer}/entries",
    scope="read",
    customer_token=True,
    query=EntriesQuery,
    answer=Entries,
    also=CSV,
)
def of_customer(call: Call, customer: str) -> Answer:
    """List a customer's ledger entries.

    Returns the entries newest first. `Accept: text/csv` streams all of them with one header line, and ignores `limit`
    and `cursor`.
    """
    return _answer(call, customer)


@routes.get("/v1/entries", scope="admin", query=AllEntriesQuery, answer=Entries, also=CSV)
def of_all(call: Call) -> Answer:
    """List the ledger entries of all customers.

    Returns the entries newest first. `Accept: text/csv` streams all of them with one header line, and ignores `limit`
    and `cursor`.
    """
    return _answer(call, call.query.customer)


@routes.get("/v1/entries/{entry}", scope="read", customer_token=True, answer=EntryInFull, errors=(404,))
def one(call: Call, entry: int) -> Answer:
    """Retrieve a ledger entry.

    `allocations` lists the lots that the entry credited or debited; `lot` is null for debt.
    """
    found = entries.get(call.app.slug, entry)
    call.check_owner(found["customer"])
    return found


def _answer(call: Call, customer: str | None) -> Answer:
    query = call.query
    selection = Selection(app=call.app.slug, customer=customer, type=query.type, since=query.since, until=query.until)
    if csv.is_wanted(call.request):
        return csv.stream(entries.stream(selection), COLUMNS, "entries")
    rows, following = entries.list_page(selection, limit=query.limit, cursor=query.cursor)
    return {"entries": rows, "next": following}
