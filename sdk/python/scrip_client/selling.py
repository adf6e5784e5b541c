"""Checkouts, the portal, grants, activation keys and customers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scrip_client.base import Answer, Base, new_id, path_of


class Selling(Base):
    def checkout(
        self,
        customer: str,
        *,
        success_url: str,
        cancel_url: str,
        pack: str | None = None,
        plan: str | None = None,
        stripe_price: str | None = None,
        quantity: int | None = None,
        provider: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
        another: bool | None = None,
        id: str | None = None,
    ) -> Answer:
        """Create a checkout for a pack or a plan: `{"id", "url", "provider"}`. Redirect the customer to the URL.

        `quantity`: packs, or seats of a plan. `another`: sell a plan that the customer has already, which is a
        `Conflict` otherwise. `metadata` are passed on to the provider.
        """
        product: dict[str, Any] = {
            "pack": pack,
            "plan": plan,
            "stripe_price": stripe_price,
            "quantity": quantity,
            "provider": provider,
            "metadata": dict(metadata) if metadata is not None else None,
            "another": another,
        }
        page: dict[str, Any] = {"success_url": success_url, "cancel_url": cancel_url, "email": email}
        return self._post("/v1/checkout", id=id or new_id(), customer=customer, **product, **page)

    def grant_monthly(self, customer: str) -> int:
        """Grant the units that the customer's plan owes now. Returns the granted units, 0 if none were owed."""
        return int(self._post(path_of("customers", customer, "grants"))["granted"])

    def check_activation(self, key: str) -> Answer:
        """Check an activation key: `{"valid", "customer", "plan", "status"}`."""
        return self._post("/v1/activation/check", key=key)

    def checkout_state(self, id: str, *, customer: str | None = None) -> Answer:
        """A checkout: `{"state", "payment", …}`. `customer`: the one whose token gave the id."""
        return self._get(path_of("checkouts", id), customer=customer)

    def portal(self, customer: str, *, return_url: str) -> str:
        """The URL of the provider's customer portal. Raises NotFound before the customer's first checkout."""
        return str(self._post(path_of("customers", customer, "portal"), return_url=return_url)["url"])

    def token(self, customer: str, *, can: Iterable[str] | None = None, expires_in: int | None = None) -> Answer:
        """Create a token for the customer's browser, limited to this customer: `{"token", "expires_at"}`.

        `can`: some of "read", "checkout", "subscriptions"; by default the first two. It is valid for `expires_in`
        seconds, at most one hour.
        """
        wanted = list(can) if can is not None else None
        return self._post(path_of("customers", customer, "tokens"), can=wanted, expires_in=expires_in)

    def customer(self, customer: str) -> Answer:
        """A customer: tier, email, timezone, subscription. Raises NotFound for an unknown customer."""
        return self._get(path_of("customers", customer))

    def customers(self, query: str | None = None) -> Iterator[Answer]:
        """The customers whose id or email contains `query`, newest first."""
        return self._pages("/v1/customers", "customers", query=query)

    def update_customer(self, customer: str, **changes: str | None) -> Answer:
        """Set `tier`, `email` or `timezone`; None clears the field. Creates the customer if it does not exist."""
        answer: Answer = self.request("PATCH", path_of("customers", customer), body=changes)
        return answer
