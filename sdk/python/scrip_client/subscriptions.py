"""Subscriptions: reading, canceling, resuming and changing them."""

from __future__ import annotations

from collections.abc import Iterator

from scrip_client.base import Answer, Base, path_of


class Subscriptions(Base):
    def subscriptions(self, customer: str) -> Iterator[Answer]:
        """The customer's subscriptions, newest first, including those that have ended."""
        return self._pages(path_of("customers", customer, "subscriptions"), "subscriptions")

    def subscription(self, subscription_id: int) -> Answer:
        """A subscription, with what it was `owed` in each period."""
        return self._get(path_of("subscriptions", subscription_id))

    def cancel_subscription(self, subscription_id: int, *, at: str = "period_end") -> Answer:
        """Cancel a subscription at the end of its period, or "now". It changes when the provider reports it."""
        return self._post(path_of("subscriptions", subscription_id, "cancel"), at=at)

    def resume_subscription(self, subscription_id: int) -> Answer:
        """Undo a cancellation that has not come yet."""
        return self._post(path_of("subscriptions", subscription_id, "resume"))

    def change_subscription(self, subscription_id: int, plan: str, *, quantity: int | None = None) -> Answer:
        """Change the plan or the number of seats: more units at once, fewer at the end of the period."""
        return self._post(path_of("subscriptions", subscription_id, "change"), plan=plan, quantity=quantity)

    def preview_change(self, subscription_id: int, plan: str, *, quantity: int | None = None) -> Answer:
        """What a change would cost and grant: `{"now": {"money", "units"}, "renewal": {"money", "units", "at"}}`."""
        path = path_of("subscriptions", subscription_id, "change")
        return self._post(path, plan=plan, quantity=quantity, preview=True)
