"""An app of the catalog: its packs, rates, plans, session rules, alerts and provider accounts.

Everything is frozen: what was sold or charged keeps its terms, whatever the file says later. Units are whole numbers of
the app's unit; prices are in minor units of their currency.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from models import durations, money
from models.catalog.provider_accounts import PayPalAccount, StripeAccount

Provider = Literal["stripe", "paypal"]
BurnOrder = Literal["expiring_first", "largest_first", "oldest_first"]
OnShortfall = Literal["partial", "debt", "reject"]
Period = Literal["period"]
TrialGrants = Literal["once", "monthly"]
OnUpgrade = Literal["prorated", "full"]
OnUpgradeUnbilled = Literal["wait", "trust"]
Rounding = Literal["each", "carry"]


@dataclass(frozen=True, slots=True)
class Pack:
    """Units sold once. They expire `expires_after` their posting (None: never).

    `min_price_minor`: the least that is accepted for one pack where only the amount is known. `limit_per_customer`:
    how many a customer may buy by checkout; 0: no limit.
    """

    key: str
    units: int
    price_minor: int
    currency: str
    expires_after: timedelta | None = None
    requires_tier: str | None = None
    refundable: bool = True
    stripe_price: str | None = None
    min_price_minor: int | None = None
    limit_per_customer: int = 0

    @property
    def least_price_minor(self) -> int:
        """The least amount that is accepted for one pack where only the amount is known."""
        return self.price_minor if self.min_price_minor is None else self.min_price_minor

    def public(self) -> dict[str, Any]:
        """The fields of the pack that buyers may see, as JSON."""
        return {
            **_offer(self.units, self.price_minor, self.currency),
            "expires_after": _lifetime(self.expires_after),
            "requires_tier": self.requires_tier,
            "refundable": self.refundable,
            "limit_per_customer": self.limit_per_customer,
        }


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of usage: `units` for each `per` of `measure`, and at least `minimum` units.

    `cost`: what one `per` costs the app itself, in major units of `cost_currency`. `rounding`: `each` report is rounded
    up, or the fraction is carried (`carry`) by customer and rate.
    """

    key: str
    units: int
    per: int = 1
    measure: str = "item"
    minimum: int = 0
    cost: Decimal | None = None
    cost_currency: str | None = None
    rounding: Rounding = "each"

    def price(self, quantity: int) -> int:
        """The units for a quantity: max(minimum, ceil(quantity x units / per)), in exact integers, rounded up once.

        Raises:
            ValueError: the quantity is negative.
        """
        if quantity < 0:
            raise ValueError(f"quantity must be at least 0, got {quantity}")
        return max(self.minimum, -(-quantity * self.units // self.per))

    @property
    def carries(self) -> bool:
        """Whether the fraction of a unit is carried by customer and rate (models/planning/pricing.py)."""
        return self.rounding == "carry"

    def public(self) -> dict[str, Any]:
        """The fields of the rate that customers may see, as JSON: all but the app's cost."""
        return {
            "units": self.units,
            "per": self.per,
            "measure": self.measure,
            "minimum": self.minimum,
            "rounding": self.rounding,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """Units granted in each monthly cycle, or each interval of a price by the day or week.

    They expire with the cycle ("period"), after a time, or never (None). `rollover` units outlive their cycle by one
    more (None: none). `stripe_prices`: further prices of the plan. `trial_units` None: as many as `units`.
    """

    key: str
    units: int
    price_minor: int
    currency: str
    tier: str | None = None
    activation_key: bool = False
    expires_after: timedelta | Period | None = None
    stripe_price: str | None = None
    stripe_prices: tuple[str, ...] = ()
    paypal_plan: str | None = None
    trial_units: int | None = None
    trial_grants: TrialGrants = "once"
    on_upgrade: OnUpgrade = "prorated"
    on_upgrade_unbilled: OnUpgradeUnbilled = "wait"
    paused_grants: bool = False
    rollover: int | None = None

    @property
    def prices(self) -> tuple[str, ...]:
        """All Stripe prices of the plan, the one that checkouts use first."""
        return tuple(dict.fromkeys((*((self.stripe_price,) if self.stripe_price else ()), *self.stripe_prices)))

    def public(self) -> dict[str, Any]:
        """The fields of the plan that buyers may see, as JSON."""
        return {
            **_offer(self.units, self.price_minor, self.currency),
            "expires_after": _lifetime(self.expires_after),
            "tier": self.tier,
            "activation_key": self.activation_key,
            "trial_units": self.units if self.trial_units is None else self.trial_units,
        }


@dataclass(frozen=True, slots=True)
class Sessions:
    """The rules of an app's sessions. Exactly one of `rate` (metered at the end) and `charge` (at the start) is set.

    `charge`, `minimum_balance`: units. `reserve`: how long a session the hold at its start covers.
    """

    rate: str | None
    charge: int | None
    minimum_balance: int
    reserve: timedelta
    concurrent: int
    cooldown: timedelta
    first_free: int
    requires_tier: str | None
    wait_timeout: timedelta
    heartbeat_timeout: timedelta
    max_duration: timedelta


@dataclass(frozen=True, slots=True)
class Alerts:
    """When to emit alerts: when a balance falls to one of `low_balance` (highest first), and before a lot expires.

    `expiring_within`: how long before the expiry.
    """

    low_balance: tuple[int, ...] = ()
    expiring_within: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class CheckoutRules:
    """What an app's checkouts allow. `return_hosts`: the hosts of success and cancel URLs; empty: any.

    The rest is passed to Stripe's checkout sessions.
    """

    return_hosts: tuple[str, ...] = ()
    automatic_tax: bool = False
    allow_promotion_codes: bool = False
    invoice_creation: bool = False
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """An app as its file declares it. `slug`: the file's name, which identifies the app in every table."""

    slug: str
    name: str
    unit: str
    provider: Provider
    burn_order: BurnOrder
    on_shortfall: OnShortfall
    packs: Mapping[str, Pack]
    rates: Mapping[str, Rate]
    plans: Mapping[str, Plan]
    sessions: Sessions | None
    alerts: Alerts
    refund_grace: timedelta
    checkout: CheckoutRules
    stripe: StripeAccount
    paypal: PayPalAccount

    def pack_by_stripe_price(self, price_id: str) -> Pack | None:
        """The pack that is sold under this Stripe price id, or None."""
        return next((pack for pack in self.packs.values() if pack.stripe_price == price_id), None)

    def plan_by_stripe_price(self, price_id: str) -> Plan | None:
        """The plan that is sold under this Stripe price id, or None."""
        return next((plan for plan in self.plans.values() if price_id in plan.prices), None)

    def plan_by_paypal_plan(self, paypal_plan: str) -> Plan | None:
        """The plan that is sold under this PayPal plan id, or None."""
        return next((plan for plan in self.plans.values() if plan.paypal_plan == paypal_plan), None)

    def public(self) -> dict[str, Any]:
        """The body of GET /v1/catalog as JSON: prices and terms, without secrets and costs."""
        return {
            "app": self.slug,
            "name": self.name,
            "unit": self.unit,
            "packs": {key: pack.public() for key, pack in self.packs.items()},
            "rates": {key: rate.public() for key, rate in self.rates.items()},
            "plans": {key: plan.public() for key, plan in self.plans.items()},
        }


def _offer(units: int, price_minor: int, currency: str) -> dict[str, Any]:
    per_unit = {"amount": money.price_per_unit(price_minor, units, currency), "currency": currency}
    return {"units": units, "price": money.as_json(price_minor, currency), "price_per_unit": per_unit}


def _lifetime(lifetime: timedelta | Period | None) -> str | None:
    return durations.write(lifetime) if isinstance(lifetime, timedelta) else lifetime
