"""Money: decimal strings outside, integer minor units inside, never a float.

Minor units are Stripe's for every provider, so that all amounts of one currency can be added. PayPal uses decimal
strings, which `paypal_value` writes with PayPal's decimals.

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

# Stripe keeps two decimals for backward compatibility, but does not charge fractions.
WHOLE_AT_STRIPE = frozenset({"isk", "ugx"})
# https://developer.paypal.com/docs/reports/reference/paypal-supported-currencies/
AT_PAYPAL = frozenset(
    """
    aud brl cad chf cny czk dkk eur gbp hkd huf ils jpy mxn myr nok nzd php pln sek sgd thb twd usd
    """.split()
)
WHOLE_AT_PAYPAL = frozenset({"huf", "jpy", "twd"})

# ISO 4217. A provider may reject one of these; any other code is taken for a typing error.
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
    """The number of decimals of `currency` in Scrip: 2 for usd, 0 for jpy, 3 for kwd."""
    code = currency.lower()
    if code in ZERO_DECIMAL:
        return 0
    return 3 if code in THREE_DECIMAL else 2


def to_minor(amount: str, currency: str) -> int:
    """The minor units of an amount: 999 for "9.99" usd.

    Raises:
        ValueError: the amount is not a plain decimal, or has too many decimals; the message is the reason.
    """
    if _DECIMAL.fullmatch(amount) is None:
        raise ValueError('must be a plain decimal such as "9.99"')
    decimals = len(amount.partition(".")[2])
    if decimals > exponent(currency):
        raise ValueError(f"{currency.lower()} has {_count(exponent(currency), 'decimal')}, not {decimals}")
    return int(Decimal(amount).scaleb(exponent(currency)))


def to_amount(minor: int, currency: str) -> str:
    """The inverse of `to_minor`, always with all of the currency's decimals: "9.99" for 999 usd."""
    return _with_decimals(minor, exponent(currency))


def as_json(minor: int, currency: str) -> dict[str, str]:
    """Money as in the API: {"amount": "9.99", "currency": "usd"}."""
    return {"amount": to_amount(minor, currency), "currency": currency.lower()}


def price_per_unit(minor: int, units: int, currency: str) -> str:
    """The price of one unit as a decimal string, rounded to 15 significant digits if it has more."""
    price = Decimal(minor).scaleb(-exponent(currency))
    whole, _, decimals = f"{_UNIT_PRICE.divide(price, Decimal(units)):f}".partition(".")
    decimals = decimals.rstrip("0").ljust(exponent(currency), "0")
    return f"{whole}.{decimals}" if decimals else whole


def check_chargeable(minor: int, currency: str, provider: str) -> None:
    """Check that `provider` can charge the amount: Stripe rejects 5.50 isk and 1.234 kwd.

    Raises:
        ValueError: it cannot; the message is the reason.
    """
    code = currency.lower()
    if provider == "paypal" and code not in AT_PAYPAL:
        raise ValueError(f"paypal does not support {code}")
    whole = WHOLE_AT_PAYPAL if provider == "paypal" else WHOLE_AT_STRIPE
    if code in whole and minor % 10 ** exponent(code):
        raise ValueError(f"{provider} charges {code} in whole amounts only")
    # Stripe's partners round the third decimal, so Stripe requires it to be 0.
    if provider == "stripe" and code in THREE_DECIMAL and minor % 10:
        raise ValueError(f"stripe requires the last decimal of {code} to be 0")


def paypal_value(minor: int, currency: str) -> str:
    """The `value` of a PayPal amount: "9.99" for usd, "1000" for huf.

    Raises:
        ValueError: PayPal cannot charge the amount, see `check_chargeable`.
    """
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
