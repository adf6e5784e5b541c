"""Facts of plans, made in few words: `lite` grants 100 units a month, `pro` 1000, `max` 5000."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from models.cycles import LONG_AGO, cycle_start
from models.plans import owed
from models.plans.facts import Bill, Facts, Interval, Item, Line, Snapshot
from models.plans.terms import Terms, TermsBook

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MONTH, YEAR, WEEK = Interval("month"), Interval("month", 12), Interval("week")
UNITS = {"lite": 100, "pro": 1000, "max": 5000}
ADA = "ada"


def month(number: int) -> datetime:
    """The start of a month, counted from START."""
    return cycle_start(START, number)


def terms(plan: str, **more: Any) -> Terms:
    whole: dict[str, Any] = {
        "since": LONG_AGO, "plan": plan, "units": UNITS[plan], "price_minor": UNITS[plan], "currency": "usd",
        "prices": (f"price_{plan}",),
    }  # fmt: skip
    return Terms(**{**whole, **more})


def book(**of_all: Any) -> TermsBook:
    """The terms of the three plans, with changes of all of them."""
    return TermsBook(terms(plan, **of_all) for plan in UNITS)


BOOK = book()


def item(plan: str, quantity: int = 1, *, start: datetime = START, end: datetime | None = None, **more: Any) -> Item:
    return Item(**{
        "id": "si_1", "price": f"price_{plan}", "quantity": quantity, "interval": MONTH, "start": start,
        "end": end or cycle_start(start, 1), **more,
    })  # fmt: skip


def snapshot(at: datetime, *items: Item, **more: Any) -> Snapshot:
    whole: dict[str, Any] = {
        "key": f"evt_{int(at.timestamp())}_{more.get('status')}", "at": at, "received_at": at, "status": "active",
        "items": items, "anchor": START, "customer": ADA,
    }  # fmt: skip
    return Snapshot(**{**whole, **more})


def line(plan: str, start: datetime, end: datetime, quantity: int = 1, **more: Any) -> Line:
    return Line(**{
        "id": f"il_{plan}_{int(start.timestamp())}_{quantity}", "start": start, "end": end,
        "amount_minor": UNITS[plan] * quantity, "item": "si_1", "price": f"price_{plan}", "quantity": quantity,
        "interval": MONTH, **more,
    })  # fmt: skip


def bill(name: str, *lines: Line, **more: Any) -> Bill:
    total = max(0, sum(one.amount_minor for one in lines))
    whole: dict[str, Any] = {
        "key": f"evt_{name}_{more.get('state', 'paid')}", "bill": name, "state": "paid", "at": lines[0].start,
        "lines": lines, "total_minor": total, "paid_minor": total, "currency": "usd", "customer": ADA,
    }  # fmt: skip
    return Bill(**{**whole, **more})


def change(name: str, old: tuple[str, int], new: tuple[str, int], at: datetime, end: datetime, **more: Any) -> Bill:
    """The bill of a change within a period: a credit for the old quantity, and a line for the new one."""
    credit = line(old[0], at, end, old[1], id=f"{name}_credit", amount_minor=-UNITS[old[0]], is_prorated=True)
    added = line(new[0], at, end, new[1], id=f"{name}_added", is_prorated=True)
    return bill(name, credit, added, reason="subscription_update", **more)


def facts(*told: Snapshot | Bill, **more: Any) -> Facts:
    return Facts(
        first_seen_at=START,
        snapshots=tuple(one for one in told if isinstance(one, Snapshot)),
        bills=tuple(one for one in told if isinstance(one, Bill)),
        **more,
    )


def account(found: Facts, now: datetime, terms_book: TermsBook = BOOK) -> owed.Account:
    return owed.account(found, terms_book, now)


def units(found: Facts, now: datetime, terms_book: TermsBook = BOOK) -> dict[datetime, int]:
    """The units owed at that time, by the start of their period; periods of nothing are left out."""
    total: dict[datetime, int] = {}
    for one in owed.owed(found, terms_book, now):
        total[one.start] = total.get(one.start, 0) + one.units
    return {start: count for start, count in total.items() if count}


def again(fact: Any, **more: Any) -> Any:
    """The same fact under another key."""
    return replace(fact, key=f"{fact.key}_again", **more)
