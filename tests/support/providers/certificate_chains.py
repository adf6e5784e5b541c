"""Certificate authorities of the tests: small, and signing whatever they are told to."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

NOW = datetime(2017, 6, 1, 12, 0, tzinfo=timezone.utc)
LIVE = "messageverificationcerts.paypal.com"
SANDBOX = "messageverificationcerts.sandbox.paypal.com"


@lru_cache(maxsize=16)
def key(number: int) -> rsa.RSAPrivateKey:
    """One of a few keys: making them takes time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def issue(
    name: str,
    by: Issued | None = None,
    *,
    number: int = 0,
    ca: bool = True,
    path_length: int | None = None,
    names: Sequence[str] = (),
    start: datetime = NOW - timedelta(days=365),
    end: datetime = NOW + timedelta(days=365),
    may_sign: bool = True,
    unknown: bool = False,
    own_key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    """A certificate issued by another one, or by itself."""
    mine = own_key or key(number)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(mine.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(alternatives, critical=False)
    if not may_sign:
        builder = builder.add_extension(_usage(), critical=True)
    if unknown:
        limits = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.com")], excluded_subtrees=None)
        builder = builder.add_extension(limits, critical=True)
    return Issued(builder.sign(by.key if by else mine, hashes.SHA256()), mine)


def _usage() -> x509.KeyUsage:
    others = ("key_cert_sign", "crl_sign", "content_commitment", "key_encipherment", "data_encipherment")
    more = ("key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(digital_signature=True, **dict.fromkeys((*others, *more), False))


def signed(
    body: bytes,
    by: Issued,
    *,
    webhook_id: str = "WH-1",
    host: str = "api.sandbox.paypal.com",
    crc: int | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    at: datetime = NOW - timedelta(minutes=1),
    transmission: str = "id-1",
) -> dict[str, str]:
    """The headers of a message that this certificate's key signed, as PayPal does it."""
    sent_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    told = (transmission, sent_at, webhook_id, str(zlib.crc32(body) if crc is None else crc))
    assert isinstance(by.key, rsa.RSAPrivateKey)
    signature = by.key.sign("|".join(told).encode(), padding.PKCS1v15(), algorithm or hashes.SHA256())
    return {
        "PAYPAL-TRANSMISSION-ID": told[0],
        "PAYPAL-TRANSMISSION-TIME": told[1],
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-CERT-URL": f"https://{host}/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270",
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }
