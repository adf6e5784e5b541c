"""Client of Stripe's API, one per app. Returns plain dicts and raises Scrip's own errors.

    session = stripe_client.call(app, lambda v1: v1.checkout.sessions.retrieve("cs_1"))

Stripe's library is slow to import and its objects are not dicts: it is imported at the first call, and its objects are
converted here. Do not call this module inside a transaction: a call may take three times `TIMEOUT_SECONDS`. A `quick`
call has a shorter timeout and makes one attempt, for callers that are retried anyway.
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
    """The key of the app's account at Stripe itself; None if only the sandbox or no provider takes its payments."""
    return app.stripe.secret_key or settings.stripe_secret_key


def is_reachable(app: App) -> bool:
    """Whether there is an API to call: Stripe's with a key, or the sandbox's."""
    return bool(real_key(app) or (settings.sandbox and settings.sandbox_url))


def account(app: App) -> str:
    """The identity of the app's account, equal for apps that share it: its key."""
    return real_key(app) or f"{SANDBOX_KEY}{app.slug}"


def call(app: App, request: Callable[[Any], Any], *, quick: bool = False) -> Object:
    """The result of `request`, called with the `v1` of the app's client, as plain data.

    Raises:
        ProviderAway: no response, an error of Stripe's, a conflicting call or too many calls; retry the call later.
        ProviderRefused: Stripe rejected the call, with Stripe's message; or the app has no account.
    """
    import stripe

    client = _client_of(app, quick)
    try:
        response = request(client.v1)
    except stripe.StripeError as error:
        raise _translated(error) from error
    plain: Object = response.to_dict(for_json=True)
    return plain


def page(app: App, request: Callable[[Any], Any], *, quick: bool = False) -> Page:
    """One page of a list: its objects, and whether there are more pages.

    Raises:
        ProviderAway, ProviderRefused: as `call`.
    """
    response = call(app, request, quick=quick)
    return list(response.get("data") or []), bool(response.get("has_more"))


def idempotency_key(*parts: object) -> str:
    """`refund:app:7:r-1`; a digest if that is not printable ASCII of a length that Stripe accepts."""
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
    raise ProviderRefused(
        f"{app.slug} has no Stripe account: set STRIPE_SECRET_KEY, or secret_key under [stripe] in the app's file"
    )


@lru_cache(maxsize=64)
def _client(key: str, url: str | None, quick: bool) -> StripeClient:
    import requests
    import stripe

    session = None
    if url is not None:
        session = requests.Session()
        session.trust_env = False  # the environment's proxy does not apply to the sandbox on this machine
    http = stripe.RequestsClient(timeout=QUICK_SECONDS if quick else TIMEOUT_SECONDS, session=session)
    base: Any = {"api": url} if url else None
    return stripe.StripeClient(key, max_network_retries=0 if quick else RETRIES, http_client=http, base_addresses=base)


def _translated(error: Any) -> ProviderAway | ProviderRefused:
    """The error of Scrip. Retryable: no response, 409 (a call with this key is in progress), 429, 5xx."""
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
    """The pairs that have a value, as metadata."""
    return {name: value for name, value in pairs if value}
