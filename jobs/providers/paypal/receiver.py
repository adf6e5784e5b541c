"""Verifies the messages to PayPal's webhook receiver.

There are three outcomes: the message is genuine; it is not (400); or it cannot be verified locally, and PayPal's API
verifies it. If that fails too, the response is 503, and PayPal retries the delivery for three days.

In the sandbox, messages that are signed by the CA under <data_dir>/sandbox-ca/ are genuine too, for the webhook
`WH-SANDBOX` or the app's. The certificate is read from that folder, not from its URL.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from jobs.providers import event_body
from jobs.providers.paypal import certificates, client
from jobs.providers.paypal.signature import (
    SIMULATOR,
    SOURCES,
    CannotVerify,
    NoCertificate,
    Source,
    check,
    read_headers,
    sources_of,
)
from models.catalog.apps import App
from models.errors import BadRequest, NotConfigured, ProviderAway, ProviderRefused
from settings import SANDBOX_PAYPAL_WEBHOOK_ID, settings

TIMEOUT_SECONDS = (3, 7)
MOST_PEM_BYTES = 64 * 1024
MOST_CACHED = 16
REFUSED = "the signature is not PayPal's signature of this body for the app's webhook"
SANDBOX_URL = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?/paypal/v1/notifications/certs/[A-Za-z0-9_-]+")


def read_event(app: App, headers: Mapping[str, str], raw: bytes, now_wall: datetime) -> dict[str, Any]:
    """The event in `raw`, if PayPal signed it for the app's webhook. `now_wall` is the wall-clock time.

    Raises:
        BadRequest: PayPal did not sign it, or it is not an event with an `id` and an `event_type`.
        NotConfigured: the app has no webhook id to verify it with.
        ProviderAway: it could be verified neither locally nor by PayPal.
    """
    given = read_headers(headers)
    if given is None:
        raise BadRequest(
            "a header is missing or invalid: PAYPAL-TRANSMISSION-ID, -TIME and -SIG, PAYPAL-CERT-URL and"
            " PAYPAL-AUTH-ALGO are required"
        )
    if settings.sandbox and _is_sandbox_url(given["paypal-cert-url"]):
        if not _is_from_sandbox(app, given, raw, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    webhook_id = webhook_id_of(app)
    try:
        if not _is_from_paypal(app, given, raw, webhook_id, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    except CannotVerify as reason:
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

_cache: dict[str, bytes] = {}
_cache_lock = threading.Lock()


def fetch_certificate(url: str) -> bytes:
    """The PEM at a URL of PayPal, cached: the certificate at a URL does not change.

    Raises:
        NoCertificate: PayPal has no certificate at the URL.
        requests.RequestException: it could not be fetched.
    """
    known = _cache.get(url)
    if known is not None:
        return known
    pem = _fetched(url)
    if certificates.read(pem):
        with _cache_lock:
            while len(_cache) >= MOST_CACHED:
                _cache.pop(next(iter(_cache)))
            _cache[url] = pem
    return pem


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


# --- the sandbox's certificates


def _is_sandbox_url(url: str) -> bool:
    return SANDBOX_URL.fullmatch(url) is not None


def _is_from_sandbox(app: App, given: Mapping[str, str], raw: bytes, now_wall: datetime) -> bool:
    """Whether the sandbox's CA signed the message, for the sandbox's webhook id or the app's."""
    source = Source(SANDBOX_URL, SOURCES["sandbox"].name)
    known = {SANDBOX_PAYPAL_WEBHOOK_ID, app.paypal.webhook_id, settings.paypal_webhook_id}
    return any(
        check(
            given,
            raw,
            webhook_id=webhook_id,
            sources=(source,),
            fetch_certificate=lambda _: _sandbox_pem("leaf.pem"),
            roots=[_sandbox_pem("root.pem")],
            now=now_wall,
        )
        for webhook_id in known
        if webhook_id
    )


def _sandbox_pem(name: str) -> bytes:
    path: Path = settings.data_dir / "sandbox-ca" / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadRequest("this sandbox has not created its signing certificate yet") from None
