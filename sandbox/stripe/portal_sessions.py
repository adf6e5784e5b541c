"""Stripe's billing portal sessions: links for a customer to the sandbox's billing page."""

from __future__ import annotations

from sandbox.store.account import Account, new_id
from sandbox.store.store import Thing
from sandbox.stripe.checkout.sessions import web_address

KIND = "billing_portal.session"


def create(account: Account, params: Thing) -> Thing:
    """Create a session for a customer. Raises Refused."""
    customer = account.need("customer", params.get("customer", ""), "customer")
    id_ = new_id("bps")
    return account.save(
        {
            "id": id_,
            "object": KIND,
            "configuration": f"bpc_{account.name}",
            "created": account.now,
            "customer": customer["id"],
            "customer_account": None,
            "flow": None,
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": web_address(params, "return_url"),
            "url": f"{account.url}/billing/{id_}",
        }
    )
