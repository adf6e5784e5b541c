"""The packs and plans of an app's file: one function per table, which refuses unknown keys."""

from typing import get_args

from models import money
from models.catalog.apps import OnUpgrade, OnUpgradeUnbilled, Pack, Plan, Provider, TrialGrants
from models.catalog.kinds import (
    MOST_UNITS,
    Environ,
    currency_code,
    decimal_text,
    lifetime,
    price_id,
    price_ids,
    rollover,
    tier,
    units,
)
from models.catalog.toml_kinds import describe, duration, flag, one_of, whole
from models.catalog.toml_table import Table

HIGHEST_PRICE_MINOR = 10**12


def pack(key: str, table: Table, provider: Provider, environ: Environ) -> Pack:
    """[packs.KEY]"""
    price_minor, currency = price(table, provider)
    pack = Pack(
        key=key,
        units=table.required("units", units),
        price_minor=price_minor,
        currency=currency,
        expires_after=table.optional("expires_after", duration(), None),
        requires_tier=table.optional("requires_tier", tier, None),
        refundable=table.optional("refundable", flag, True),
        stripe_price=table.optional("stripe_price", price_id(environ), None),
        min_price_minor=_min_price(table, price_minor, currency),
        limit_per_customer=table.optional("limit_per_customer", whole(0, MOST_UNITS), 0 if price_minor else 1),
    )
    table.close()
    return pack


def _min_price(table: Table, price_minor: int, currency: str) -> int | None:
    """`min_price` in minor units: at most the price, in its currency."""
    amount = table.optional("min_price", decimal_text, None)
    if amount is None or not table.sound("min_price", "price", "currency"):
        return None
    try:
        least = money.to_minor(amount, currency)
        if not 0 <= least <= price_minor:
            raise ValueError("must be from 0 to the price")
    except ValueError as refusal:
        table.refuse("min_price", f"{refusal}, got {describe(amount)}")
        return None
    return least


def plan(key: str, table: Table, provider: Provider, environ: Environ) -> Plan:
    """[plans.KEY]"""
    price_minor, currency = price(table, provider)
    trial_grants: TrialGrants = table.optional("trial_grants", one_of(get_args(TrialGrants)), "once")
    on_upgrade: OnUpgrade = table.optional("on_upgrade", one_of(get_args(OnUpgrade)), "prorated")
    on_upgrade_unbilled: OnUpgradeUnbilled = table.optional(
        "on_upgrade_unbilled", one_of(get_args(OnUpgradeUnbilled)), "wait"
    )
    plan = Plan(
        key=key,
        units=table.required("units", units),
        price_minor=price_minor,
        currency=currency,
        tier=table.optional("tier", tier, None),
        activation_key=table.optional("activation_key", flag, False),
        expires_after=table.optional("expires_after", lifetime, None),
        stripe_price=table.optional("stripe_price", price_id(environ), None),
        stripe_prices=table.optional("stripe_prices", price_ids(environ), ()),
        paypal_plan=table.optional("paypal_plan", price_id(environ), None),
        trial_units=table.optional("trial_units", whole(0, MOST_UNITS), None),
        trial_grants=trial_grants,
        on_upgrade=on_upgrade,
        on_upgrade_unbilled=on_upgrade_unbilled,
        paused_grants=table.optional("paused_grants", flag, False),
        rollover=table.optional("rollover", rollover, None),
    )
    table.close()
    if table.sound("rollover", "expires_after") and plan.rollover is not None and plan.expires_after != "period":
        table.refuse("rollover", 'goes with expires_after = "period": other units do not expire with their cycle')
    return plan


def price(table: Table, provider: Provider) -> tuple[int, str]:
    """`price` and `currency` of a pack or plan. Returns (minor units, currency)."""
    amount, currency = table.required("price", decimal_text), table.required("currency", currency_code)
    if not table.sound("price", "currency"):
        return 0, ""
    try:
        return _minor(amount, currency, provider), currency
    except ValueError as refusal:
        table.refuse("price", f"{refusal}, got {describe(amount)}")
        return 0, currency


def _minor(amount: str, currency: str, provider: Provider) -> int:
    price_minor = money.to_minor(amount, currency)
    if price_minor < 0:
        raise ValueError("must be at least 0")
    if price_minor > HIGHEST_PRICE_MINOR:
        raise ValueError(f"must be at most {money.to_amount(HIGHEST_PRICE_MINOR, currency)}")
    money.check_chargeable(price_minor, currency, provider)
    return price_minor
