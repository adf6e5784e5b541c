"""PayPal signatures in the sandbox: its own certificate authority, and the headers of signed events.

    <data_dir>/sandbox-ca/root.pem   trusted by the receiver, in the sandbox only
                          leaf.pem   for messageverificationcerts.sandbox.paypal.com, issued by the root
                          leaf.key   the leaf's key; the root's key is not stored

The folder is created at its first use. Verification reads the leaf from there, so that no process has to serve it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from jobs.providers.paypal import signature as paypal_signature
from jobs.providers.paypal.sandbox_messages import URL as SANDBOX_URL
from settings import SANDBOX_PAYPAL_WEBHOOK_ID, settings

NAME = paypal_signature.SOURCES["sandbox"].name
CERTIFICATES = "/v1/notifications/certs/"
LIFETIME = timedelta(days=3650)


def paypal_headers(
    body: bytes,
    *,
    webhook_id: str = SANDBOX_PAYPAL_WEBHOOK_ID,
    base_url: str | None = None,
    data_dir: Path | None = None,
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers that sign `body` as an event of this sandbox's PayPal for the webhook.

    `base_url`: the sandbox's PayPal (`http://127.0.0.1:8001/paypal`); `now`: the transmission time, by the wall clock.
    """
    folder = _folder(data_dir)
    at = (now or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")
    transmission = str(uuid.uuid4())
    text = "|".join((transmission, at, webhook_id, str(zlib.crc32(body)))).encode()
    key = serialization.load_pem_private_key((folder / "leaf.key").read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    url = base_url or f"{settings.sandbox_url or 'http://127.0.0.1'}/paypal"
    return {
        "PAYPAL-TRANSMISSION-ID": transmission,
        "PAYPAL-TRANSMISSION-TIME": at,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-CERT-URL": f"{url}{CERTIFICATES}{_name_of((folder / 'leaf.pem').read_bytes())}",
        "PAYPAL-AUTH-ALGO": paypal_signature.ALGORITHM,
        "Content-Type": "application/json",
    }


def certificate_pem(data_dir: Path, name: str) -> bytes:
    """The leaf certificate with this name as PEM; empty if there is none."""
    pem = (_folder(data_dir) / "leaf.pem").read_bytes()
    return pem if name == _name_of(pem) else b""


def is_genuine(
    data_dir: Path, headers: Mapping[str, str], raw: bytes, *, webhook_id: str, now: datetime | None = None
) -> bool:
    """Whether the sandbox signed these bytes for the webhook."""
    folder = _folder(data_dir)
    return paypal_signature.check(
        headers,
        raw,
        webhook_id=webhook_id,
        sources=(paypal_signature.Source(SANDBOX_URL, NAME),),
        fetch_certificate=lambda _: (folder / "leaf.pem").read_bytes(),
        roots=[(folder / "root.pem").read_bytes()],
        now=now or datetime.now(timezone.utc),
    )


def _folder(data_dir: Path | None) -> Path:
    """The authority's folder, created if it is missing. Concurrent processes end up with the same one."""
    folder = (data_dir or settings.data_dir) / "sandbox-ca"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="sandbox-ca.", dir=folder.parent))
    _make(fresh, datetime.now(timezone.utc))
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)  # another process was first
    return folder


def _make(folder: Path, now: datetime) -> None:
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Scrip Sandbox Root CA")])
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    signs = _usage(key_cert_sign=True, crl_sign=True)
    root = (
        _certificate(root_name, root_name, root_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    )
    for name, builder in (("root.pem", root), ("leaf.pem", leaf)):
        signed = builder.sign(root_key, hashes.SHA256())
        (folder / name).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    _write_secret(folder / "leaf.key", leaf_key)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_secret(path: Path, key: rsa.RSAPrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, *form))


def _name_of(pem: bytes) -> str:
    """The certificate's name in its URL: a new certificate has a new URL, as at PayPal."""
    return f"CERT-{hashlib.sha256(pem).hexdigest()[:24]}"
