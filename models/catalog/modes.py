"""Checks that no app mixes live and test keys with the sandbox (see `provider_keys`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import provider_keys
from models.catalog.apps import App
from models.catalog.toml_table import Problem
from models.errors import CatalogError
from settings import SANDBOX_PAYPAL_WEBHOOK_ID, SANDBOX_WEBHOOK_SECRET, Settings


def check(apps: Iterable[App], settings: Settings) -> None:
    """Check the accounts that the apps' files name; the settings' own are checked when they are read.

    Raises:
        CatalogError: an app has a key that may not be used here; one line for each.
    """
    if settings.allow_test_keys:
        return
    problems = tuple(
        Problem(f"{app.slug}.toml", key, reason) for app in apps for key, reason in _faults(app, settings) if reason
    )
    if problems:
        raise CatalogError("\n".join(map(str, problems)), problems=problems)


def _faults(app: App, settings: Settings) -> Iterator[tuple[str, str | None]]:
    sandbox, paypal = settings.sandbox, app.paypal
    yield "stripe.secret_key", provider_keys.stripe_key_fault(app.stripe.secret_key, sandbox=sandbox)
    is_secret_public = SANDBOX_WEBHOOK_SECRET in app.stripe.webhook_secrets
    yield "stripe.webhook_secret", provider_keys.secret_fault(is_secret_public, sandbox=sandbox)
    is_webhook_public = paypal.webhook_id == SANDBOX_PAYPAL_WEBHOOK_ID
    yield "paypal.webhook_id", provider_keys.secret_fault(is_webhook_public, sandbox=sandbox)
    if paypal.environment or paypal.client_id or paypal.webhook_id:
        environment = paypal.environment or settings.paypal_env
        yield "paypal.environment", provider_keys.paypal_fault(environment, sandbox=sandbox)
