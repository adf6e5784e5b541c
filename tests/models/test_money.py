"""Money goes in as a decimal string, is kept in whole minor units and comes out as it went in."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import money

currencies = st.sampled_from(sorted(money.CURRENCIES))
minors = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("9.99", "usd", 999),
        ("10", "usd", 1000),
        ("0.5", "eur", 50),
        ("0", "usd", 0),
        ("500", "jpy", 500),
        ("5", "isk", 500),
        ("5", "ugx", 500),
        ("1000", "huf", 100_000),
        ("5.120", "kwd", 5120),
        ("-9.99", "usd", -999),
        ("9.99", "USD", 999),
    ],
)
def test_an_amount_becomes_the_minor_units_that_stripe_counts_in(amount, currency, minor):
    assert money.to_minor(amount, currency) == minor


@pytest.mark.parametrize(
    "amount",
    [
        "",
        " 9.99",
        "9.99 ",
        "9,99",
        "9.",
        ".99",
        "+9",
        "1e3",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "٣",
        "01",
        "$9",
        "9.99\n",
    ],
)
def test_what_is_no_plain_decimal_is_refused(amount):
    with pytest.raises(ValueError, match="must be a plain decimal"):
        money.to_minor(amount, "usd")


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("9.999", "usd", "usd has 2 decimals, not 3"),
        ("500.0", "jpy", "jpy has no decimals, not 1"),
        ("1.2345", "kwd", "kwd has 3 decimals, not 4"),
    ],
)
def test_more_decimals_than_the_currency_has_are_refused_never_rounded(amount, currency, reason):
    with pytest.raises(ValueError, match=reason):
        money.to_minor(amount, currency)


@given(minors, currencies)
def test_minor_units_written_out_and_read_back_are_the_same(minor, currency):
    assert money.to_minor(money.to_amount(minor, currency), currency) == minor


@given(minors, currencies)
def test_an_amount_has_all_the_decimals_of_its_currency_and_the_value_of_its_minor_units(minor, currency):
    amount = money.to_amount(minor, currency)
    assert len(amount.partition(".")[2]) == money.exponent(currency)
    assert Fraction(amount) == Fraction(minor, 10 ** money.exponent(currency))


def test_money_in_json_is_an_amount_and_a_currency_in_lower_case():
    assert money.as_json(999, "USD") == {"amount": "9.99", "currency": "usd"}


@pytest.mark.parametrize(
    ("minor", "units", "currency", "per_unit"),
    [
        (499, 100, "usd", "0.0499"),
        (14999, 5000, "usd", "0.029998"),
        (1000, 100, "usd", "0.10"),
        (599, 1, "usd", "5.99"),
        (500, 100, "jpy", "5"),
        (0, 7, "usd", "0.00"),
        (499, 30, "usd", "0.166333333333333"),
        (1, 10**12, "usd", "0.00000000000001"),
    ],
)
def test_the_price_of_a_unit_is_exact_where_the_division_ends(minor, units, currency, per_unit):
    assert money.price_per_unit(minor, units, currency) == per_unit


@given(st.integers(0, 10**12), st.integers(1, 10**12), currencies)
def test_the_price_of_a_unit_is_right_to_fifteen_digits(minor, units, currency):
    shown = Fraction(money.price_per_unit(minor, units, currency))
    exact = Fraction(minor, units * 10 ** money.exponent(currency))
    assert abs(shown - exact) <= exact * Fraction(1, 10**14)


@pytest.mark.parametrize(
    ("amount", "currency", "provider"),
    [
        ("5.50", "isk", "stripe"),
        ("5.50", "ugx", "stripe"),
        ("1.234", "kwd", "stripe"),
        ("1000.50", "huf", "paypal"),
        ("10.50", "twd", "paypal"),
    ],
)
def test_an_amount_that_the_provider_cannot_charge_is_refused(amount, currency, provider):
    with pytest.raises(ValueError, match=currency):
        money.check_chargeable(money.to_minor(amount, currency), currency, provider)


@pytest.mark.parametrize(
    ("amount", "currency", "provider"),
    [
        ("5.00", "isk", "stripe"),
        ("1.230", "kwd", "stripe"),
        ("1000.50", "huf", "stripe"),
        ("1000", "huf", "paypal"),
        ("500", "jpy", "paypal"),
        ("9.99", "usd", "paypal"),
    ],
)
def test_an_amount_that_the_provider_can_charge_is_not_refused(amount, currency, provider):
    money.check_chargeable(money.to_minor(amount, currency), currency, provider)


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [("9.99", "usd", "9.99"), ("1000", "huf", "1000"), ("30", "twd", "30"), ("500", "jpy", "500")],
)
def test_paypal_gets_the_decimals_it_wants(amount, currency, value):
    assert money.paypal_value(money.to_minor(amount, currency), currency) == value


def test_paypal_never_gets_a_rounded_amount():
    with pytest.raises(ValueError, match="whole amounts only"):
        money.paypal_value(money.to_minor("1000.50", "huf"), "huf")


@pytest.mark.parametrize(
    ("decimals", "codes"),
    [
        (0, "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"),
        (2, "aud cad eur gbp huf isk twd ugx usd"),
        (3, "bhd jod kwd omr tnd"),
    ],
)
def test_a_currency_has_as_many_decimals_as_at_stripe(decimals, codes):
    assert {money.exponent(code) for code in codes.split()} == {decimals}


def test_every_currency_of_a_special_list_is_a_currency():
    special = money.ZERO_DECIMAL | money.THREE_DECIMAL | money.WHOLE_AT_STRIPE | money.WHOLE_AT_PAYPAL
    assert special <= money.CURRENCIES


def test_the_price_of_a_unit_is_never_written_with_an_exponent():
    assert Decimal(money.price_per_unit(1, 10**12, "kwd")) == Decimal("1E-15")
    assert "E" not in money.price_per_unit(1, 10**12, "kwd")
