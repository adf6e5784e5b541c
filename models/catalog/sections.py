"""The sections of an app's file: the kind of each key, and the rules between keys.

One function per section: it reads one table, refuses unknown keys and returns its part of the App.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import get_args

from models.catalog.apps import (
    Alerts,
    BurnOrder,
    CheckoutRules,
    OnShortfall,
    Rate,
    Rounding,
    Sessions,
)
from models.catalog.kinds import (
    MOST_UNITS,
    NO_TIME,
    Environ,
    cost,
    currency_code,
    falling_balances,
    host_names,
    locale,
    secret,
    tier,
    units,
)
from models.catalog.provider_accounts import PayPalAccount, PayPalEnvironment, StripeAccount
from models.catalog.toml_kinds import duration, flag, one_of, string, text, whole
from models.catalog.toml_table import REFUSED, Table


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
