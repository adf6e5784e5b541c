"""A tiny Stripe: one subscription with a clock, its invoices, and the events that it reports."""

from __future__ import annotations

import copy
import random
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.plans.stories.account import Account, Held
from tests.plans.stories.objects import Invoice, Item, Line, Subscription, Told
from tests.plans.stories.prices import UNITS

START = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


class NotNow(Exception):
    """The step does not apply to the state of the subscription; it is left out of the story."""


@dataclass
class World:
    """The story so far: Stripe's state, what it reported, and the plain account."""

    dice: random.Random
    now: datetime = START
    told: list[Told] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    # (time, units by plan): a catalog that was changed then. A plan without units has left it.
    catalogs: list[tuple[datetime, dict[str, int]]] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)
    # Lines that the next invoice carries, and the changes that they bill.
    pending: list[Line] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    refunded: dict[str, int] = field(default_factory=dict)
    lines_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    # What Stripe owes the customer for credit lines: later invoices are paid from it.
    balance: int = 0
    # The items that the last renewal was of, and the invoice of a period that may still be paid.
    renewed: list[Item] = field(default_factory=list)
    owing: tuple[Invoice, list[Item]] | None = None
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
        # As at Stripe the ids say nothing of the order.
        name = f"evt_{zlib.crc32(b'%d' % self.number('evt')):08x}"
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
        made.from_balance = min(self.balance, max(0, made.total))
        self.balance -= made.from_balance + min(0, made.total)
        sub.latest_invoice = made.id
        for line in sorted(lines, key=lambda line: not line.is_prorated):
            if line.amount >= 0:
                self.lines_of[line.item] = (made.id, line.id)
        if self.dice.random() < 0.3:
            lines.reverse()
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
            self._noise(invoice)
        if invoice.due and "silent" not in self.traits:
            intent = {"type": "payment_intent", "payment_intent": f"pi_{invoice.number}"}
            known: dict[str, Any] = {
                "id": f"inpay_{invoice.number}",
                "object": "invoice_payment",
                "invoice": invoice.id,
            }
            known |= {"amount_paid": invoice.due, "status": "paid", "payment": intent, "livemode": False}
            self.report("invoice_payment.paid", known, is_since_basil=True)

    def _noise(self, invoice: Invoice) -> None:
        """Events that say nothing of plans."""
        if not invoice.due:
            return
        paid = {"amount": invoice.due, "currency": "usd", "customer": invoice.customer, "livemode": False}
        intent = {"id": f"pi_{invoice.number}", "object": "payment_intent", "amount_received": invoice.due}
        self.report("payment_intent.succeeded", {**paid, **intent, "metadata": {}, "status": "succeeded"})
