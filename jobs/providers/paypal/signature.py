"""PayPal's signatures, checked here: no call to PayPal but for its certificate.

PayPal signs `transmission id|transmission time|webhook id|CRC-32 of the body` with the key of the certificate at
PAYPAL-CERT-URL (https://developer.paypal.com/api/rest/webhooks/rest/, "Verify webhook signature"). A message holds if
that URL is one of PayPal's own, the certificate is for the name that signs messages and leads to a root of ours, and
its key made the signature. How old the message is does not matter: what is lost comes again for three days.
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
# What PayPal's simulator signs with, for whoever asks it to.
SIMULATOR = "WEBHOOK_ID"
LONGEST_HEADER = 2048
# After the host only the path of a certificate: no port, user, query, fragment, escape or dots that climb.
_PATH = r"/v1/notifications/certs(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
Fetch = Callable[[str], bytes]


class CannotVerify(Exception):
    """Whether the message is PayPal's cannot be told here and now."""


class Untrusted(CannotVerify):
    """The certificate is at PayPal's own address, but leads to no root of ours: theirs may have changed."""


class NoCertificate(Exception):
    """There is none at that URL."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whose certificates are taken: from which URLs, and for which name."""

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

    `headers` are the request's, in any case. `fetch_certificate(url)` returns PEM: the leaf, and perhaps more. `roots`
    are PEMs of what is trusted. The chain has to be valid at `now`, an aware time.

    Raises:
        CannotVerify: the certificate could not be fetched, or what came is none.
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
    """Whose certificates the messages for a webhook are signed with.

    The simulator signs what anybody asks it to, and as the live environment does: it is heard in the sandbox only.
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
    """As `verify_signature`, with any sources of certificates.

    Raises:
        Untrusted: all is well but for the chain of the certificate.
        CannotVerify: there is no certificate to check with.
    """
    given = read_headers(headers)
    signature = _signature(given)
    if given is None or signature is None or not webhook_id:
        return False
    source = next((one for one in sources if one.urls.fullmatch(given["paypal-cert-url"])), None)
    if source is None:
        return False
    try:
        sent = _fetched(fetch_certificate, given["paypal-cert-url"])
    except NoCertificate:
        return False
    leaf = next((one for one in sent if certificates.is_for(one, source.name)), None)
    if leaf is None or not _is_signed(leaf, signature, _signed_text(given, webhook_id, body)):
        return False
    anchors = certificates.read_all(roots)
    if not certificates.leads_to(leaf, anchors, [*sent, *certificates.intermediates()], at=now):
        raise Untrusted(f"no valid chain from the certificate at {given['paypal-cert-url']} to a root of ours")
    return True


def read_headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """PayPal's five headers by lower-case name; None unless all are there and can be.

    A server strips what stands around a header's value: white space that is left there is none of PayPal's.
    """
    lowered = {name.lower(): value for name, value in headers.items() if isinstance(name, str)}
    given = {name: lowered.get(name) for name in HEADERS}
    if not all(_can_be(value) for value in given.values()):
        return None
    return {name: str(value) for name, value in given.items()}


def _can_be(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_HEADER and value == value.strip()


def _signature(given: dict[str, str] | None) -> bytes | None:
    """The signature's bytes; None where it is not written as base64 writes them: the last digit has bits to spare."""
    if given is None or given["paypal-auth-algo"] != ALGORITHM:
        return None
    written = given["paypal-transmission-sig"]
    try:
        signature = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        return None
    return signature if base64.b64encode(signature).decode() == written else None


def _signed_text(given: dict[str, str], webhook_id: str, body: bytes) -> bytes:
    told = (given["paypal-transmission-id"], given["paypal-transmission-time"], webhook_id, str(zlib.crc32(body)))
    return "|".join(told).encode("utf-8", "surrogatepass")


def _fetched(fetch_certificate: Fetch, url: str) -> list[Certificate]:
    try:
        found = certificates.read(fetch_certificate(url))
    except NoCertificate:
        raise
    except Exception as error:
        raise CannotVerify(f"the certificate at {url} could not be had: {type(error).__name__} {error}") from error
    if not found:
        raise CannotVerify(f"what came from {url} is no certificate")
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
