"""Money: decimal strings outside, whole minor units inside, never a float.

A minor unit in Scrip is Stripe's, whoever takes the payment, so that one currency adds up in one
column. PayPal speaks decimal strings, which `paypal_value` writes with PayPal's own decimals.

Sources: https://docs.stripe.com/currencies (zero-decimal, three-decimal, special cases) and
https://developer.paypal.com/docs/api/reference/currency-codes/ (currencies without decimals).
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

ZERO_DECIMAL = frozenset(
    """
    bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf
    """.split()
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])

# Two-decimal at Stripe for the sake of old callers, though fractions of them cannot be charged.
WHOLE_AT_STRIPE = frozenset({"isk", "ugx"})
# https://developer.paypal.com/docs/reports/reference/paypal-supported-currencies/
AT_PAYPAL = frozenset(
    """
    aud brl cad chf cny czk dkk eur gbp hkd huf ils jpy mxn myr nok nzd php pln sek sgd thb twd usd
    """.split()
)
WHOLE_AT_PAYPAL = frozenset({"huf", "jpy", "twd"})

# ISO 4217. A provider may refuse one of these; a code that is not here is a typing mistake.
CURRENCIES = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd cad
    cdf chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gnf gtq
    gyd hkd hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr
    lrd lsl lyd mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen
    pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb
    tjs tmt tnd top try ttd twd tzs uah ugx usd uyu uzs ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg
    """.split()
)

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]+)?")
_UNIT_PRICE = Context(prec=15, rounding=ROUND_HALF_EVEN)


def exponent(currency: str) -> int:
    """How many decimals `currency` has in Scrip's books: 2 for usd, 0 for jpy, 3 for kwd."""
    code = currency.lower()
    if code in ZERO_DECIMAL:
        return 0
    return 3 if code in THREE_DECIMAL else 2


def to_minor(amount: str, currency: str) -> int:
    """999 for "9.99" usd. Raises ValueError with the reason: no plain decimal, or too many decimals."""
    if _DECIMAL.fullmatch(amount) is None:
        raise ValueError('must be a plain decimal such as "9.99"')
    decimals = len(amount.partition(".")[2])
    if decimals > exponent(currency):
        raise ValueError(f"{currency.lower()} has {_count(exponent(currency), 'decimal')}, not {decimals}")
    return int(Decimal(amount).scaleb(exponent(currency)))


def to_amount(minor: int, currency: str) -> str:
    """The inverse of `to_minor`: "9.99" for 999 usd, always with all of the currency's decimals."""
    return _with_decimals(minor, exponent(currency))


def as_json(minor: int, currency: str) -> dict[str, str]:
    """Money as the HTTP contract shows it: {"amount": "9.99", "currency": "usd"}."""
    return {"amount": to_amount(minor, currency), "currency": currency.lower()}


def price_per_unit(minor: int, units: int, currency: str) -> str:
    """What one unit costs, exact where fifteen digits can tell it, else rounded to them."""
    price = Decimal(minor).scaleb(-exponent(currency))
    whole, _, decimals = f"{_UNIT_PRICE.divide(price, Decimal(units)):f}".partition(".")
    decimals = decimals.rstrip("0").ljust(exponent(currency), "0")
    return f"{whole}.{decimals}" if decimals else whole


def check_chargeable(minor: int, currency: str, provider: str) -> None:
    """Raises ValueError with the reason where `provider` cannot charge it: 5.50 isk, 1.234 kwd at Stripe."""
    code = currency.lower()
    if provider == "paypal" and code not in AT_PAYPAL:
        raise ValueError(f"paypal does not take {code}")
    whole = WHOLE_AT_PAYPAL if provider == "paypal" else WHOLE_AT_STRIPE
    if code in whole and minor % 10 ** exponent(code):
        raise ValueError(f"{provider} charges {code} in whole amounts only")
    # Stripe's partners round the third decimal, so Stripe wants it to be 0.
    if provider == "stripe" and code in THREE_DECIMAL and minor % 10:
        raise ValueError(f"stripe wants the last decimal of {code} to be 0")


def paypal_value(minor: int, currency: str) -> str:
    """The `value` of a PayPal amount: "9.99" for usd, "1000" for huf, where a fraction raises ValueError."""
    check_chargeable(minor, currency, "paypal")
    if currency.lower() in WHOLE_AT_PAYPAL:
        return str(minor // 10 ** exponent(currency))
    return to_amount(minor, currency)


def _with_decimals(minor: int, decimals: int) -> str:
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(decimals + 1, "0")
    if decimals == 0:
        return sign + digits
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def _count(number: int, noun: str) -> str:
    return f"no {noun}s" if number == 0 else f"{number} {noun}s"
