"""The accounts that an app has of its own at Stripe and PayPal."""

from dataclasses import dataclass, field
from typing import Literal

PayPalEnvironment = Literal["sandbox", "live"]


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """The app's own Stripe account. Fields that are None or empty come from the settings."""

    secret_key: str | None = field(default=None, repr=False)
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class PayPalAccount:
    """The app's own PayPal account. Fields that are None come from the settings."""

    client_id: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    webhook_id: str | None = field(default=None, repr=False)
    environment: PayPalEnvironment | None = None
