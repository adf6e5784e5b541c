"""The provider's own portal, on which a customer manages subscriptions, cards and invoices."""

from __future__ import annotations

from jobs.payments import offers
from jobs.payments.own_customers import PROVIDER
from jobs.providers.stripe.billing import customers
from models import database
from models.catalog.apps import App
from models.errors import NotFound, ProviderRefused
from models.payments import provider_customers


def link(app: App, customer: str, return_url: str) -> str:
    """The URL of a new session of the portal.

    Raises:
        Invalid: the catalog does not allow the host of the URL.
        NotFound: the provider knows no such customer.
        ProviderAway, ProviderRefused.
    """
    offers.check_hosts(app, {"return_url": return_url}, ("return_url",))
    customer_id = provider_customers.for_portal(app.slug, PROVIDER, customer)
    database.release()
    if customer_id is None:
        raise NotFound(f"{customer!r} has no customer at Stripe yet: the first checkout creates one")
    try:
        return customers.portal(app, customer_id, return_url)
    except ProviderRefused as refusal:
        if customers.is_gone(refusal):
            raise NotFound(
                f"Stripe no longer has the customer of {customer!r}: the next checkout creates one"
            ) from None
        raise
