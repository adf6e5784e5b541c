"""Kinds that only the catalog has: keys, money, price ids, secrets, lifetimes. See `toml_kinds`."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from models import money
from models.catalog.apps import Period
from models.catalog.toml_kinds import Kind, describe, duration, string, text, whole

Environ = Mapping[str, str]

MOST_UNITS = 10**12
MOST_LOW_BALANCES = 20
MOST_PRICES = 50
MOST_HOSTS = 50
NO_TIME = timedelta(0)

units = whole(1, MOST_UNITS)
tier = text(longest=64)

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COST = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?")
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,4})?")
_FROM_ENVIRON = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def entry_key(value: object) -> str:
    """Kind: the key of a pack, rate or plan."""
    key = string(value)
    if _KEY.fullmatch(key) is None:
        raise ValueError("a key has 1 to 64 characters of a-z, 0-9, _ and -, and starts with a letter or digit")
    return key


def decimal_text(value: object) -> str:
    """Kind: an amount of money in quotes, so that it is never a float."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        raise ValueError(f'must be in quotes, "{value}": a number without them cannot hold money exactly')
    return string(value)


def cost(value: object) -> Decimal:
    """Kind: the cost of one `per`, in major units with up to 12 decimals."""
    amount = decimal_text(value)
    if _COST.fullmatch(amount) is None:
        raise ValueError(f'must be a plain decimal such as "0.064", got {describe(amount)}')
    return Decimal(amount)


def currency_code(value: object) -> str:
    """Kind: an ISO 4217 currency code in lower case."""
    code = string(value)
    if code not in money.CURRENCIES:
        hint = f'; did you mean "{code.lower()}"?' if code.lower() in money.CURRENCIES else ""
        raise ValueError(f'must be a currency such as "usd", got {describe(code)}{hint}')
    return code


def lifetime(value: object) -> timedelta | Period:
    """Kind: a duration, or "period" for units that expire with their cycle."""
    return "period" if value == "period" else duration()(value)


def falling_balances(value: object) -> tuple[int, ...]:
    """Kind: alert thresholds, in strictly decreasing order."""
    if not isinstance(value, list) or len(value) > MOST_LOW_BALANCES:
        raise ValueError(f"must be a list of at most {MOST_LOW_BALANCES} balances, got {describe(value)}")
    balances = tuple(map(whole(0, MOST_UNITS), value))
    if any(lower >= higher for higher, lower in pairwise(balances)):
        raise ValueError(f"must decrease from each balance to the next, got {list(balances)}")
    return balances


def price_id(environ: Environ) -> Kind[str | None]:
    """Kind: a provider's price id, or "env:NAME", which is None if NAME is not set."""

    def read(value: object) -> str | None:
        given = text()(value)
        if not given.startswith("env:"):
            return given
        return _lookup(environ, _variable(given))

    return read


def price_ids(environ: Environ) -> Kind[tuple[str, ...]]:
    """Kind: a list of price ids. Those whose variable is not set are left out."""
    read = price_id(environ)

    def read_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MOST_PRICES:
            raise ValueError(f"must be a list of at most {MOST_PRICES} price ids, got {describe(value)}")
        return tuple(found for found in map(read, value) if found)

    return read_all


def rollover(value: object) -> int | None:
    """Kind: a number of units, or "none"."""
    return None if value == "none" else units(value)


def host_names(value: object) -> tuple[str, ...]:
    """Kind: a list of hosts in lower case, such as "app.example.com" or "localhost:3000"."""
    if not isinstance(value, list) or len(value) > MOST_HOSTS:
        raise ValueError(f"must be a list of at most {MOST_HOSTS} hosts, got {describe(value)}")
    for host in map(string, value):
        if _HOST.fullmatch(host) is None:
            raise ValueError(f'must be hosts such as "app.example.com", in lower case, got {describe(host)}')
    return tuple(value)


def locale(value: object) -> str:
    """Kind: a locale of Stripe's pages, such as "de" or "pt-BR"."""
    name = string(value)
    if name != "auto" and _LOCALE.fullmatch(name) is None:
        raise ValueError(f'must be "auto" or a locale such as "de" or "pt-BR", got {describe(name)}')
    return name


def secret(environ: Environ) -> Kind[str]:
    """Kind: "env:NAME" only, because a secret written in the catalog would end up in git."""

    def read(value: object) -> str:
        name = _variable(string(value))
        found = _lookup(environ, name)
        # The settings are not a fallback: they may belong to another account.
        if found is None:
            raise ValueError(f"the environment variable {name} is not set")
        return found

    return read


def _variable(reference: str) -> str:
    """The NAME of "env:NAME". The error does not quote the value, which may be a secret."""
    match = _FROM_ENVIRON.fullmatch(reference)
    if match is None:
        raise ValueError('must be "env:NAME", the environment variable that holds it')
    return match[1]


def _lookup(environ: Environ, name: str) -> str | None:
    if found := environ.get(name, "").strip():
        return found
    file = environ.get(f"{name}_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE cannot be read: {error}") from None
