"""Customers at Stripe that Scrip creates, and the portal on which they manage what they bought."""

from __future__ import annotations

from jobs.providers.stripe import client
from models.catalog.apps import App
from models.errors import ProviderAway, ProviderRefused

GONE = "resource_missing"


def create(app: App, customer: str, *, after: str) -> str:
    """Create the customer at Stripe. Returns its id. Repeating the call is safe, also at the same time.

    `after`: the id of one that is gone, else an empty text. The parameters depend on nothing else, because Stripe
    rejects a repetition with others: the email address is set separately.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("customer", app.slug, customer, after)
    params = {"metadata": {"app": app.slug, "customer": customer}}
    return str(client.call(app, lambda v1: v1.customers.create(params, {"idempotency_key": key}))["id"])


def set_email(app: App, customer_id: str, email: str) -> None:
    """Set the email address.

    Raises:
        ProviderAway, ProviderRefused.
    """
    client.call(app, lambda v1: v1.customers.update(customer_id, {"email": email}))


def is_gone(refusal: ProviderRefused) -> bool:
    """Whether Stripe refused a call because it does not know the customer, or no longer."""
    return refusal.code == GONE and refusal.param in ("customer", "id")


def portal(app: App, customer_id: str, return_url: str) -> str:
    """The URL of a new session of the customer portal.

    Raises:
        ProviderAway, ProviderRefused.
    """
    params = {"customer": customer_id, "return_url": return_url}
    session = client.call(app, lambda v1: v1.billing_portal.sessions.create(params))
    if not session.get("url"):
        raise ProviderAway("Stripe returned a portal session without a url")
    return str(session["url"])
