"""Stripe's API: one client an app, plain dicts out, errors of our own tree.

    session = stripe_client.call(app, lambda v1: v1.checkout.sessions.retrieve("cs_1"))

Stripe's library is heavy, and its objects are no dicts: it is imported when it is first needed, and what it returns is
made plain here. Nothing here may be called inside a transaction: an answer may take `TIMEOUT_SECONDS`, three times.
Where the database tries again anyway, a `quick` call asks once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models.catalog.apps import App
from models.errors import ProviderAway, ProviderRefused
from settings import settings

if TYPE_CHECKING:
    from stripe import StripeClient

Object = dict[str, Any]
Page = tuple[list[Object], bool]
TIMEOUT_SECONDS = 20.0
RETRIES = 2
QUICK_SECONDS = 8.0
LONGEST_KEY = 255
SANDBOX_KEY = "sk_sandbox_"


def real_key(app: App) -> str | None:
    """The key of the app's account at Stripe itself; None where only the sandbox, or nothing, takes its payments."""
    return app.stripe.secret_key or settings.stripe_secret_key


def is_reachable(app: App) -> bool:
    """Whether there is an API to ask: Stripe's with a key, or the sandbox's."""
    return bool(real_key(app) or (settings.sandbox and settings.sandbox_url))


def account(app: App) -> str:
    """What apps with one account have in common: its key."""
    return real_key(app) or f"{SANDBOX_KEY}{app.slug}"


def call(app: App, ask: Callable[[Any], Any], *, quick: bool = False) -> Object:
    """What `ask`, given the `v1` of the app's client, returns, as plain data.

    Raises:
        ProviderAway: no answer, a trouble of theirs, or too many calls; the same call later is right.
        ProviderRefused: they understood and said no; with their words.
    """
    import stripe

    client = _client_of(app, quick)
    try:
        answer = ask(client.v1)
    except stripe.StripeError as error:
        raise _ours(error) from error
    plain: Object = answer.to_dict(for_json=True)
    return plain


def page(app: App, ask: Callable[[Any], Any], *, quick: bool = False) -> Page:
    """One page of a list: its objects, and whether there are more. Raises what `call` does."""
    answer = call(app, ask, quick=quick)
    return list(answer.get("data") or []), bool(answer.get("has_more"))


def idempotency_key(*parts: object) -> str:
    """`refund:app:7:r-1`; where that is no plain text of the length that Stripe takes, its digest."""
    key = ":".join(str(part) for part in parts)
    if key.isascii() and key.isprintable() and len(key) <= LONGEST_KEY:
        return key
    return f"{parts[0]}:{hashlib.sha256(key.encode()).hexdigest()}"


def _client_of(app: App, quick: bool) -> StripeClient:
    key = real_key(app)
    if key:
        return _client(key, None, quick)
    if settings.sandbox and settings.sandbox_url:
        return _client(f"{SANDBOX_KEY}{app.slug}", f"{settings.sandbox_url}/stripe", quick)
    raise ProviderRefused("Stripe is not set up here: set STRIPE_SECRET_KEY, or secret_key in the app's [stripe]")


@lru_cache(maxsize=64)
def _client(key: str, url: str | None, quick: bool) -> StripeClient:
    import requests
    import stripe

    session = None
    if url is not None:
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment is not for what runs on this machine
    http = stripe.RequestsClient(timeout=QUICK_SECONDS if quick else TIMEOUT_SECONDS, session=session)
    base: Any = {"api": url} if url else None
    return stripe.StripeClient(key, max_network_retries=0 if quick else RETRIES, http_client=http, base_addresses=base)


def _ours(error: Any) -> ProviderAway | ProviderRefused:
    """Away is what may go well the next time: no answer, 409 (a call with this key is under way), 429, 5xx."""
    status = error.http_status
    message = str(error.user_message or type(error).__name__).strip().partition("\n\n")[0].replace("\n", " ")
    if status is None or status in (409, 429) or status >= 500:
        wait = _seconds(error.headers.get("retry-after"))
        return ProviderAway(f"Stripe: {message}"[:500], retry_after=wait)
    refusal = error.error
    param = getattr(refusal, "param", None) or getattr(error, "param", None) or ""
    return ProviderRefused(f"Stripe: {message}"[:500], status=status, code=str(error.code or ""), param=str(param))


def _seconds(text: Any) -> int:
    return min(int(text), 3600) if isinstance(text, str) and text.isdigit() else 5


def metadata(pairs: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """Metadata without what is not known."""
    return {name: value for name, value in pairs if value}
