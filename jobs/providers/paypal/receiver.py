"""What comes to PayPal's receiver: is it PayPal's?

Three outcomes: it is; it is not (400); it cannot be told here, and then PayPal is asked. Where that does not work, the
answer is 503, and PayPal sends it again for three days.

In the sandbox, Scrip is PayPal too: what its own CA signed, under <data_dir>/sandbox-ca/, is genuine for the webhook
`WH-SANDBOX`. That certificate is read from there, whatever server stands at its URL.
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
REFUSED = "the signature is not PayPal's, of this body for this webhook"
SANDBOX_URL = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?/paypal/v1/notifications/certs/[A-Za-z0-9_-]+")


def read_event(app: App, headers: Mapping[str, str], raw: bytes, now_wall: datetime) -> dict[str, Any]:
    """The event that `raw` holds, if PayPal sent it for the app's webhook. `now_wall` is the wall clock's time.

    Raises:
        BadRequest: it is not PayPal's, or no event with an `id` and an `event_type`.
        NotConfigured: the app has no webhook id to check it with.
        ProviderAway: it can be checked neither here nor by PayPal.
    """
    given = read_headers(headers)
    if given is None:
        raise BadRequest(
            "PayPal's headers PAYPAL-TRANSMISSION-ID, -TIME, -SIG, -CERT-URL and -AUTH-ALGO are missing, or cannot be"
        )
    if settings.sandbox and _is_sandbox_url(given["paypal-cert-url"]):
        if not _is_ours(app, given, raw, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    webhook_id = webhook_id_of(app)
    try:
        if not _is_theirs(app, given, raw, webhook_id, now_wall):
            raise BadRequest(REFUSED)
        return event_body.read(raw, "id", "event_type")
    except CannotVerify as reason:
        # What PayPal is asked about has to be one JSON object: it goes into the middle of another.
        event = event_body.read(raw, "id", "event_type")
        _ask_paypal(app, given, raw, webhook_id, reason)
        return event


def webhook_id_of(app: App) -> str:
    """The id of the app's webhook at PayPal: its own, else the settings'.

    Raises:
        NotConfigured: there is none, or it is the simulator's outside the sandbox.
    """
    webhook_id = app.paypal.webhook_id or settings.paypal_webhook_id
    if not webhook_id and settings.sandbox:
        return SANDBOX_PAYPAL_WEBHOOK_ID
    if not webhook_id:
        raise NotConfigured(f"{app.slug} has no PayPal webhook id: set PAYPAL_WEBHOOK_ID, or webhook_id in its file")
    if webhook_id == SIMULATOR and not settings.sandbox:
        raise NotConfigured(f"{SIMULATOR} is the simulator's webhook id, and anybody can use that: only in a sandbox")
    return webhook_id


def _is_theirs(app: App, given: Mapping[str, str], raw: bytes, webhook_id: str, now_wall: datetime) -> bool:
    return check(
        given,
        raw,
        webhook_id=webhook_id,
        sources=sources_of(client.environment_of(app), webhook_id),
        fetch_certificate=fetch_certificate,
        roots=certificates.bundled(),
        now=now_wall,
    )


def _ask_paypal(app: App, given: Mapping[str, str], raw: bytes, webhook_id: str, reason: CannotVerify) -> None:
    if not client.has_real_account(app):
        raise ProviderAway(f"{reason}; and there is no PayPal account to ask with") from reason
    try:
        genuine = client.client(app).verify_webhook(raw, given, webhook_id=webhook_id)
    except ProviderRefused as refused:
        raise ProviderAway(f"{reason}; and {refused.detail}") from refused
    if not genuine:
        raise BadRequest(REFUSED)


# --- PayPal's certificates

_cache: dict[str, bytes] = {}
_cache_lock = threading.Lock()


def fetch_certificate(url: str) -> bytes:
    """The PEM at a URL of PayPal's, kept: what is at one URL does not change.

    Raises:
        NoCertificate: PayPal has none there.
        requests.RequestException: it could not be had.
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
    with requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True) as answer:
        if answer.status_code in (400, 404, 410):
            raise NoCertificate(url)
        if answer.status_code != 200:
            raise requests.HTTPError(f"answered {answer.status_code}")
        pem = b""
        for part in answer.iter_content(4096):
            pem += part
            if len(pem) > MOST_PEM_BYTES:
                raise requests.HTTPError("answered more than any certificate")
        return pem


# --- the sandbox's own


def _is_sandbox_url(url: str) -> bool:
    return SANDBOX_URL.fullmatch(url) is not None


def _is_ours(app: App, given: Mapping[str, str], raw: bytes, now_wall: datetime) -> bool:
    """Whether the sandbox's CA signed it, for the well-known webhook id or the app's."""
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
        raise BadRequest("this sandbox has signed nothing yet") from None
