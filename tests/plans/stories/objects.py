"""Stripe's objects in neutral form, before a writer gives them the shape of an API version."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.plans.stories.account import Held
from tests.plans.stories.months import Price


@dataclass
class Item:
    """An item of the subscription and its running period."""

    id: str
    price: Price
    quantity: int
    start: datetime
    end: datetime

    @property
    def held(self) -> Held:
        return Held(self.price, self.quantity)


@dataclass
class Subscription:
    """What Stripe says of the subscription."""

    id: str
    customer: str
    created: datetime
    anchor: datetime
    metadata: dict[str, str]
    status: str = "active"
    collection: str = "charge_automatically"
    items: list[Item] = field(default_factory=list)
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    latest_invoice: str | None = None
    pause: str | None = None
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass
class Line:
    """A line of an invoice. `credits` is the line that a credit line takes back: (invoice, line).

    `is_flexible`: Stripe's billing mode `flexible` writes prorations as lines of the item, `classic` as invoice items.
    """

    id: str
    item: str
    price: Price
    quantity: int
    start: datetime
    end: datetime
    amount: int
    is_prorated: bool = False
    is_flexible: bool = False
    credits: tuple[str, str] | None = None


@dataclass
class Invoice:
    """An invoice. `credited` was taken off by a credit note before it was paid, `from_balance` is paid by credit."""

    id: str
    subscription: str
    customer: str
    metadata: dict[str, str]
    reason: str
    collection: str
    created: datetime
    lines: list[Line]
    status: str = "draft"
    discount: int = 0
    credited: int = 0
    from_balance: int = 0

    @property
    def subtotal(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def total(self) -> int:
        return self.subtotal - self.discount

    @property
    def due(self) -> int:
        return max(0, self.total - self.credited - self.from_balance)

    @property
    def number(self) -> str:
        return self.id.removeprefix("in_")


@dataclass(frozen=True)
class Told:
    """An event in neutral form: `thing` is a Subscription, an Invoice, or an object that both shapes write alike."""

    id: str
    at: datetime
    type: str
    thing: Any
    before: Any = None
    is_since_basil: bool = False

    def __deepcopy__(self, memo: Any) -> Told:
        return self
