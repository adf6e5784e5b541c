"""What a provider told us, in our own words: the joint between payments and the ledger.

A provider's module yields facts and knows no ledger; the jobs apply facts and know no provider. Money is in minor
units of its currency, times are aware and in UTC, ids are the provider's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Where it came from. `event_id` is the provider's id of the event that told it."""

    app: str
    provider: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettled(Fact):
    """A pack was sold. `reference` is the economic key of the payment, `aliases` the other ids it goes by.

    `state` is `settled` (paid, or nothing to pay), `pending` (the money is on its way) or `failed`.
    """

    customer: str | None
    reference: str
    aliases: tuple[str, ...] = ()
    pack: str | None = None
    price_id: str | None = None
    quantity: int = 1
    amount_minor: int | None = None
    currency: str | None = None
    state: Literal["settled", "pending", "failed"] = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerKnown(Fact):
    """The provider's id of a customer."""

    customer: str
    provider_customer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChanged(Fact):
    """The state of a subscription at `changed_at`. `price_id` comes before `plan`: it says what is paid now."""

    subscription: str
    customer: str | None
    provider_customer: str | None
    plan: str | None
    price_id: str | None
    status: str
    anchor: datetime
    period_start: datetime | None
    period_end: datetime | None
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """The line of an invoice that pays for a plan from `start` to `end`."""

    plan: str | None
    price_id: str | None
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodPaid(Fact):
    """An invoice of a subscription was paid, or (`paid` false) could not be.

    `renews`: it starts the subscription or a cycle.
    """

    subscription: str
    customer: str | None
    provider_customer: str | None
    invoice: str
    paid: bool
    renews: bool
    line: PlanLine | None
    amount_minor: int | None = None
    currency: str | None = None
    aliases: tuple[str, ...] = field(default=())


AnyFact = PaymentSettled | CustomerKnown | SubscriptionChanged | PeriodPaid
