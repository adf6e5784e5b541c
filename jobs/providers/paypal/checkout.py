"""Orders at PayPal."""

from __future__ import annotations

from jobs.providers.paypal import client
from models.catalog.apps import App
from models.errors import ProviderRefused
from models.tables import Checkout


def is_reachable(app: App) -> bool:
    """Whether there is an API to call: PayPal's with an account, or the sandbox's."""
    try:
        client.account_of(app)
    except ProviderRefused:
        return False
    return True


def open_order(app: App, checkout: Checkout) -> tuple[str, str]:
    """Open the checkout's order. Returns its id and the URL of its payment page. Repeating the call is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    assert checkout.pack, "plans are not sold through PayPal"
    custom_id = client.write_custom_id(
        app=app.slug,
        customer=checkout.customer,
        pack=checkout.pack,
        checkout=checkout.external_id,
    )
    return client.client(app).create_order(
        f"{app.slug}:{checkout.external_id}",
        custom_id=custom_id,
        description=checkout.title,
        amount_minor=checkout.price_minor * checkout.quantity,
        currency=checkout.currency,
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
    )
