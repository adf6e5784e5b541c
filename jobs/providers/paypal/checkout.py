"""Orders and subscriptions at PayPal."""

from __future__ import annotations

from jobs.providers.paypal import client, fields
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


def open_page(app: App, checkout: Checkout) -> tuple[str, str]:
    """Open the checkout's order, or its subscription. Returns its id and the URL of its page. Repeating it is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    custom_id = fields.write_custom_id(
        app=app.slug,
        customer=checkout.customer,
        pack=checkout.pack,
        plan=checkout.plan,
        checkout=checkout.external_id,
    )
    return _open_subscription(app, checkout, custom_id) if checkout.plan else _open_order(app, checkout, custom_id)


def _open_order(app: App, checkout: Checkout, custom_id: str) -> tuple[str, str]:
    return client.client(app).create_order(
        f"{app.slug}:{checkout.external_id}",
        custom_id=custom_id,
        description=checkout.title,
        amount_minor=checkout.price_minor * checkout.quantity,
        currency=checkout.currency,
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
    )


def _open_subscription(app: App, checkout: Checkout, custom_id: str) -> tuple[str, str]:
    plan = app.plans.get(checkout.plan or "")
    if plan is None or plan.paypal_plan is None:
        raise ProviderRefused(f"the plan {checkout.plan!r} has no paypal_plan in the catalog of {app.slug}")
    context = {
        "return_url": checkout.success_url,
        "cancel_url": checkout.cancel_url,
        "user_action": "SUBSCRIBE_NOW",
        "shipping_preference": "NO_SHIPPING",
    }
    body = {
        "plan_id": plan.paypal_plan,
        "custom_id": custom_id,
        "quantity": str(checkout.quantity),
        "application_context": context,
    }
    if checkout.email:
        body["subscriber"] = {"email_address": checkout.email}
    return client.client(app).create_subscription(f"{app.slug}:{checkout.external_id}", body)
