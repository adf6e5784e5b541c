"""The sections of an app's file: the kind of each key, and the rules between keys.

One function per section: it reads one table, refuses unknown keys and returns its part of the App.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import get_args

from models import money
from models.catalog.apps import (
    Alerts,
    BurnOrder,
    CheckoutRules,
    OnShortfall,
    OnUpgrade,
    OnUpgradeUnbilled,
    Pack,
    PayPalAccount,
    PayPalEnvironment,
    Plan,
    Provider,
    Rate,
    Rounding,
    Sessions,
    StripeAccount,
    TrialGrants,
)
from models.catalog.kinds import (
    MOST_UNITS,
    NO_TIME,
    Environ,
    cost,
    currency_code,
    decimal_text,
    falling_balances,
    host_names,
    lifetime,
    locale,
    price_id,
    price_ids,
    rollover,
    secret,
    tier,
    units,
)
from models.catalog.toml_kinds import describe, duration, flag, one_of, string, text, whole
from models.catalog.toml_table import REFUSED, Table

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


def rate(key: str, table: Table) -> Rate:
    """[rates.KEY]"""
    rounding: Rounding = table.optional("rounding", one_of(get_args(Rounding)), "each")
    rate = Rate(
        key=key,
        units=table.required("units", units),
        per=table.optional("per", units, 1),
        measure=table.optional("measure", text(longest=32), "item"),
        minimum=table.optional("minimum", whole(0, MOST_UNITS), 0),
        cost=table.optional("cost", cost, None),
        cost_currency=table.optional("cost_currency", currency_code, None),
        rounding=rounding,
    )
    table.close()
    if table.sound("rounding", "minimum") and rounding == "carry" and rate.minimum:
        table.refuse("minimum", 'must be 0 with rounding = "carry": a minimum per report would exceed the total')
    if table.sound("cost", "cost_currency") and (rate.cost is None) != (rate.cost_currency is None):
        table.refuse("cost", "cost and cost_currency go together: give both or neither")
    return rate


def sessions(table: Table, rates: Mapping[str, Rate]) -> Sessions:
    """[sessions]; `rates` are those of the same app."""
    charge = table.optional("charge", units, None)
    max_duration = table.optional("max_duration", duration(), timedelta(hours=2))
    rate = table.optional("rate", string, None)
    sessions = Sessions(
        rate=rate,
        charge=charge,
        minimum_balance=table.optional("minimum_balance", whole(0, MOST_UNITS), charge or _first_second(rate, rates)),
        reserve=table.optional("reserve", duration(), max_duration),
        concurrent=table.optional("concurrent", whole(1, 1000), 1),
        cooldown=table.optional("cooldown", duration(NO_TIME), NO_TIME),
        first_free=table.optional("first_free", whole(0, 1000), 0),
        requires_tier=table.optional("requires_tier", tier, None),
        wait_timeout=table.optional("wait_timeout", duration(), timedelta(hours=1)),
        heartbeat_timeout=table.optional("heartbeat_timeout", duration(), timedelta(minutes=2)),
        max_duration=max_duration,
    )
    table.close()
    if table.sound("rate", "charge", "minimum_balance"):
        _check_sessions(table, sessions, rates)
    return sessions


def _check_sessions(table: Table, sessions: Sessions, rates: Mapping[str, Rate]) -> None:
    if (sessions.rate is None) == (sessions.charge is None):
        table.refuse("", "needs either rate (metered at the end) or charge (units taken at the start)")
    elif sessions.charge is None:
        _check_metered(table, sessions, rates)
    elif "reserve" in table.values:
        table.refuse("reserve", "is only for sessions with a rate; a charge is taken at the start")
    elif sessions.minimum_balance < sessions.charge:
        table.refuse("minimum_balance", f"must be at least the charge, {sessions.charge}")


def _check_metered(table: Table, sessions: Sessions, rates: Mapping[str, Rate]) -> None:
    rate = sessions.rate
    metered_by = rates.get(rate or "")
    if metered_by is None:
        table.refuse("rate", f'there is no rate "{rate}"; rates: {", ".join(rates) or "none"}')
    elif metered_by.measure not in ("second", REFUSED):
        table.refuse("rate", f'must have the measure "second", but "{rate}" has "{metered_by.measure}"')
    elif sessions.minimum_balance < (least := _first_second(rate, rates)):
        table.refuse("minimum_balance", f"must be at least {least}, the price of the first second")


def _first_second(rate: str | None, rates: Mapping[str, Rate]) -> int:
    """The price of the shortest session, at least 1 unit. With less, the balance would not suffice from the start."""
    metered_by = rates.get(rate or "")
    try:
        return max(1, metered_by.price(1)) if metered_by else 1
    except (TypeError, ZeroDivisionError):  # a value of the rate was refused
        return 1


def burn(table: Table) -> tuple[BurnOrder, OnShortfall]:
    """[burn]"""
    order: BurnOrder = table.optional("order", one_of(get_args(BurnOrder)), "expiring_first")
    on_shortfall: OnShortfall = table.optional("on_shortfall", one_of(get_args(OnShortfall)), "partial")
    table.close()
    return order, on_shortfall


def alerts(table: Table) -> Alerts:
    """[alerts]"""
    alerts = Alerts(
        low_balance=table.optional("low_balance", falling_balances, ()),
        expiring_within=table.optional("expiring_within", duration(), timedelta(days=3)),
    )
    table.close()
    return alerts


def refund_grace(table: Table) -> timedelta:
    """[refunds]"""
    grace = table.optional("refund_grace", duration(NO_TIME), timedelta(days=7))
    table.close()
    return grace


def checkout(table: Table) -> CheckoutRules:
    """[checkout]"""
    rules = CheckoutRules(
        return_hosts=table.optional("return_hosts", host_names, ()),
        automatic_tax=table.optional("automatic_tax", flag, False),
        allow_promotion_codes=table.optional("allow_promotion_codes", flag, False),
        invoice_creation=table.optional("invoice_creation", flag, False),
        locale=table.optional("locale", locale, None),
    )
    table.close()
    return rules


def stripe_account(table: Table, environ: Environ) -> StripeAccount:
    """[stripe]. `webhook_secret` may hold several secrets, comma-separated, while one replaces another."""
    webhook_secrets = table.optional("webhook_secret", secret(environ), None) or ""
    account = StripeAccount(
        secret_key=table.optional("secret_key", secret(environ), None),
        webhook_secrets=tuple(filter(None, map(str.strip, webhook_secrets.split(",")))),
    )
    table.close()
    return account


def paypal_account(table: Table, environ: Environ) -> PayPalAccount:
    """[paypal]"""
    account = PayPalAccount(
        client_id=table.optional("client_id", secret(environ), None),
        client_secret=table.optional("client_secret", secret(environ), None),
        webhook_id=table.optional("webhook_id", secret(environ), None),
        environment=table.optional("environment", one_of(get_args(PayPalEnvironment)), None),
    )
    table.close()
    return account


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
