"""Verifies PayPal's signatures locally; only the certificate is fetched from PayPal.

PayPal signs `transmission id|transmission time|webhook id|CRC-32 of the body` with the key of the certificate at
PAYPAL-CERT-URL (https://developer.paypal.com/api/rest/webhooks/rest/, "Verify webhook signature"). A message is genuine
if the URL is PayPal's, the certificate is for the name that signs messages and has a valid chain to a trusted root, and
its key made the signature. The age of the message is not checked: PayPal retries deliveries for three days.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.providers.paypal import certificates

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

HEADERS = (
    "paypal-transmission-id",
    "paypal-transmission-time",
    "paypal-transmission-sig",
    "paypal-cert-url",
    "paypal-auth-algo",
)
ALGORITHM = "SHA256withRSA"
# The webhook id with which PayPal's simulator signs messages for any user.
SIMULATOR = "WEBHOOK_ID"
LONGEST_HEADER = 2048
# After the host only the path of a certificate: no port, user, query, fragment, escapes or `..`.
_PATH = r"/v1/notifications/certs(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
Fetch = Callable[[str], bytes]


class CannotVerify(Exception):
    """The signature could not be verified locally, so it is unknown whether the message is PayPal's."""


class Untrusted(CannotVerify):
    """The certificate is at PayPal's own address, but has no chain to a trusted root: PayPal may use a new issuer."""


class NoCertificate(Exception):
    """PayPal has no certificate at the URL."""


@dataclass(frozen=True, slots=True)
class Source:
    """The certificates to accept: the pattern of their URLs, and the DNS name that they are for."""

    urls: re.Pattern[str]
    name: str


SOURCES = {
    "live": Source(re.compile(r"https://api(-m)?\.paypal\.com" + _PATH), "messageverificationcerts.paypal.com"),
    "sandbox": Source(
        re.compile(r"https://api(-m)?\.sandbox\.paypal\.com" + _PATH), "messageverificationcerts.sandbox.paypal.com"
    ),
}


def verify_signature(
    headers: Mapping[str, str],
    body: bytes,
    *,
    webhook_id: str,
    environment: str,
    fetch_certificate: Fetch,
    roots: Iterable[bytes],
    now: datetime,
) -> bool:
    """Whether PayPal's `environment` (`sandbox` or `live`) signed `body` for the webhook.

    `headers` are the request's; their names may be in any case. `fetch_certificate(url)` returns PEM with the leaf and
    optionally its issuers. `roots` are PEMs of the trusted certificates. The chain must be valid at `now`, an aware
    time.

    Raises:
        CannotVerify: the certificate could not be fetched, or the response does not contain a certificate.
    """
    try:
        return check(
            headers,
            body,
            webhook_id=webhook_id,
            sources=sources_of(environment, webhook_id),
            fetch_certificate=fetch_certificate,
            roots=roots,
            now=now,
        )
    except Untrusted:
        return False


def sources_of(environment: str, webhook_id: str) -> tuple[Source, ...]:
    """The certificates that may sign messages for the webhook.

    PayPal's simulator signs messages for any user, with the live environment's certificates too. Its messages are
    therefore accepted in the sandbox only.
    """
    if webhook_id == SIMULATOR:
        return tuple(SOURCES.values()) if environment == "sandbox" else ()
    return (SOURCES[environment],)


def check(
    headers: Mapping[str, str],
    body: bytes,
    *,
    webhook_id: str,
    sources: Sequence[Source],
    fetch_certificate: Fetch,
    roots: Iterable[bytes],
    now: datetime,
) -> bool:
    """The same as `verify_signature`, for any sources of certificates.

    Raises:
        Untrusted: the signature matches, but the certificate has no valid chain to a root.
        CannotVerify: there is no certificate to verify the signature with.
    """
    given = read_headers(headers)
    signature = _signature(given)
    if given is None or signature is None or not webhook_id:
        return False
    source = next((source for source in sources if source.urls.fullmatch(given["paypal-cert-url"])), None)
    if source is None:
        return False
    try:
        sent = _fetched(fetch_certificate, given["paypal-cert-url"])
    except NoCertificate:
        return False
    leaf = next((certificate for certificate in sent if certificates.is_for(certificate, source.name)), None)
    if leaf is None or not _is_signed(leaf, signature, _signed_text(given, webhook_id, body)):
        return False
    anchors = certificates.read_all(roots)
    if not certificates.leads_to(leaf, anchors, [*sent, *certificates.intermediates()], at=now):
        raise Untrusted(f"the certificate at {given['paypal-cert-url']} has no valid chain to a trusted root")
    return True


def read_headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """PayPal's five headers by lower-case name; None if one is missing or invalid.

    Servers strip white space around header values, so a value with such white space is not PayPal's.
    """
    lowered = {name.lower(): value for name, value in headers.items() if isinstance(name, str)}
    given = {name: lowered.get(name) for name in HEADERS}
    if not all(_is_valid(value) for value in given.values()):
        return None
    return {name: str(value) for name, value in given.items()}


def _is_valid(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_HEADER and value == value.strip()


def _signature(given: dict[str, str] | None) -> bytes | None:
    """The signature's bytes; None if its base64 is not canonical (the last digit may have unused bits)."""
    if given is None or given["paypal-auth-algo"] != ALGORITHM:
        return None
    written = given["paypal-transmission-sig"]
    try:
        signature = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        return None
    return signature if base64.b64encode(signature).decode() == written else None


def _signed_text(given: dict[str, str], webhook_id: str, body: bytes) -> bytes:
    parts = (given["paypal-transmission-id"], given["paypal-transmission-time"], webhook_id, str(zlib.crc32(body)))
    return "|".join(parts).encode("utf-8", "surrogatepass")


def _fetched(fetch_certificate: Fetch, url: str) -> list[Certificate]:
    try:
        found = certificates.read(fetch_certificate(url))
    except NoCertificate:
        raise
    except Exception as error:
        raise CannotVerify(f"the certificate at {url} could not be fetched: {type(error).__name__} {error}") from error
    if not found:
        raise CannotVerify(f"the response from {url} does not contain a certificate")
    return found


def _is_signed(leaf: Certificate, signature: bytes, text: bytes) -> bool:
    """Whether the leaf's key made the signature: RSA, PKCS#1 v1.5, SHA-256."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = leaf.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
