"""Scrip's own customers at Stripe: one for each customer of an app, used by all checkouts of that customer.

Stripe is called outside of any transaction. The idempotency key of the creation names the app's customer, so that
checkouts that start at the same time, or a repetition after a crash, get the same one.
"""

from __future__ import annotations

from jobs.providers.stripe import checkout as stripe_checkout
from jobs.providers.stripe.billing import customers as stripe_customers
from models import customers, database
from models.catalog.apps import App
from models.errors import ProviderRefused
from models.payments import provider_customers
from models.tables import Checkout

PROVIDER = "stripe"
ATTEMPTS = 3


def open_session(app: App, checkout: Checkout) -> tuple[str, str]:
    """Open the checkout at Stripe, for the customer's own customer there. Returns its id and the URL of its page.

    Raises:
        ProviderAway, ProviderRefused.
    """
    gone = ""
    for _ in range(ATTEMPTS):
        customer_id = _ensure(app, checkout.customer, gone)
        try:
            if checkout.email:
                stripe_customers.set_email(app, customer_id, checkout.email)
            return stripe_checkout.open_session(app, checkout, customer_id)
        except ProviderRefused as refusal:
            if not stripe_customers.is_gone(refusal):
                raise
            last, gone = refusal, customer_id
    raise last


def _ensure(app: App, customer: str, gone: str) -> str:
    """The id of the customer's own customer, created if there is none or it is the one that is gone."""
    known = provider_customers.own(app.slug, PROVIDER, customer)
    email = None if known else customers.email(app.slug, customer)
    database.release()
    if known and known != gone:
        return known
    customer_id = stripe_customers.create(app, customer, after=gone)
    if email:
        _set_known_email(app, customer_id, email)
    database.transaction(lambda conn: provider_customers.store_own(conn, app.slug, PROVIDER, customer_id, customer))
    database.release()
    return customer_id


def _set_known_email(app: App, customer_id: str, email: str) -> None:
    """Set the account's address. One that Stripe does not accept is left out: the buyer enters another."""
    try:
        stripe_customers.set_email(app, customer_id, email)
    except ProviderRefused as refusal:
        if stripe_customers.is_gone(refusal):
            return
        if refusal.param != "email":
            raise
