"""What the objects of the sandbox's PayPal share: their kinds, ids, links, amounts and errors.

Functions take an Account, inside a transaction. Amounts are PayPal's: a decimal text and a currency.
"""

from __future__ import annotations

import re
import secrets
from decimal import Decimal

from models import money
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing

ORDER, CAPTURE, REFUND, DISPUTE = "paypal.order", "paypal.capture", "paypal.refund", "paypal.dispute"
# A decimal of at most 32 characters, without exponent or Infinity.
VALUE = re.compile(r"(?=.{1,32}\Z)[0-9]*\.?[0-9]+", re.ASCII)
MOST_DECIMALS = 2


def new_id() -> str:
    """A random id in PayPal's format."""
    return secrets.token_hex(9).upper()[:17]


class Unprocessable(Refused):
    """PayPal's 422; `code` is the issue."""

    def __init__(self, issue: str, message: str) -> None:
        super().__init__(message, status=422, code=issue)


def need(account: Account, kind: str, id_: str) -> Thing:
    """An object. Raises Refused with 404."""
    found = account.get(kind, id_)
    if found is None:
        raise Refused("The specified resource does not exist.", status=404, code="RESOURCE_NOT_FOUND")
    return found


def amount_of(given: object) -> Thing:
    try:
        assert isinstance(given, dict)
        assert VALUE.fullmatch(given["value"])
        value, currency = Decimal(given["value"]), str(given["currency_code"])
        assert value > 0
        assert len(currency) == 3
    except (AssertionError, KeyError, TypeError):
        raise Unprocessable("INVALID_PARAMETER_VALUE", f"amount is {given!r}"[:200]) from None
    if currency != currency.upper() or currency.lower() not in money.AT_PAYPAL:
        raise Unprocessable("CURRENCY_NOT_SUPPORTED", f"Currency code {currency} is not currently supported.")
    if value % 1 and currency.lower() in money.WHOLE_AT_PAYPAL:
        raise Unprocessable("DECIMALS_NOT_SUPPORTED", f"Currency {currency} does not support decimals.")
    if len(given["value"].partition(".")[2]) > MOST_DECIMALS:
        message = "If the currency supports decimals, only two decimal place precision is supported."
        raise Unprocessable("DECIMAL_PRECISION", message)
    return {**given, "currency_code": currency}


def link(href: str, rel: str, method: str = "GET") -> Thing:
    return {"href": href, "rel": rel, "method": method}
