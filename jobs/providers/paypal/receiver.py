"""Verifies the messages to PayPal's webhook receiver.

There are three outcomes: the message is genuine; it is not (400); or it cannot be verified locally, and PayPal's API
verifies it. If that fails too, the response is 503, and PayPal retries the delivery for three days.

PayPal signs only a CRC-32 of the body, so another body may bear a genuine signature. Therefore the body of each
transmission is remembered by its hash, and another body under its id is refused, as are old transmissions.

In the sandbox, the sandbox's own messages are genuine too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import requests

from jobs.providers import event_body
from jobs.providers.paypal import certificates, client, sandbox_messages
from jobs.providers.paypal.signature import (
    SIMULATOR,
    CannotVerify,
    NoCertificate,
    check,
    read_headers,
    sources_of,
)
from models import times
from models.catalog.apps import App
from models.errors import BadRequest, NotConfigured, ProviderAway, ProviderRefused
from models.inbox import transmissions
from settings import SANDBOX_PAYPAL_WEBHOOK_ID, settings

TIMEOUT_SECONDS = (3, 7)
MOST_PEM_BYTES = 64 * 1024
MOST_CACHED = 16
MOST_CACHED_FAILURES = 64
MOST_FAILURES_A_MINUTE = 10
# PayPal retries a delivery for three days.
OLDEST_TRANSMISSION = timedelta(days=4)
REFUSED = "the signature is not PayPal's signature of this body for the app's webhook"


class TooManyFetches(Exception):
    """A certificate was not fetched, because too many could not be fetched lately. The sender may try again later."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A certificate could not be fetched at the time `at` of the monotonic clock. A missing one stays missing."""

    error: Exception
    at: float

    def is_recent(self, now: float) -> bool:
        return now < self.at + (300 if isinstance(self.error, NoCertificate) else 10)


def read_event(app: App, headers: Mapping[str, str], raw: bytes, now_wall: datetime) -> dict[str, Any]:
    """The event in `raw`, if PayPal signed it for the app's webhook. `now_wall` is the wall-clock time.

    Raises:
        BadRequest: PayPal did not sign it, it is too old, another body was received in its transmission, or it is not
            an event with an `id` and an `event_type`.
        NotConfigured: the app has no webhook id to verify it with.
        ProviderAway: it could be verified neither locally nor by PayPal.
    """
    given = read_headers(headers)
    if given is None:
        raise BadRequest(
            "a header is missing or invalid: PAYPAL-TRANSMISSION-ID, -TIME and -SIG, PAYPAL-CERT-URL and"
            " PAYPAL-AUTH-ALGO are required"
        )
    _check_age(given, now_wall)
    event = _genuine(app, given, raw, now_wall)
    if not transmissions.claim(app.slug, given["paypal-transmission-id"], raw, now=now_wall):
        raise BadRequest("another body was received in this transmission; its signature covers only a checksum")
    return event


def _check_age(given: Mapping[str, str], now_wall: datetime) -> None:
    """Refuse a transmission whose body is no longer known, and which PayPal has ceased to retry.

    Raises:
        BadRequest: it is too old, or its time is not a time.
    """
    try:
        sent_at = times.parse(given["paypal-transmission-time"])
    except ValueError as reason:
        raise BadRequest(f"the header PAYPAL-TRANSMISSION-TIME {reason}") from None
    if sent_at < now_wall - OLDEST_TRANSMISSION:
        raise BadRequest(f"the transmission is older than {OLDEST_TRANSMISSION.days} days: PayPal retries for three")


def _genuine(app: App, given: Mapping[str, str], raw: bytes, now_wall: datetime) -> dict[str, Any]:
    """The event, if its signature is PayPal's or the sandbox's. Raises as `read_event`."""
    if settings.sandbox and sandbox_messages.names_certificate(given["paypal-cert-url"]):
        if not sandbox_messages.is_genuine(app, given, raw, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    webhook_id = webhook_id_of(app)
    try:
        if not _is_from_paypal(app, given, raw, webhook_id, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    except CannotVerify as reason:
        if isinstance(reason.__cause__, TooManyFetches):
            raise ProviderAway(str(reason), retry_after=60) from reason
        # The body must be one JSON object, because it is embedded in the request to PayPal.
        event = event_body.read(raw, "id", "event_type")
        _verify_at_paypal(app, given, raw, webhook_id, reason)
        return event


def webhook_id_of(app: App) -> str:
    """The id of the app's webhook at PayPal: its own, else the settings'.

    Raises:
        NotConfigured: there is none, or it is the simulator's id outside the sandbox.
    """
    webhook_id = app.paypal.webhook_id or settings.paypal_webhook_id
    if not webhook_id and settings.sandbox:
        return SANDBOX_PAYPAL_WEBHOOK_ID
    if not webhook_id:
        raise NotConfigured(f"{app.slug} has no PayPal webhook id: set PAYPAL_WEBHOOK_ID, or webhook_id in its file")
    if webhook_id == SIMULATOR and not settings.sandbox:
        raise NotConfigured(
            f"the PayPal webhook id {SIMULATOR} is the simulator's, which any user can sign for: set the id of the"
            " app's own webhook"
        )
    return webhook_id


def _is_from_paypal(app: App, given: Mapping[str, str], raw: bytes, webhook_id: str, now_wall: datetime) -> bool:
    return check(
        given,
        raw,
        webhook_id=webhook_id,
        sources=sources_of(client.environment_of(app), webhook_id),
        fetch_certificate=fetch_certificate,
        roots=certificates.bundled(),
        now=now_wall,
    )


def _verify_at_paypal(app: App, given: Mapping[str, str], raw: bytes, webhook_id: str, reason: CannotVerify) -> None:
    if not client.has_real_account(app):
        raise ProviderAway(f"{reason}; PayPal's API cannot verify it, as the app has no PayPal account") from reason
    try:
        genuine = client.client(app).verify_webhook(raw, given, webhook_id=webhook_id)
    except ProviderRefused as refused:
        raise ProviderAway(f"{reason}; {refused.detail}") from refused
    if not genuine:
        raise BadRequest(REFUSED)


# --- PayPal's certificates

# The certificate at each URL, or why there is none.
_cache: dict[str, bytes | Failure] = {}
_fetching = threading.Lock()


def fetch_certificate(url: str) -> bytes:
    """The PEM at a URL of PayPal, cached: the certificate at a URL does not change.

    Failures are remembered. Certificates are fetched one at a time, and after too many failures none for a while: any
    sender can name a URL.

    Raises:
        NoCertificate: PayPal has no certificate at the URL.
        requests.RequestException: it could not be fetched.
        TooManyFetches: it was not fetched.
    """
    known = _known(url)
    if known is not None:
        return known
    if not _fetching.acquire(timeout=sum(TIMEOUT_SECONDS)):
        raise TooManyFetches("another certificate is being fetched")
    try:
        return _known(url) or _fetch(url)
    finally:
        _fetching.release()


def _known(url: str) -> bytes | None:
    """The cached PEM; None if it is to be fetched. Raises the error of a recent failure."""
    known = _cache.get(url)
    if isinstance(known, Failure):
        if known.is_recent(time.monotonic()):
            raise known.error
        return None
    return known


def _fetch(url: str) -> bytes:
    """Fetch and cache. The caller holds the lock."""
    now = time.monotonic()
    failures = [known for known in _cache.values() if isinstance(known, Failure)]
    if sum(failure.at > now - 60 for failure in failures) >= MOST_FAILURES_A_MINUTE:
        raise TooManyFetches("too many certificates could not be fetched within a minute")
    try:
        pem = _fetched(url)
    except (NoCertificate, OSError) as error:  # those of requests are OSErrors
        _keep(url, Failure(error, now), MOST_CACHED_FAILURES)
        raise
    if certificates.read(pem):
        _keep(url, pem, MOST_CACHED)
    return pem


def _keep(url: str, found: bytes | Failure, most: int) -> None:
    """Cache a certificate or a failure. It replaces the oldest of its kind, so failures evict no certificate."""
    _cache.pop(url, None)
    alike = [known for known, value in _cache.items() if isinstance(value, Failure) == isinstance(found, Failure)]
    for old in alike[: max(0, len(alike) - most + 1)]:
        del _cache[old]
    _cache[url] = found


def _fetched(url: str) -> bytes:
    with requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True) as response:
        if response.status_code in (400, 404, 410):
            raise NoCertificate(url)
        if response.status_code != 200:
            raise requests.HTTPError(f"the response has status {response.status_code}")
        pem = b""
        for part in response.iter_content(4096):
            pem += part
            if len(pem) > MOST_PEM_BYTES:
                raise requests.HTTPError(f"the response has more than {MOST_PEM_BYTES} bytes")
        return pem
