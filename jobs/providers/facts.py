"""Provider-neutral facts: the interface between payment providers and the ledger.

The providers' modules yield facts without access to the ledger; the jobs apply facts without access to a provider.
Amounts are in minor units of their currency, times are aware and in UTC, ids are the provider's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.providers.returns import CreditNote, Dispute, Refund
from jobs.providers.sold import NO_PARTS, PackLine, Parts
from models.plans.facts import PlanFact


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The source of a fact. `event_id` is the provider's id of the event that reported it."""

    app: str
    provider: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a fact: its customer, and a note for operators."""

    customer: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettled(Fact):
    """A payment of packs. `reference` is the economic key of the payment, `aliases` are its other ids.

    - `state`: `settled` (paid, or nothing to pay), `pending` (the money is on its way) or `failed`.
    - `checkout`: the id of Scrip's own checkout. Its promise holds even if the catalog has changed since.
    - `order`: an id that several payments may share, so it does not identify a payment.
    - `lines`: the packs of a payment for several lines of `document`, the id of a session or an invoice. Such a payment
      is credited by one document only, and each of its lines once.
    - `is_partial`: less than the authorised amount was captured, and the quantity follows from `amount_minor`.
    - `subtotal`: (minor units, currency) before discount and tax, if the quantity is not known and follows from it.
    - `has_amounts`: False if nothing says how many were bought; one is assumed then, with a note.
    - `only_if_promised`: credited only if a checkout promised it; otherwise another event reports the payment.
    - `is_priced_by_payer`: the payer may have set the amount and the currency; the quantity follows from the amount.
    - `provider_customer`: whose payment it is if `customer` is None. `is_named_later`: another event may name them.
    - `customer_field` and `pack_field`: the fields of the event that name them, for error messages.
    - `note`: for operators, if a part of the payment is not applied.
    """

    customer: str | None
    reference: str
    aliases: tuple[str, ...] = ()
    pack: str | None = None
    price_id: str | None = None
    quantity: int = 1
    lines: tuple[PackLine, ...] = ()
    document: str | None = None
    subtotal: tuple[int, str] | None = None
    checkout: str | None = None
    order: str | None = None
    only_if_promised: bool = False
    is_partial: bool = False
    has_amounts: bool = True
    is_priced_by_payer: bool = False
    provider_customer: str | None = None
    is_named_later: bool = False
    customer_field: str = "metadata.customer or client_reference_id"
    pack_field: str = "metadata.pack, and no price"
    amount_minor: int | None = None
    currency: str | None = None
    parts: Parts = NO_PARTS
    state: Literal["settled", "pending", "failed"] = "settled"
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerKnown(Fact):
    """The provider's id of a customer."""

    customer: str
    provider_customer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReported(Fact):
    """A fact of a subscription. `subscription` is None for one that names only a bill of it."""

    subscription: str | None
    fact: PlanFact


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReversed(Fact):
    """Refunds, credit notes and disputes of a payment: a set keyed by the provider's ids, so any order ends the same.

    `payment` has all ids of the payment in the event. `refunded_minor` is the provider's own total, if the event has
    one; it includes the single refunds. `currency` is set if the amounts must be in the payment's currency.
    """

    payment: tuple[str, ...]
    refunds: tuple[Refund, ...] = ()
    credit_notes: tuple[CreditNote, ...] = ()
    refunded_minor: int | None = None
    currency: str | None = None
    dispute: Dispute | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentKnownAs(Fact):
    """All of these ids name one payment."""

    payment: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCaptured(Fact):
    """An authorised payment was captured, perhaps in part, or canceled. Another event says what it buys."""

    payment: tuple[str, ...]
    amount_minor: int
    authorized_minor: int
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentParts(Fact):
    """The tax, discount and fee of a payment that another fact or event reports. `payment`: its ids."""

    payment: tuple[str, ...]
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutEnded(Fact):
    """A checkout of Scrip reached a state without a `PaymentSettled`: it sells a plan, or it expired.

    `checkout` is Scrip's id of the checkout, `reference` the provider's.
    """

    checkout: str
    reference: str
    state: Literal["expired", "pending", "failed", "paid"]


AnyFact = (
    PaymentSettled
    | CustomerKnown
    | PlanReported
    | PaymentReversed
    | PaymentKnownAs
    | PaymentCaptured
    | PaymentParts
    | CheckoutEnded
)
