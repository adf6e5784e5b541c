"""Kinds of the catalog's own: keys, money, price ids, secrets, lifetimes."""

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
NO_TIME = timedelta(0)

units = whole(1, MOST_UNITS)
tier = text(longest=64)

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COST = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_FROM_ENVIRON = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def entry_key(value: object) -> str:
    """A kind: the key of a pack, rate or plan."""
    key = string(value)
    if _KEY.fullmatch(key) is None:
        raise ValueError("a key is 1 to 64 of a-z, 0-9, _ and -, and starts with a letter or digit")
    return key


def decimal_text(value: object) -> str:
    """A kind: an amount of money, in quotes, so that no float ever holds it."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        raise ValueError(f'must be in quotes, "{value}": a number without them cannot hold money exactly')
    return string(value)


def cost(value: object) -> Decimal:
    """A kind: what one `per` costs, exact, in major units and as finely as needed."""
    amount = decimal_text(value)
    if _COST.fullmatch(amount) is None:
        raise ValueError(f'must be a plain decimal such as "0.064", got {describe(amount)}')
    return Decimal(amount)


def currency_code(value: object) -> str:
    """A kind: an ISO 4217 currency in lower case."""
    code = string(value)
    if code not in money.CURRENCIES:
        hint = f'; did you mean "{code.lower()}"?' if code.lower() in money.CURRENCIES else ""
        raise ValueError(f'must be a currency such as "usd", got {describe(code)}{hint}')
    return code


def lifetime(value: object) -> timedelta | Period:
    """A kind: a duration, or "period" for units that lapse with their cycle."""
    return "period" if value == "period" else duration()(value)


def falling_balances(value: object) -> tuple[int, ...]:
    """A kind: balances to tell of, from the highest down."""
    if not isinstance(value, list) or len(value) > MOST_LOW_BALANCES:
        raise ValueError(f"must be a list of at most {MOST_LOW_BALANCES} balances, got {describe(value)}")
    balances = tuple(map(whole(0, MOST_UNITS), value))
    if any(lower >= higher for higher, lower in pairwise(balances)):
        raise ValueError(f"must fall from each balance to the next, got {list(balances)}")
    return balances


def price_id(environ: Environ) -> Kind[str | None]:
    """A kind: a provider's price id, or "env:NAME", which is None where NAME is not set."""

    def read(value: object) -> str | None:
        written = text()(value)
        if not written.startswith("env:"):
            return written
        return _lookup(environ, _variable(written))

    return read


def secret(environ: Environ) -> Kind[str]:
    """A kind: "env:NAME" and nothing else: a secret in the catalog would end up in git."""

    def read(value: object) -> str:
        name = _variable(string(value))
        held = _lookup(environ, name)
        # No falling back to the settings: they may be another account's.
        if held is None:
            raise ValueError(f"the environment variable {name} is not set")
        return held

    return read


def _variable(written: str) -> str:
    """The NAME of "env:NAME". The error leaves out what was written: it may be a secret."""
    match = _FROM_ENVIRON.fullmatch(written)
    if match is None:
        raise ValueError('must be "env:NAME", the environment variable that holds it')
    return match[1]


def _lookup(environ: Environ, name: str) -> str | None:
    if held := environ.get(name, "").strip():
        return held
    file = environ.get(f"{name}_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE cannot be read: {error}") from None
