"""Selling credit, and the customers it is sold to."""

from __future__ import annotations

from collections.abc import Iterator
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
        id: str | None = None,
    ) -> Answer:
        """Start a purchase of a pack or a plan: `{"id", "url", "provider"}`. Send the customer to the URL."""
        what: dict[str, Any] = {
            "pack": pack,
            "plan": plan,
            "stripe_price": stripe_price,
            "quantity": quantity,
            "provider": provider,
        }
        where: dict[str, Any] = {"success_url": success_url, "cancel_url": cancel_url, "email": email}
        return self._post("/v1/checkout", id=id or new_id(), customer=customer, **what, **where)

    def grant_monthly(self, customer: str) -> int:
        """Grant what the customer's plan owes now, as on login. Returns the units, 0 if they were granted before."""
        return int(self._post(path_of("customers", customer, "grants"))["granted"])

    def check_activation(self, key: str) -> Answer:
        """Whether an activation key is valid: `{"valid", "customer", "plan", "status"}`."""
        return self._post("/v1/activation/check", key=key)

    def token(self, customer: str, *, expires_in: int | None = None) -> Answer:
        """A token with which the customer's browser reads that customer's own resources: `{"token", "expires_at"}`.

        It lives for `expires_in` seconds, an hour at most.
        """
        return self._post(path_of("customers", customer, "tokens"), expires_in=expires_in)

    def customer(self, customer: str) -> Answer:
        """A customer: tier, email, timezone, subscription. NotFound if Scrip has not heard of them."""
        return self._get(path_of("customers", customer))

    def customers(self, query: str | None = None) -> Iterator[Answer]:
        """The customers whose id or email contains `query`, newest first."""
        return self._pages("/v1/customers", "customers", query=query)

    def update_customer(self, customer: str, **changes: str | None) -> Answer:
        """Set `tier`, `email` or `timezone`; None clears. A customer who is new is made."""
        answer: Answer = self.request("PATCH", path_of("customers", customer), body=changes)
        return answer
