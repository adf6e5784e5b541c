"""Keys that an app's file names are checked as those of the settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.catalog import modes
from models.catalog.provider_accounts import PayPalAccount, StripeAccount
from models.errors import CatalogError
from settings import load
from tests.support.cast import app

SANDBOX = load({})
PRODUCTION = load({"DATABASE_URL": "postgresql://db/scrip"})


@pytest.mark.parametrize(
    ("account", "settings", "key"),
    [
        ({"stripe": StripeAccount(secret_key="sk_live_hush")}, SANDBOX, "stripe.secret_key: is a live key"),
        ({"stripe": StripeAccount(secret_key="rk_test_hush")}, PRODUCTION, "stripe.secret_key: is a test key"),
        ({"stripe": StripeAccount(webhook_secrets=("whsec_sandbox",))}, PRODUCTION, "stripe.webhook_secret: contains"),
        ({"paypal": PayPalAccount(webhook_id="WH-SANDBOX", environment="live")}, PRODUCTION, "paypal.webhook_id"),
        ({"paypal": PayPalAccount(environment="live")}, SANDBOX, "paypal.environment: is live"),
        ({"paypal": PayPalAccount(client_id="x")}, PRODUCTION, "paypal.environment: is sandbox"),
    ],
)
def test_a_key_of_the_other_mode_is_refused_with_the_file_and_the_way_out(account, settings, key) -> None:
    mixed = replace(app("songs"), **account)
    with pytest.raises(CatalogError) as refusal:
        modes.check([app("ai-services"), mixed], settings)
    assert str(refusal.value).startswith(f"songs.toml: {key}")
    assert "SCRIP_ALLOW_TEST_KEYS=1" in str(refusal.value)
    assert "hush" not in str(refusal.value)
    assert len(refusal.value.extra["problems"]) == 1
    modes.check([mixed], replace(settings, allow_test_keys=True))


def test_keys_of_the_right_mode_are_accepted() -> None:
    live = {"stripe": StripeAccount("sk_live_1", ("whsec_1",)), "paypal": PayPalAccount("x", "y", "WH-1", "live")}
    modes.check([replace(app("songs"), **live)], PRODUCTION)
    test = {"stripe": StripeAccount("sk_test_1"), "paypal": PayPalAccount("x", "y", "WH-1", "sandbox")}
    modes.check([replace(app("songs"), **test)], SANDBOX)
