"""Purchases of packs: one payment, and one ledger entry for each of its packs, however many events report it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

import orjson

from jobs.payments import packs, reversals
from jobs.payments.packs import Sold
from jobs.providers.facts import AnyFact, CheckoutEnded, PaymentSettled
from models.catalog.apps import App
from models.database import Connection
from models.errors import NotOurs, TooEarly, Unprocessable
from models.ledger import accounts
from models.ledger.accounts import CREDIT_MANUALLY, CREDITED_ELSEWHERE
from models.ledger.post import post
from models.outbox import messages
from models.payments import checkouts, payments, provider_customers, sales
from models.payments import messages as payment_messages
from models.payments import reversals as payment_reversals
from models.payments.payments import Payment, ReversiblePayment
from models.planning.movements import Grant
from models.tables import Checkout


def settle(conn: Connection, app: App, fact: PaymentSettled, *, now: datetime) -> str:
    """Record the payment and, once it is settled, grant its packs. Returns the customer.

    A payment that an event has credited already is not credited again by an event of another object that reports it.

    Raises:
        NotOurs: the event counts only for a checkout that Scrip created, and names none. Nothing was written.
        TooEarly: only another event can name the customer.
        Unprocessable: the event names no customer, or no pack of the catalog, or too little was paid.
    """
    checkout = _checkout(conn, app, fact)
    if checkout is None and fact.only_if_promised:
        raise NotOurs(
            f"the payment names checkout {str(fact.checkout)[:120]!r}, which this app did not create:"
            f" {CREDITED_ELSEWHERE}"
        )
    named = _ids(fact, checkout)
    ids = payment_reversals.lock(conn, app.slug, fact.provider, named)
    # Other events have reported something of a payment with more ids.
    if fact.state == "pending" or fact.only_if_promised or not set(ids) <= set(named):
        fact = packs.with_capture(fact, payment_reversals.captured(conn, app.slug, fact.provider, ids))
    known = payments.find(conn, app.slug, fact.provider, ids)
    customer = _customer(conn, app, fact, checkout, known)
    sold = [] if known and _is_credited(conn, fact, known) else packs.sold(app, fact, checkout)
    payment = _record(conn, app, fact, sold, customer, ids, now)
    if sold:
        _advance(conn, app, fact, sold, payment, now)
    if checkout is not None:
        _update_checkout(conn, checkout, fact, payment, now)
    reversals.settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)
    return customer


def note_of(app: App, facts: Iterable[AnyFact]) -> str | None:
    """The note for operators on an event that was applied: which part was not, or which quantity was assumed."""
    return next(filter(None, (packs.note_of(app, fact) for fact in facts if isinstance(fact, PaymentSettled))), None)


def end_checkout(conn: Connection, app: App, fact: CheckoutEnded, *, now: datetime) -> str | None:
    """Store the state that a checkout reached. Returns its customer; None if Scrip did not create it."""
    checkout = checkouts.find_for_payment(conn, app.slug, fact.provider, fact.checkout, (fact.reference,))
    if checkout is None:
        return None
    checkouts.advance(conn, checkout.id, fact.state, now=now)
    return str(checkout.customer)


def _ids(fact: PaymentSettled, checkout: Checkout | None) -> tuple[str, ...]:
    """The ids of the payment. A session of Stripe has one payment; an order of PayPal may have several."""
    session = checkout.provider_id if checkout and fact.provider == "stripe" else None
    return (fact.reference, *fact.aliases, *((session,) if session else ()))


def _customer(
    conn: Connection, app: App, fact: PaymentSettled, checkout: Checkout | None, known: ReversiblePayment | None
) -> str:
    """The customer: the checkout's, the one that the event names, the payment's, or the provider's customer's."""
    named = checkout.customer if checkout else fact.customer
    if not named and known:
        named = accounts.customer_of(conn, known.account_id)
    if not named and fact.provider_customer:
        named = provider_customers.customer_of(conn, app.slug, fact.provider, fact.provider_customer)
        if not named:
            raise _no_customer(fact)
    return accounts.known(named, fact.customer_field)


def _no_customer(fact: PaymentSettled) -> Unprocessable | TooEarly:
    reason = f"no customer: {fact.customer_field} is empty, and {fact.provider_customer!r} is not one known customer"
    if fact.is_named_later:
        return TooEarly(f"{reason} yet; {CREDIT_MANUALLY}", waits_for=fact.provider_customer)
    return Unprocessable(f"{reason}; {CREDIT_MANUALLY}")


def _is_credited(conn: Connection, fact: PaymentSettled, known: ReversiblePayment) -> bool:
    """Whether the payment is credited, by this object or another. A line may be added to the same object's lines."""
    if known.entry_id is None:
        return False
    return not fact.lines or not sales.is_credited_by(conn, known.entry_id, _key(fact, fact.document or "") + ":")


def _record(
    conn: Connection, app: App, fact: PaymentSettled, sold: list[Sold], customer: str, ids: list[str], now: datetime
) -> Payment:
    first = sold[0] if sold else None
    return payments.record(
        conn,
        app=app.slug,
        account_id=accounts.ensure(conn, app.slug, customer, now=now),
        provider=fact.provider,
        reference=payments.reference_of(conn, app.slug, fact.provider, ids) or fact.reference,
        aliases=ids,
        order_id=fact.order,
        pack=first.pack.key if first else None,
        quantity=first.quantity if first else 1,
        amount_minor=_amount_minor(fact, sold),
        currency=fact.currency or (first.pack.currency if first else None),
        state="failed" if fact.state == "failed" else "pending",
        tax_minor=fact.parts.tax_minor,
        discount_minor=fact.parts.discount_minor,
        fee_minor=fact.parts.fee_minor,
        pending_sale=_pending_sale(fact),
        now=now,
    )


def _pending_sale(fact: PaymentSettled) -> str | None:
    """What a later capture of the payment buys, as JSON."""
    if fact.state != "pending" or not (fact.lines or fact.subtotal):
        return None
    lines = [asdict(line) for line in fact.lines]
    return orjson.dumps({"document": fact.document, "lines": lines, "subtotal": fact.subtotal}).decode()


def _amount_minor(fact: PaymentSettled, sold: list[Sold]) -> int:
    """What was paid; the catalog's price if the event does not say."""
    if fact.amount_minor is not None:
        return fact.amount_minor
    return sum(each.pack.price_minor * each.quantity for each in sold)


def _update_checkout(
    conn: Connection, checkout: Checkout, fact: PaymentSettled, payment: Payment, now: datetime
) -> None:
    if fact.state == "settled":
        checkouts.mark_paid(conn, checkout.id, payment.id, now=now)
    else:
        checkouts.advance(conn, checkout.id, fact.state, now=now)


def _names(fact: PaymentSettled) -> tuple[str, ...]:
    return (fact.reference, *fact.aliases, *((fact.order,) if fact.order else ()))


def _checkout(conn: Connection, app: App, fact: PaymentSettled) -> Checkout | None:
    """The checkout that the payment pays: it sold a pack, to the payment's customer."""
    checkout = checkouts.find_for_payment(conn, app.slug, fact.provider, fact.checkout, _names(fact))
    return checkout if checkout and checkouts.is_paid_by(checkout, fact.customer, fact.order) else None


def _advance(
    conn: Connection, app: App, fact: PaymentSettled, sold: list[Sold], payment: Payment, now: datetime
) -> None:
    if fact.state != "settled":
        if payment.state != "failed":  # a late "pending" does not reopen a failed payment
            payments.set_state(conn, payment.id, fact.state, now=now)
        return
    owner = accounts.customer_of(conn, payment.account_id)
    outcomes = post(conn, [_grant(app, fact, each, payment, owner, sold) for each in sold], now=now)
    if any(outcome.status == "refused" for outcome in outcomes):
        raise Unprocessable(
            f"the balance of {owner!r} would exceed the largest balance of an account: deduct units and replay the "
            "event (POST /v1/events/{id}/replay), or refund the payment"
        )
    new = [outcome for outcome in outcomes if outcome.status == "applied" or payment.entry_id is None]
    if not new:
        return
    first, units = new[0], sum(outcome.units for outcome in new)
    payments.settle(
        conn,
        payment.id,
        units=units,
        entry_id=first.entry_id,
        quantity=sold[0].quantity,
        amount_minor=fact.amount_minor,
        now=now,
    )
    data = {"pack": sold[0].pack.key, "quantity": sold[0].quantity, "units": units, "entry": first.entry_id}
    amount = (fact.amount_minor, fact.currency)
    told = payment_messages.settled(app.slug, owner, fact.provider, payment.id, payment.reference, *amount, data)
    messages.emit(conn, [told], now=now)


def _key(fact: PaymentSettled, reference: str) -> str:
    return f"purchase:{fact.provider}:{reference}"


def _grant(app: App, fact: PaymentSettled, sold: Sold, payment: Payment, customer: str, all_sold: list[Sold]) -> Grant:
    pack, quantity = sold.pack, sold.quantity
    price_minor = sold.price_minor if sold.line else _amount_minor(fact, all_sold)
    meta = {
        "event": fact.event_id,
        "provider": fact.provider,
        "payment": payment.reference,
        "pack": pack.key,
        "quantity": quantity,
        "units": pack.units,
    }
    return Grant(
        app=app.slug,
        customer=customer,
        key=f"{_key(fact, fact.document or '')}:{sold.line}" if sold.line else _key(fact, payment.reference),
        units=pack.units * quantity,
        type="purchase",
        source=f"pack:{pack.key}",
        reason=f"{quantity} × {pack.key}" if quantity > 1 else pack.key,
        expires_after=pack.expires_after,
        price_minor=pack.price_minor * quantity if price_minor is None else price_minor,
        currency=fact.currency or pack.currency,
        payment_id=payment.id,
        meta={**meta, "note": sold.note} if sold.note else meta,
        actor=fact.provider,
    )
