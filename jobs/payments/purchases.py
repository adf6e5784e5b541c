"""Purchases of packs: one payment and one ledger entry, however many events report it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from jobs.payments import reversals
from jobs.providers.facts import CheckoutEnded, PaymentSettled
from models import money
from models.catalog import prices
from models.catalog.apps import App, Pack
from models.database import Connection
from models.errors import NotOurs, Unprocessable
from models.inbox.events import MEND
from models.ledger import accounts
from models.ledger.accounts import CREDIT_MANUALLY, CREDITED_ELSEWHERE
from models.ledger.post import post
from models.outbox import messages
from models.payments import checkouts, payments
from models.payments import messages as payment_messages
from models.payments import reversals as payment_reversals
from models.payments.payments import Payment
from models.planning.movements import Grant
from models.tables import Checkout

MOST_UNITS = 10**12


def settle(conn: Connection, app: App, fact: PaymentSettled, *, now: datetime) -> str:
    """Record the payment and, once it is settled, grant its pack. Returns the customer.

    The units are those that its checkout promised, else the catalog's times the quantity. They never depend on the
    amount paid or on a number in the event.

    Raises:
        NotOurs: the event counts only for a checkout that Scrip created, and names none. Nothing was written.
        Unprocessable: the event names no customer, or no pack of the catalog, or too little was paid.
    """
    checkout = _checkout(conn, app, fact)
    if checkout is None and fact.only_if_promised:
        raise NotOurs(
            f"the payment names checkout {str(fact.checkout)[:120]!r}, which this app did not create:"
            f" {CREDITED_ELSEWHERE}"
        )
    if checkout is not None:
        fact = replace(fact, customer=checkout.customer, quantity=checkout.quantity)
    customer = accounts.known(fact.customer, fact.customer_field)
    pack = (checkouts.sold_pack(checkout) if checkout else None) or _pack(app, fact)
    _check_paid(fact, pack)
    ids = payment_reversals.lock(conn, app.slug, fact.provider, (fact.reference, *fact.aliases))
    payment = _record(conn, app, fact, pack, customer, ids, now)
    if payment.entry_id is None:
        _advance(conn, app, fact, pack, payment, now)
    if checkout is not None:
        _update_checkout(conn, checkout, fact, payment, now)
    reversals.settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)
    return customer


def end_checkout(conn: Connection, app: App, fact: CheckoutEnded, *, now: datetime) -> str | None:
    """Store the state that a checkout reached. Returns its customer; None if Scrip did not create it."""
    checkout = checkouts.find_for_payment(conn, app.slug, fact.provider, fact.checkout, (fact.reference,))
    if checkout is None:
        return None
    checkouts.advance(conn, checkout.id, fact.state, now=now)
    return str(checkout.customer)


def _record(
    conn: Connection, app: App, fact: PaymentSettled, pack: Pack, customer: str, ids: list[str], now: datetime
) -> Payment:
    return payments.record(
        conn,
        app=app.slug,
        account_id=accounts.ensure(conn, app.slug, customer, now=now),
        provider=fact.provider,
        reference=payments.reference_of(conn, app.slug, fact.provider, ids) or fact.reference,
        aliases=ids,
        order_id=fact.order,
        pack=pack.key,
        quantity=fact.quantity,
        amount_minor=fact.amount_minor if fact.amount_minor is not None else pack.price_minor * fact.quantity,
        currency=fact.currency or pack.currency,
        state="failed" if fact.state == "failed" else "pending",
        now=now,
    )


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


def _check_paid(fact: PaymentSettled, pack: Pack) -> None:
    """Check a payment whose price the payer could choose, as in an order that a browser created.

    A Stripe session may be in another currency than the pack: Stripe converts the price where the account allows it.
    The buyer cannot choose that amount, so it is not checked.

    Raises:
        Unprocessable: the amount is less than the pack's price, or in another currency.
    """
    if not fact.is_priced_by_payer or fact.state != "settled":
        return
    amount_minor, currency = fact.amount_minor or 0, fact.currency or ""
    sold = prices.fault(pack, fact.quantity, amount_minor, currency)
    if sold:
        paid = money.to_amount(amount_minor, currency)
        raise Unprocessable(f"{paid} {currency} were paid for {sold}: refund it; or if the price is wrong, {MEND}")


def _advance(conn: Connection, app: App, fact: PaymentSettled, pack: Pack, payment: Payment, now: datetime) -> None:
    if fact.state != "settled":
        if payment.state != "failed":  # a late "pending" does not reopen a failed payment
            payments.set_state(conn, payment.id, fact.state, now=now)
        return
    owner = accounts.customer_of(conn, payment.account_id)
    (outcome,) = post(conn, [_grant(app, fact, pack, payment, owner)], now=now)
    if outcome.status == "refused":
        raise Unprocessable(
            f"the balance of {owner!r} would exceed the largest balance of an account: deduct units and replay the "
            "event (POST /v1/events/{id}/replay), or refund the payment"
        )
    payments.settle(conn, payment.id, units=outcome.units, entry_id=outcome.entry_id, now=now)
    data = {"pack": pack.key, "quantity": fact.quantity, "units": outcome.units, "entry": outcome.entry_id}
    amount = (fact.amount_minor, fact.currency)
    told = payment_messages.settled(app.slug, owner, fact.provider, payment.id, payment.reference, *amount, data)
    messages.emit(conn, [told], now=now)


def _grant(app: App, fact: PaymentSettled, pack: Pack, payment: Payment, customer: str) -> Grant:
    return Grant(
        app=app.slug,
        customer=customer,
        key=f"purchase:{fact.provider}:{payment.reference}",
        units=pack.units * fact.quantity,
        type="purchase",
        source=f"pack:{pack.key}",
        reason=f"{fact.quantity} × {pack.key}" if fact.quantity > 1 else pack.key,
        expires_after=pack.expires_after,
        price_minor=fact.amount_minor if fact.amount_minor is not None else pack.price_minor * fact.quantity,
        currency=fact.currency or pack.currency,
        payment_id=payment.id,
        meta={
            "event": fact.event_id,
            "provider": fact.provider,
            "payment": payment.reference,
            "pack": pack.key,
            "quantity": fact.quantity,
            "units": pack.units,
        },
        actor=fact.provider,
    )


def _pack(app: App, fact: PaymentSettled) -> Pack:
    by_price = app.pack_by_stripe_price(fact.price_id) if fact.price_id else None
    pack = app.packs.get(fact.pack) if fact.pack else by_price
    if pack is None:
        raise Unprocessable(_no_pack(app, fact))
    if pack.units * fact.quantity > MOST_UNITS:
        raise Unprocessable(f"{fact.quantity} × {pack.key} is more than {MOST_UNITS} units: refund the payment")
    return pack


def _no_pack(app: App, fact: PaymentSettled) -> str:
    """Why no pack was found, and what to do about it."""
    if not (fact.pack or fact.price_id):
        return f"no pack named: the event has none in {fact.pack_field}; {CREDIT_MANUALLY}"
    named = f"pack {fact.pack!r}" if fact.pack else f"pack for price {fact.price_id!r}"
    return f"no {named}: the catalog of {app.slug} has {', '.join(app.packs) or 'no packs'}; {MEND}"
