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

    `state` is `settled` (paid, or nothing to pay), `pending` (the money is on its way) or `failed`. `checkout` is our
    own checkout's id: what was promised there holds, whatever the catalog says today. `order` is an id that several
    payments may share, so it names none of them. `only_if_promised`: where nothing was, another event tells of it.
    `is_priced_by_payer`: whoever paid may have written the amount and the currency. `customer_field` and `pack_field`
    say where in the event they were looked for, to whoever has to mend it.
    """

    customer: str | None
    reference: str
    aliases: tuple[str, ...] = ()
    pack: str | None = None
    price_id: str | None = None
    quantity: int = 1
    checkout: str | None = None
    order: str | None = None
    only_if_promised: bool = False
    is_priced_by_payer: bool = False
    customer_field: str = "metadata.customer or client_reference_id"
    pack_field: str = "metadata.pack, and no price"
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
    """The state of a subscription at `changed_at`. `price_id` comes before `plan`: it says what is paid now.

    `is_current`: the state is that of now, though the event is of `changed_at`. `latest_invoice` may be unpaid yet.
    """

    subscription: str
    customer: str | None
    provider_customer: str | None
    plan: str | None
    price_id: str | None
    checkout: str | None = None
    status: str
    anchor: datetime
    period_start: datetime | None
    period_end: datetime | None
    changed_at: datetime
    is_first: bool = False
    is_current: bool = False
    latest_invoice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """The line of an invoice that pays for a plan from `start` to `end`.

    `is_prorated`: for the rest of a period, after a change to that plan within it.
    """

    plan: str | None
    price_id: str | None
    start: datetime
    end: datetime
    is_prorated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodPaid(Fact):
    """An invoice of a subscription was paid, or (`paid` false) could not be.

    `renews`: it starts the subscription or a cycle; `changes`: it pays for a change of the plan. `is_given_up`: nobody
    waits for its money any more.
    """

    subscription: str
    customer: str | None
    provider_customer: str | None
    invoice: str
    checkout: str | None = None
    paid: bool
    renews: bool
    line: PlanLine | None
    changes: bool = False
    is_given_up: bool = False
    amount_minor: int | None = None
    currency: str | None = None
    aliases: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One refund by its provider's id. One that `failed` (or was canceled) returned nothing after all.

    `is_reversal`: the provider took the money by itself, as where a dispute is lost.
    """

    reference: str
    amount_minor: int
    failed: bool = False
    is_reversal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeMove:
    """Money that a dispute moved, by the id of the provider's balance transaction: taken (+) or given back (−)."""

    reference: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A dispute by its provider's id. `stage` only grows: an older event that comes late changes nothing.

    `inquiry`: money was only asked about, and the lot is frozen; `open`: as far as `moves` say, money was taken;
    `closed`: it was decided or given up. `withdrawn_minor` and `reinstated_minor` stand in for `moves` where a provider
    names none. `whole`: the id of the dispute where it is of several payments and this is its part of one of them; all
    parts are at the stage of the one that is furthest.
    """

    reference: str
    whole: str | None = None
    stage: Literal["inquiry", "inquiry_closed", "open", "closed"]
    moves: tuple[DisputeMove, ...] = ()
    withdrawn_minor: int = 0
    reinstated_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReversed(Fact):
    """Money of a payment went back, or is disputed. It is a set keyed by the provider's ids: order does not matter.

    `payment` are all ids that the event knows the payment by. `refunded_minor` is the provider's own sum, where it
    gives one: it tells of the same money as the single refunds. `currency` is that of the amounts, where they have to
    be in the payment's own.
    """

    payment: tuple[str, ...]
    refunds: tuple[Refund, ...] = ()
    refunded_minor: int | None = None
    currency: str | None = None
    dispute: Dispute | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentKnownAs(Fact):
    """One payment goes by all of these ids."""

    payment: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutEnded(Fact):
    """A checkout of ours that no `PaymentSettled` tells of: what became of a plan's, or nobody can pay it any more.

    `checkout` is our id of it, `reference` the provider's.
    """

    checkout: str
    reference: str
    state: Literal["expired", "pending", "failed", "paid"]


AnyFact = (
    PaymentSettled | CustomerKnown | SubscriptionChanged | PeriodPaid | PaymentReversed | PaymentKnownAs | CheckoutEnded
)
