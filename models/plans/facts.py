"""The facts of a subscription: what its provider reported, and what Scrip promised. Immutable, without I/O.

They are a set: the order in which they arrived and repetitions carry no information. `models.plans.owed` computes from
them what is owed. Times are aware and in UTC, ids are the provider's, amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

Unit = Literal["day", "week", "month"]
# Later states take precedence, whatever the times of their reports.
# The `reason` of a bill that is a sale of PayPal: `models.plans.rules.paypal` finds the periods that it pays.
SALE = "sale"
STATES = ("draft", "open", "failed", "uncollectible", "void", "paid")
PAYING = ("active", "trialing")
ENDED = ("canceled", "incomplete_expired")
STATUSES = (*PAYING, *ENDED, "incomplete", "past_due", "unpaid", "paused")
CREATED, UPDATED, DELETED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Interval:
    """The billing interval of a price; a year is twelve months."""

    unit: Unit
    count: int = 1

    @property
    def tolerance(self) -> timedelta:
        """By how much two reports of the start of one period may differ."""
        days = {"day": 1, "week": 7, "month": 28}[self.unit] * (1 if self.unit == "month" else self.count)
        return min(timedelta(days=1), timedelta(days=days) / 3)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a subscription. `start` and `end`: its current period."""

    id: str | None
    price: str | None
    quantity: int = 1
    interval: Interval | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the provider said of a subscription at a time of its own clock.

    `rank` orders reports of one moment: created, updated, deleted; `previous` are the values before an update. `plan`:
    the plan that its metadata name. `pending`: the items that it has once an open bill of the change is paid.
    `resumes_at`: when its pause ends. `received_at` is Scrip's time. `is_fetched`: asked for, rather than reported.
    `is_billed_by_sales`: of PayPal. Its bills are sales without lines, and a change of it counts from the next period.
    """

    key: str
    at: datetime
    received_at: datetime
    status: str
    rank: int = UPDATED
    items: tuple[Item, ...] = ()
    anchor: datetime | None = None
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    is_paused: bool = False
    latest_invoice: str | None = None
    cancel_at: datetime | None = None
    ended_at: datetime | None = None
    customer: str | None = None
    provider_customer: str | None = None
    plan: str | None = None
    checkout: str | None = None
    is_fetched: bool = False
    is_billed_by_sales: bool = False
    previous: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[Item, ...] = ()
    schedule: str | None = None
    resumes_at: datetime | None = None

    @property
    def said(self) -> tuple[Any, ...]:
        """What it says, without when and how that became known."""
        return (
            *(self.status, self.items, self.anchor, self.trial_start, self.trial_end, self.is_paused),
            *(self.latest_invoice, self.cancel_at, self.ended_at, self.customer, self.provider_customer, self.plan),
            *(self.checkout, self.pending, self.schedule, self.resumes_at),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bill. `credits`: the lines, or the bill, that a negative one credits, by their ids.

    `is_one_off`: an item of its own, no part of the subscription.
    """

    id: str
    start: datetime
    end: datetime
    amount_minor: int
    item: str | None = None
    price: str | None = None
    quantity: int = 1
    interval: Interval | None = None
    is_prorated: bool = False
    is_one_off: bool = False
    plan: str | None = None
    credits: tuple[str, ...] = ()
    # Units of one month, where the bill was recorded by a version that did not keep prices.
    units: int | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """A report of an invoice, or of a PayPal sale (which has no lines).

    `credited_minor`: credit notes before its payment. `is_complete`: no lines are missing. `is_carried_over`: recorded
    by a version before plans were facts; its months before the opening are part of that.
    """

    key: str
    bill: str
    state: str
    at: datetime
    lines: tuple[Line, ...] = ()
    reason: str | None = None
    total_minor: int = 0
    paid_minor: int = 0
    currency: str | None = None
    credited_minor: int = 0
    customer: str | None = None
    provider_customer: str | None = None
    plan: str | None = None
    checkout: str | None = None
    aliases: tuple[str, ...] = ()
    is_complete: bool = True
    is_carried_over: bool = False
    # The page on which it can be paid.
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A checkout session that names the subscription. `is_paid` is False while its first bill is unpaid."""

    key: str
    session: str
    at: datetime
    is_paid: bool
    customer: str | None = None
    provider_customer: str | None = None
    checkout: str | None = None


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note issued before the payment of its bill: it lowers what the bill covers."""

    key: str
    note: str
    bill: str
    amount_minor: int
    is_void: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """The items that a subscription has from `start` on."""

    start: datetime
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A report of a schedule: changes of a subscription that wait for a time. Nothing is owed by it.

    `before`: its phases before the update that is reported, empty if that did not change them.
    """

    key: str
    schedule: str
    at: datetime
    phases: tuple[Phase, ...] = ()
    before: tuple[Phase, ...] = ()
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class OpeningPeriod:
    """Units that were granted for a period before plans were facts. `shares`: (payment, units that it paid for)."""

    plan: str
    start: datetime
    end: datetime
    units: int
    shares: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """What was granted before plans were facts. It is owed as it stands; periods from `until` on are computed."""

    until: datetime
    periods: tuple[OpeningPeriod, ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """What Scrip's own checkout promised: units of one seat in the first paid period of this plan."""

    customer: str
    plan: str
    units: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The part of a bill's payment that was refunded or disputed. `is_frozen`: an inquiry is open."""

    back_minor: int
    paid_minor: int
    is_frozen: bool = False


PlanFact = Snapshot | Bill | Session | CreditNote | Opening | Schedule


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a subscription.

    `mapped`: the customers that the provider's customer id stands for. `first_seen_at`: Scrip's time of the first fact.
    """

    first_seen_at: datetime
    snapshots: tuple[Snapshot, ...] = ()
    bills: tuple[Bill, ...] = ()
    sessions: tuple[Session, ...] = ()
    notes: tuple[CreditNote, ...] = ()
    opening: Opening | None = None
    promise: Promise | None = None
    mapped: frozenset[str] = frozenset()
    returned: Mapping[str, Returned] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()
