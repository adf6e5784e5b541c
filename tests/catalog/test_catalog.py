"""The catalog: what the shipped apps sell, what a file may say, and how a wrong one is refused."""

import json
import sys
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.catalog import catalog
from models.catalog.apps import Alerts, CheckoutRules, Pack, Plan, Rate
from models.catalog.catalog import CatalogError, UnknownApp
from settings import ROOT
from tests.support.deep import times

SHIPPED = ROOT / "catalog"

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["0s", "-1", "env:"])

SHOP = """
name = "Shop"
unit = "credit"

[packs.small]
units = 100
price = "4.99"
currency = "usd"

[rates.call]
units = 1
per = 60
measure = "second"
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a catalog of the files given by name, from where `catalog/` is a relative path."""
    monkeypatch.chdir(tmp_path)

    def load(environ=None, **files):
        folder = tmp_path / "catalog"
        folder.mkdir(exist_ok=True)
        for name, written in files.items():
            content = written if isinstance(written, bytes) else written.encode()
            (folder / f"{name}.toml").write_bytes(content)
        return catalog.load(folder, environ or {})

    return load


@pytest.fixture
def refusal(load):
    """The lines of the error that a `shop.toml` of this content is refused with."""

    def refusal(written, environ=None):
        with pytest.raises(CatalogError) as refused:
            load(environ, shop=written)
        return str(refused.value).splitlines()

    return refusal


@pytest.fixture(scope="module")
def shipped():
    return catalog.load(SHIPPED, {})


def usd(pack):
    assert pack.currency == "usd"
    return pack.units, pack.price_minor


# The shipped apps, number by number.


def test_five_apps_and_an_example_are_shipped(shipped):
    slugs = [app.slug for app in shipped]
    assert slugs == ["ai-services", "clash-ai", "echomind", "example", "songs", "voice-therapy"]


def test_voice_therapy_sells_fifteen_minutes_for_thirty_days_to_the_tier_firewall(shipped):
    app = shipped["voice-therapy"]
    assert (app.name, app.unit, app.provider) == ("Voice AI Therapy", "minute", "stripe")
    assert dict(app.packs) == {
        "voice_15": Pack("voice_15", 15, 999, "usd", timedelta(days=30), requires_tier="firewall", refundable=False)
    }
    assert dict(app.rates) == {"voice": Rate("voice", units=1, per=60, measure="second", minimum=1)}
    assert (app.burn_order, app.on_shortfall) == ("largest_first", "partial")
    assert (app.sessions.rate, app.sessions.charge) == ("voice", None)
    assert app.sessions.requires_tier == "firewall"


def test_echomind_sells_sessions_through_paypal_with_ten_minutes_between_and_the_first_one_free(shipped):
    app = shipped["echomind"]
    assert (app.unit, app.provider) == ("session", "paypal")
    assert dict(app.packs) == {"session": Pack("session", 1, 599, "usd", expires_after=None)}
    assert not app.rates
    gate = app.sessions
    assert (gate.rate, gate.charge, gate.minimum_balance) == (None, 1, 1)
    assert (gate.cooldown, gate.first_free) == (timedelta(minutes=10), 1)


def test_clash_ai_sells_three_sizes_of_minutes_for_metered_calls(shipped):
    app = shipped["clash-ai"]
    assert app.unit == "minute"
    assert {key: usd(pack) for key, pack in app.packs.items()} == {
        "minutes_30": (30, 499),
        "minutes_120": (120, 1499),
        "minutes_300": (300, 2999),
    }
    assert dict(app.rates) == {"call": Rate("call", units=1, per=60, measure="second", minimum=1)}
    assert app.sessions.rate == "call"


def test_ai_services_charges_eleven_services_and_warns_at_twenty_five_and_none(shipped):
    app = shipped["ai-services"]
    assert app.unit == "credit"
    assert {key: usd(pack) for key, pack in app.packs.items()} == {
        "starter": (100, 1000),
        "pro": (500, 5000),
        "enterprise": (1000, 10000),
    }
    assert {key: (rate.units, rate.per) for key, rate in app.rates.items()} == {
        "voice_call": (1, 60),
        "sms": (1, 1),
        "whatsapp": (1, 1),
        "ai_response": (2, 1),
        "gpt4": (60, 1000),
        "gpt35": (2, 1000),
        "gemini_pro": (1, 1000),
        "claude": (2, 1000),
        "document_upload": (5, 1),
        "bundle_creation": (50, 1),
        "phone_number": (100, 1),
    }
    assert app.rates["voice_call"].measure == "second"
    assert [key for key, rate in app.rates.items() if rate.carries] == ["gpt4", "gpt35", "gemini_pro", "claude"]
    assert app.alerts.low_balance == (20, 5, 0)
    assert app.sessions is None


def test_songs_sells_four_packs_and_a_monthly_thousand_at_a_margin_of_two_and_a_half(shipped):
    app = shipped["songs"]
    assert app.unit == "credit"
    assert {key: usd(pack) for key, pack in app.packs.items()} == {
        "starter": (100, 499),
        "popular": (500, 1999),
        "pro": (1000, 3499),
        "enterprise": (5000, 14999),
    }
    priced = {
        "song_generation": (25, "1.00"),
        "beat_generation": (5, "0.20"),
        "lyrics_generation": (4, "0.16"),
        "lyrics_analysis": (2, "0.08"),
    }
    assert {key: (rate.units, rate.cost, rate.cost_currency) for key, rate in app.rates.items()} == {
        key: (units, Decimal(dollars) / Decimal("2.5"), "usd") for key, (units, dollars) in priced.items()
    }
    plan = app.plans["pro"]
    assert list(app.plans) == ["pro"]
    assert (plan.units, plan.tier, plan.activation_key, plan.expires_after) == (1000, "pro", True, None)


def test_the_example_shows_every_key_there_is(shipped):
    written = (SHIPPED / "example.toml").read_text("utf-8")
    sections = (Pack, Plan, Rate, Alerts, CheckoutRules, type(shipped["example"].sessions))
    keys = {key for section in sections for key in section.__slots__} - {"key", "price_minor", "min_price_minor"}
    keys |= {"price", "min_price", "name", "unit", "provider", "order", "on_shortfall", "refund_grace"}
    keys |= {"secret_key", "webhook_secret", "client_id", "client_secret", "webhook_id", "environment"}
    assert {key for key in keys if f"{key} = " not in written} == set()


# Asking a catalog.


def test_an_app_that_is_not_there_is_unknown(shipped):
    with pytest.raises(UnknownApp, match="nowhere"):
        shipped["nowhere"]
    assert "nowhere" not in shipped
    assert "songs" in shipped
    assert len(shipped) == 6


def test_what_is_loaded_cannot_be_changed(shipped):
    app = shipped["songs"]
    with pytest.raises(AttributeError):
        app.packs["starter"].units = 1_000_000
    with pytest.raises(TypeError):
        app.packs["starter"] = app.packs["pro"]


def test_a_price_id_finds_its_pack_or_its_plan(load):
    environ = {"STRIPE_PRICE_ID_500_CREDITS": "price_500", "STRIPE_PRICE_PRO": "price_pro"}
    app = catalog.load(SHIPPED, environ)["songs"]
    assert app.pack_by_stripe_price("price_500") is app.packs["popular"]
    assert app.plan_by_stripe_price("price_pro") is app.plans["pro"]
    assert app.pack_by_stripe_price("price_pro") is None
    assert app.plan_by_stripe_price("price_500") is None


def test_the_process_has_one_catalog_which_a_test_may_replace(monkeypatch, load):
    fake = SimpleNamespace(settings=SimpleNamespace(catalog_dir=SHIPPED))
    monkeypatch.setitem(sys.modules, "settings", fake)
    monkeypatch.setattr(catalog, "_current", None)
    assert catalog.current()["songs"].name == "Songs"
    assert catalog.current() is catalog.current()
    own = load(shop=SHOP)
    catalog.use(own)
    assert catalog.current() is own


def test_the_public_catalog_has_prices_and_terms(shipped):
    public = shipped["voice-therapy"].public()
    assert list(public) == ["app", "name", "unit", "packs", "rates", "plans"]
    assert public["packs"]["voice_15"] == {
        "units": 15,
        "price": {"amount": "9.99", "currency": "usd"},
        "price_per_unit": {"amount": "0.666", "currency": "usd"},
        "expires_after": "30d",
        "requires_tier": "firewall",
        "refundable": False,
        "limit_per_customer": 0,
    }
    rounded = {"units": 1, "per": 60, "measure": "second", "minimum": 1, "rounding": "each"}
    assert public["rates"]["voice"] == rounded
    assert shipped["example"].public()["plans"]["member"] == {
        "units": 120,
        "price": {"amount": "14.99", "currency": "usd"},
        "price_per_unit": {"amount": "0.124916666666667", "currency": "usd"},
        "expires_after": "period",
        "tier": "member",
        "activation_key": False,
        "trial_units": 30,
    }


def test_a_plan_is_found_by_each_of_its_prices(load):
    environ = {"YEAR": "price_year"}
    prices = (
        'stripe_price = "price_month"\nstripe_prices = ["price_old", "env:YEAR", "env:UNSET"]\npaypal_plan = "P-1"\n'
    )
    app = load(environ, shop=f'{SHOP}[plans.pro]\nunits = 10\nprice = "1"\ncurrency = "usd"\n{prices}')["shop"]
    assert app.plans["pro"].prices == ("price_month", "price_old", "price_year")
    assert {app.plan_by_stripe_price(price) for price in app.plans["pro"].prices} == {app.plans["pro"]}
    assert app.plan_by_paypal_plan("P-1") is app.plans["pro"]
    assert app.plan_by_paypal_plan("price_old") is None


def test_a_free_pack_is_limited_to_one_a_customer_unless_the_file_says_otherwise(load):
    free = '[packs.free]\nunits = 1\nprice = "0"\ncurrency = "usd"\n'
    assert load({}, shop=SHOP + free)["shop"].packs["free"].limit_per_customer == 1
    assert load({}, shop=f"{SHOP}{free}limit_per_customer = 0\n")["shop"].packs["free"].limit_per_customer == 0


def test_the_public_catalog_keeps_costs_and_secrets_to_itself(load):
    environ = {"KEY": "sk_live_hush", "HOOK": "whsec_hush"}
    written = SHOP + 'cost = "0.12"\ncost_currency = "usd"\n'
    written += '[stripe]\nsecret_key = "env:KEY"\nwebhook_secret = "env:HOOK"\n'
    app = load(environ, shop=written)["shop"]
    assert app.stripe.secret_key == "sk_live_hush"
    assert "hush" not in repr(app)
    public = json.dumps(app.public())
    assert "hush" not in public
    assert "cost" not in public


# Rates.


@given(
    quantity=st.integers(0, 10**12),
    units=st.integers(1, 10**12),
    per=st.integers(1, 10**12),
    minimum=st.integers(0, 10**12),
)
def test_a_rate_charges_the_exact_quotient_rounded_up_once_and_at_least_the_minimum(quantity, units, per, minimum):
    rate = Rate("any", units=units, per=per, minimum=minimum)
    assert rate.price(quantity) == max(minimum, ceil(Fraction(quantity * units, per)))


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 1), (1, 1), (60, 1), (61, 2), (123, 3), (180, 3)])
def test_a_minute_begun_is_a_minute_charged(shipped, seconds, minutes):
    assert shipped["voice-therapy"].rates["voice"].price(seconds) == minutes


def test_a_negative_quantity_has_no_price(shipped):
    with pytest.raises(ValueError, match="at least 0"):
        shipped["songs"].rates["song_generation"].price(-1)


# What a file may leave out.


def test_an_app_needs_a_name_and_a_unit_and_has_sensible_terms_for_the_rest(load):
    app = load(shop='name = "Shop"\nunit = "credit"\n')["shop"]
    assert (app.provider, app.burn_order, app.on_shortfall) == ("stripe", "expiring_first", "partial")
    assert (dict(app.packs), dict(app.rates), dict(app.plans), app.sessions) == ({}, {}, {}, None)
    assert app.alerts == Alerts(low_balance=(), expiring_within=timedelta(days=3))
    assert app.refund_grace == timedelta(days=7)
    assert (app.stripe.secret_key, app.stripe.webhook_secrets) == (None, ())


def test_a_pack_of_units_and_price_never_expires_and_is_for_anyone(load):
    pack = load(shop=SHOP)["shop"].packs["small"]
    assert pack == Pack("small", 100, 499, "usd", None, None, refundable=True, stripe_price=None)


def test_a_free_pack_has_the_price_zero(load):
    assert load(shop=SHOP.replace("4.99", "0"))["shop"].packs["small"].price_minor == 0


def test_metered_sessions_have_sensible_terms(load):
    gate = load(shop=SHOP + '[sessions]\nrate = "call"\nmax_duration = "30m"')["shop"].sessions
    assert (gate.minimum_balance, gate.concurrent, gate.first_free) == (1, 1, 0)
    assert (gate.reserve, gate.max_duration) == (timedelta(minutes=30), timedelta(minutes=30))
    assert (gate.cooldown, gate.wait_timeout) == (timedelta(0), timedelta(hours=1))
    assert gate.heartbeat_timeout == timedelta(minutes=2)


def test_a_charged_session_needs_a_balance_of_its_charge(load):
    assert load(shop=SHOP + "[sessions]\ncharge = 3")["shop"].sessions.minimum_balance == 3


def test_a_plan_may_lapse_with_its_period_after_a_time_or_never(load):
    def lifetime(line):
        plan = f'[plans.p]\nunits = 1\nprice = "1"\ncurrency = "usd"\n{line}'
        return load(shop=SHOP + plan)["shop"].plans["p"].expires_after

    assert lifetime('expires_after = "period"') == "period"
    assert lifetime('expires_after = "90d"') == timedelta(days=90)
    assert lifetime("") is None


# From the environment.


def test_a_price_id_comes_from_the_environment_or_stands_as_written(load):
    from_environ = SHOP.replace("[rates", 'stripe_price = "env:PRICE"\n[rates')
    assert load({"PRICE": "price_1"}, shop=from_environ)["shop"].packs["small"].stripe_price == "price_1"
    assert load({"PRICE": ""}, shop=from_environ)["shop"].packs["small"].stripe_price is None
    assert load({}, shop=from_environ)["shop"].packs["small"].stripe_price is None
    written = from_environ.replace("env:PRICE", "price_2")
    assert load({}, shop=written)["shop"].packs["small"].stripe_price == "price_2"


def test_a_secret_may_stand_in_a_file_that_the_environment_names(load, tmp_path):
    (tmp_path / "secret").write_text("whsec_new, whsec_old\n")
    environ = {"HOOK_FILE": str(tmp_path / "secret")}
    app = load(environ, shop=SHOP + '[stripe]\nwebhook_secret = "env:HOOK"')["shop"]
    assert app.stripe.webhook_secrets == ("whsec_new", "whsec_old")


def test_a_secret_that_is_not_set_is_refused_rather_than_another_accounts_used(refusal):
    assert refusal(SHOP + '[stripe]\nsecret_key = "env:SHOP_KEY"') == [
        "catalog/shop.toml: stripe.secret_key: the environment variable SHOP_KEY is not set"
    ]


def test_a_secret_in_the_file_itself_is_refused_without_repeating_it(refusal):
    assert refusal(SHOP + '[stripe]\nsecret_key = "sk_live_hush"') == [
        'catalog/shop.toml: stripe.secret_key: must be "env:NAME", the environment variable that holds it'
    ]


# How a wrong file is refused: file, key and reason.


@pytest.mark.parametrize(
    ("was", "became", "line"),
    [
        ("units = 100", "units = 0", "packs.small.units: must be at least 1, got 0"),
        ("units = 100", "units = -5", "packs.small.units: must be at least 1, got -5"),
        (
            "units = 100",
            "units = 1000000000001",
            "packs.small.units: must be at most 1000000000000, got 1000000000001",
        ),
        ("units = 100", "units = 1.5", "packs.small.units: must be a whole number, got 1.5"),
        ("units = 100", "units = true", "packs.small.units: must be a whole number, got true"),
        ("units = 100", 'units = "100"', 'packs.small.units: must be a whole number, got "100"'),
        ("units = 100", "units = [100]", "packs.small.units: must be a whole number, got a list"),
        (
            "units = 100",
            "units = 2026-01-01",
            "packs.small.units: must be a whole number, got a date or time",
        ),
        ("units = 100", "", "packs.small.units: is missing"),
        (
            "units = 100",
            "units = 100\nexpires = '1d'",
            'packs.small.expires: is not a known key; did you mean "expires_after"?',
        ),
        ("units = 100", "units = 100\ncolour = 'red'", "packs.small.colour: is not a known key"),
        ('price = "4.99"', "", "packs.small.price: is missing"),
        (
            'price = "4.99"',
            "price = 9.99",
            'packs.small.price: must be in quotes, "9.99": a number without them cannot hold money exactly',
        ),
        (
            'price = "4.99"',
            "price = 5",
            'packs.small.price: must be in quotes, "5": a number without them cannot hold money exactly',
        ),
        ('"4.99"', '"4.999"', 'packs.small.price: usd has 2 decimals, not 3, got "4.999"'),
        ('"4.99"', '"-4.99"', 'packs.small.price: must be at least 0, got "-4.99"'),
        ('"4.99"', '"4,99"', 'packs.small.price: must be a plain decimal such as "9.99", got "4,99"'),
        (
            '"4.99"',
            '"10000000000.01"',
            'packs.small.price: must be at most 10000000000.00, got "10000000000.01"',
        ),
        (
            '"usd"',
            '"USD"',
            'packs.small.currency: must be a currency such as "usd", got "USD"; did you mean "usd"?',
        ),
        ('"usd"', '"dollar"', 'packs.small.currency: must be a currency such as "usd", got "dollar"'),
        ('"usd"', '"jpy"', 'packs.small.price: jpy has no decimals, not 2, got "4.99"'),
        ('"usd"', '"isk"', 'packs.small.price: stripe charges isk in whole amounts only, got "4.99"'),
        (
            "[packs.small]",
            "[packs.Small]",
            "packs.Small: a key has 1 to 64 characters of a-z, 0-9, _ and -, and starts with a letter or digit",
        ),
        ("[packs.small]", "[pack.small]", 'pack: is not a known key; did you mean "packs"?'),
        ('unit = "credit"', "unit = 7", "unit: must be text in quotes, got 7"),
        ('unit = "credit"', 'unit = " "', "unit: must not be empty"),
        ('unit = "credit"', 'unit = "a\\nb"', "unit: must be one line without control characters"),
        ('name = "Shop"', f'name = "{"x" * 121}"', "name: must be at most 120 characters, got 121"),
        (
            'name = "Shop"',
            'name = "Shop"\nprovider = "stirpe"',
            'provider: must be one of stripe, paypal, got "stirpe"',
        ),
        ("per = 60", "per = 0", "rates.call.per: must be at least 1, got 0"),
        ("per = 60", "minimum = -1", "rates.call.minimum: must be at least 0, got -1"),
        (
            "per = 60",
            'cost = "0.1"',
            "rates.call.cost: cost and cost_currency go together: give both or neither",
        ),
        (
            "per = 60",
            'cost_currency = "usd"',
            "rates.call.cost: cost and cost_currency go together: give both or neither",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_reason(refusal, was, became, line):
    assert was in SHOP
    assert refusal(SHOP.replace(was, became, 1)) == [f"catalog/shop.toml: {line}"]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            '[burn]\norder = "newest_first"',
            'burn.order: must be one of expiring_first, largest_first, oldest_first, got "newest_first"',
        ),
        ('[burn]\non_shortfal = "debt"', 'burn.on_shortfal: is not a known key; did you mean "on_shortfall"?'),
        ("[refunds]\nrefund_grace = 7", "refunds.refund_grace: must be text in quotes, got 7"),
        (
            "[alerts]\nlow_balance = [5, 20]",
            "alerts.low_balance: must decrease from each balance to the next, got [5, 20]",
        ),
        (
            "[alerts]\nlow_balance = [5, 5]",
            "alerts.low_balance: must decrease from each balance to the next, got [5, 5]",
        ),
        ("[alerts]\nlow_balance = [5, -1]", "alerts.low_balance: must be at least 0, got -1"),
        ("[alerts]\nlow_balance = 5", "alerts.low_balance: must be a list of at most 20 balances, got 5"),
        ('[alerts]\nexpiring_within = "0s"', 'alerts.expiring_within: must be at least 1s, got "0s"'),
        (
            '[alerts]\nexpiring_within = "3 days"',
            'alerts.expiring_within: must be a whole number followed by d, h, m or s, such as "30d", got "3 days"',
        ),
        (
            "[sessions]",
            "sessions: needs either rate (metered at the end) or charge (units taken at the start)",
        ),
        (
            '[sessions]\nrate = "call"\ncharge = 1',
            "sessions: needs either rate (metered at the end) or charge (units taken at the start)",
        ),
        ('[sessions]\nrate = "cal"', 'sessions.rate: there is no rate "cal"; rates: call, sms'),
        (
            '[sessions]\nrate = "sms"',
            'sessions.rate: must have the measure "second", but "sms" has "message"',
        ),
        (
            '[sessions]\ncharge = 1\nreserve = "2h"',
            "sessions.reserve: is only for sessions with a rate; a charge is taken at the start",
        ),
        (
            "[sessions]\ncharge = 2\nminimum_balance = 1",
            "sessions.minimum_balance: must be at least the charge, 2",
        ),
        (
            '[sessions]\nrate = "call"\nminimum_balance = 0',
            "sessions.minimum_balance: must be at least 1, the price of the first second",
        ),
        (
            '[sessions]\nrate = "call"\nmax_duration = "0s"',
            'sessions.max_duration: must be at least 1s, got "0s"',
        ),
        ('[plans.p]\nprice = "1"\ncurrency = "usd"', "plans.p.units: is missing"),
        ("[plans.p]\nunits = 1", "plans.p.price: is missing\nplans.p.currency: is missing"),
        (
            '[plans.p]\nunits = 1\nprice = "1"\ncurrency = "usd"\nactivation_key = "yes"',
            'plans.p.activation_key: must be true or false, got "yes"',
        ),
        (
            '[plans.p]\nunits = 1\nprice = "1"\ncurrency = "usd"\nrollover = 5',
            'plans.p.rollover: goes with expires_after = "period": other units do not expire with their cycle',
        ),
        (
            '[plans.p]\nunits = 1\nprice = "1"\ncurrency = "usd"\non_upgrade = "half"\ntrial_units = -1',
            'plans.p.on_upgrade: must be one of prorated, full, got "half"\n'
            "plans.p.trial_units: must be at least 0, got -1",
        ),
        (
            '[plans.p]\nunits = 1\nprice = "1"\ncurrency = "usd"\nstripe_prices = "price_1"',
            'plans.p.stripe_prices: must be a list of at most 50 price ids, got "price_1"',
        ),
        (
            '[packs.p]\nunits = 1\nprice = "5"\ncurrency = "usd"\nmin_price = "5.01"',
            'packs.p.min_price: must be from 0 to the price, got "5.01"',
        ),
        (
            '[rates.r]\nunits = 1\nminimum = 1\nrounding = "carry"',
            'rates.r.minimum: must be 0 with rounding = "carry": a minimum per report would exceed the total',
        ),
        (
            '[checkout]\nreturn_hosts = ["https://app.example"]',
            'checkout.return_hosts: must be hosts such as "app.example.com", in lower case, got "https://app.example"',
        ),
        (
            '[checkout]\nlocale = "German"',
            'checkout.locale: must be "auto" or a locale such as "de" or "pt-BR", got "German"',
        ),
        ('[paypal]\nenvironment = "test"', 'paypal.environment: must be one of sandbox, live, got "test"'),
    ],
)
def test_a_wrong_section_is_refused_with_file_key_and_reason(refusal, section, line):
    lines = refusal(f'{SHOP}\n[rates.sms]\nunits = 1\nmeasure = "message"\n{section}\n')
    assert lines == [f"catalog/shop.toml: {expected}" for expected in line.splitlines()]


def test_a_section_that_is_no_table_is_refused(refusal):
    written = 'name = "Shop"\nunit = "credit"\npacks = 5\nsessions = "metered"\nrates = {call = 1}\n'
    assert sorted(refusal(written)) == [
        "catalog/shop.toml: packs: must be a table, got 5",
        "catalog/shop.toml: rates.call: must be a table, got 1",
        'catalog/shop.toml: sessions: must be a table, got "metered"',
    ]


def test_one_price_id_for_two_things_is_refused(refusal):
    sold_twice = """
[packs.large]
units = 500
price = "19.99"
currency = "usd"
stripe_price = "price_1"

[plans.pro]
units = 500
price = "19.99"
currency = "usd"
stripe_price = "env:PRICE"
"""
    assert refusal(SHOP + sold_twice, {"PRICE": "price_1"}) == [
        "catalog/shop.toml: plans.pro.stripe_price: is already the price of packs.large"
    ]


def test_a_problem_is_one_line_whatever_stands_in_the_file(refusal):
    assert refusal(SHOP.replace('"credit"', '"credit"\n"a\\nb" = 1')) == [
        "catalog/shop.toml: a\\nb: is not a known key"
    ]


def test_two_apps_may_share_a_price_id(load):
    written = SHOP.replace("[rates", 'stripe_price = "price_1"\n[rates')
    assert len(load(one=written, two=written)) == 2


def test_all_problems_of_all_files_are_told_at_once(load):
    with pytest.raises(CatalogError) as refused:
        load(a=SHOP.replace("100", "0").replace('"4.99"', "4.99"), b="nam = 1\n", c=SHOP)
    assert str(refused.value).splitlines() == [
        'catalog/a.toml: packs.small.price: must be in quotes, "4.99": a number without them cannot hold money exactly',
        "catalog/a.toml: packs.small.units: must be at least 1, got 0",
        "catalog/b.toml: name: is missing",
        "catalog/b.toml: unit: is missing",
        'catalog/b.toml: nam: is not a known key; did you mean "name"?',
    ]
    first = refused.value.extra["problems"][1]
    assert (first.file, first.key, first.reason) == (
        "catalog/a.toml",
        "packs.small.units",
        "must be at least 1, got 0",
    )


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ('name = "Shop"\nunit = credit\n', "catalog/shop.toml:2: is not valid TOML: "),
        ('name = "Shop"\nname = "Shop"\n', "catalog/shop.toml:2: is not valid TOML: "),
        ('name = "Shop"\n\n[packs', "catalog/shop.toml:3: is not valid TOML: "),
        ('name = """Shop\n', "catalog/shop.toml:1: is not valid TOML: "),
    ],
)
def test_bad_toml_is_refused_with_file_and_line(refusal, written, start):
    [line] = refusal(written)
    assert line.startswith(start)


@pytest.mark.parametrize("value", ["9" * 5000, "1e99999999999999999999", "[" * 5000])
def test_a_value_beyond_all_bounds_is_refused(refusal, value):
    [line] = refusal(SHOP + f"minimum = {value}\n")
    assert line.startswith("catalog/shop.toml:")


EXAMPLE_LINES = [
    number
    for number, line in enumerate((SHIPPED / "example.toml").read_text("utf-8").splitlines())
    if " = " in line and not line.startswith("#")
]


@pytest.mark.deep
@settings(max_examples=times(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.sampled_from(EXAMPLE_LINES),
    value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)),
)
def test_whatever_a_key_is_set_to_the_file_is_taken_or_refused_by_name(load, number, value):
    lines = (SHIPPED / "example.toml").read_text("utf-8").splitlines()
    lines[number] = f"{lines[number].partition(' = ')[0]} = {json.dumps(value)}"
    try:
        load(example="\n".join(lines))
    except CatalogError as refused:
        assert all(line.startswith("catalog/example.toml:") for line in str(refused).splitlines())


def test_a_file_that_is_no_utf_8_is_refused(refusal):
    [line] = refusal(b'name = "Caf\xe9"\n')
    assert line.startswith("catalog/shop.toml: cannot be read: ")


@pytest.mark.parametrize("name", ["Shop", "my shop", "my_shop", "x" * 65])
def test_the_name_of_a_file_is_the_apps_and_has_to_be_a_slug(load, name):
    with pytest.raises(CatalogError, match="the file's name is the app's name: use a-z, 0-9 and - only"):
        load(**{name: SHOP})


def test_a_folder_without_apps_is_refused(load, tmp_path):
    with pytest.raises(CatalogError, match=r"^catalog: is not a directory with \*\.toml files$"):
        load()
    with pytest.raises(CatalogError, match="nowhere: is not a directory"):
        catalog.load(tmp_path / "nowhere", {})


def test_hidden_files_are_not_apps(load):
    assert [app.slug for app in load(**{".draft": "half", "shop": SHOP})] == ["shop"]
