"""A tiny Stripe: one subscription with a clock, its invoices, and the events that it reports."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.plans.stories.account import Account, Held
from tests.plans.stories.months import Price
from tests.plans.stories.prices import UNITS

START = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


class NotNow(Exception):
    """The step does not apply to the state of the subscription; it is left out of the story."""


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
    """An invoice. `credited` was taken off by a credit note before it was paid."""

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

    @property
    def subtotal(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def total(self) -> int:
        return self.subtotal - self.discount

    @property
    def due(self) -> int:
        return max(0, self.total - self.credited)

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


@dataclass
class World:
    """The story so far: Stripe's state, what it reported, and the plain account."""

    dice: random.Random
    now: datetime = START
    told: list[Told] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    # (time, units by plan): a catalog that was changed then. A plan without units has left it.
    catalogs: list[tuple[datetime, dict[str, int]]] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)
    # Lines that the next invoice carries, and the changes that they bill.
    pending: list[Line] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    refunded: dict[str, int] = field(default_factory=dict)
    lines_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    until: datetime | None = None
    _sub: Subscription | None = None
    _account: Account | None = None
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def sub(self) -> Subscription:
        if self._sub is None:
            raise NotNow("there is no subscription yet")
        return self._sub

    @property
    def account(self) -> Account:
        assert self._account is not None
        return self._account

    @property
    def item(self) -> Item:
        return self.sub.items[0]

    def begin(self, subscription: Subscription, customer: str | None) -> None:
        if self._sub is not None:
            raise NotNow("it has begun")
        self._sub = subscription
        self._account = Account(customer, dict(UNITS))

    # --- time

    def wait(self, least: timedelta = timedelta(0)) -> None:
        """Let some time of the running period pass, never all of it."""
        interval, left = self.item.end - self.item.start, self.item.end - self.now
        if self.sub.ended_at:
            self.now += self.dice.randint(1, 20) * DAY + self.dice.randint(0, 86400) * SECOND
            return
        span = left * 0.6 - least
        if left < interval / 20 or span <= timedelta(0):
            raise NotNow("the period is nearly over")
        self.now += least + SECOND * int(span.total_seconds() * self.dice.uniform(0.05, 1))

    # --- what is reported

    def number(self, kind: str) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]

    def say(self, sentence: str) -> None:
        """A line of the story as a person reads it."""
        self.log.append(f"{(self.now - START) / DAY:8.2f} d  {sentence}")

    def report(self, type_: str, thing: Any, *, before: Any = None, is_since_basil: bool = False) -> None:
        name = f"evt_{self.number('evt'):04d}"
        self.told.append(Told(name, self.now, type_, copy.deepcopy(thing), copy.deepcopy(before), is_since_basil))

    def update(self, **changes: Any) -> None:
        """Change the subscription and report it."""
        before = copy.deepcopy(self.sub)
        for name, value in changes.items():
            setattr(self.sub, name, value)
        if before != self.sub:
            self.report("customer.subscription.updated", self.sub, before=before)

    # --- invoices

    def invoice(self, reason: str, lines: list[Line], *, is_free: bool = False) -> Invoice:
        """A new invoice, as draft. `is_free`: a coupon takes all of it off."""
        sub = self.sub
        made = Invoice(
            f"in_{self.number('in')}", sub.id, sub.customer, dict(sub.metadata), reason, sub.collection, self.now, lines
        )
        made.discount = made.subtotal if is_free and made.subtotal > 0 else 0
        self.invoices.append(made)
        sub.latest_invoice = made.id
        for line in lines:
            if line.amount >= 0:
                self.lines_of[line.item] = (made.id, line.id)
        return made

    def line(self, item: str, held: Held, start: datetime, end: datetime, amount: int, *, is_prorated: bool) -> Line:
        credits = self.lines_of.get(item) if amount < 0 else None
        number, is_flexible = f"il_{self.number('il')}", "flexible" in self.traits
        return Line(number, item, held.price, held.quantity, start, end, amount, is_prorated, is_flexible, credits)

    def tell(self, invoice: Invoice, *types: str, status: str | None = None) -> None:
        """Report the invoice. In a silent world no invoice is ever reported."""
        invoice.status = status or invoice.status
        for type_ in types:
            if "silent" not in self.traits:
                self.report(f"invoice.{type_}", invoice)

    def open(self, invoice: Invoice) -> None:
        """The invoice is finalised. Only wordy worlds report each state of it."""
        if "wordy" in self.traits:
            self.tell(invoice, "created", status="draft")
            self.tell(invoice, "finalized", status="open")
        invoice.status = "open"

    def pay(self, invoice: Invoice) -> None:
        self.tell(invoice, "paid", status="paid")
        if "wordy" in self.traits:
            self.tell(invoice, "payment_succeeded")
        if invoice.due and "silent" not in self.traits:
            intent = {"type": "payment_intent", "payment_intent": f"pi_{invoice.number}"}
            known: dict[str, Any] = {"id": f"inpay_{invoice.number}", "object": "invoice_payment", "invoice": invoice.id}
            known |= {"amount_paid": invoice.due, "status": "paid", "payment": intent, "livemode": False}
            self.report("invoice_payment.paid", known, is_since_basil=True)
