"""X.509 certificates: parsing PEM and verifying chains to a root.

Chains are verified here by signatures, names, validity and the right to sign. The library's own verifier also applies
today's rules of the web (key sizes, lifetimes, purposes), which the certificates of recorded messages and roots of the
year 2006 do not meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Extensions

FOLDER = Path(__file__).parent / "roots"
LONGEST_PATH = 8
_PEM = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL)
# Extensions that the verification checks, or that do not restrict it. A CA with another critical extension is rejected.
_UNDERSTOOD = frozenset(
    {
        "2.5.29.15",  # key usage
        "2.5.29.17",  # subject alternative name
        "2.5.29.19",  # basic constraints
        "2.5.29.32",  # certificate policies
        "2.5.29.37",  # extended key usage
    }
)


def read(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM, in its order, without those that cannot be parsed."""
    from cryptography import x509

    found = []
    for block in _PEM.findall(pem):
        try:
            found.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            continue
    return found


def read_all(pems: Iterable[bytes]) -> list[Certificate]:
    """The certificates of several PEMs."""
    return [certificate for pem in pems for certificate in read(pem)]


@lru_cache(maxsize=1)
def bundled() -> tuple[bytes, ...]:
    """The PEMs of the roots that Scrip includes, from roots/."""
    return tuple(file.read_bytes() for file in sorted(FOLDER.glob("root-*.pem")))


@lru_cache(maxsize=1)
def intermediates() -> tuple[Certificate, ...]:
    """Intermediate certificates that PayPal's PEM may omit. They are not trusted by themselves."""
    return tuple(read_all(file.read_bytes() for file in sorted(FOLDER.glob("intermediate-*.pem"))))


def is_for(certificate: Certificate, name: str) -> bool:
    """Whether the certificate is for this DNS name, by its subject alternative names, without wildcards."""
    from cryptography import x509

    extensions = _extensions(certificate)
    if extensions is None:
        return False
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return name in (found.lower() for found in names.get_values_for_type(x509.DNSName))


def leads_to(leaf: Certificate, anchors: Sequence[Certificate], others: Sequence[Certificate], *, at: datetime) -> bool:
    """Whether there is a chain from the leaf to one of the anchors, of certificates that are all valid at a time.

    An anchor is trusted, self-signed or not. `others` are possible intermediates, if they may sign certificates.
    """
    trusted = frozenset(anchors)
    others = [other for other in dict.fromkeys(others) if other not in trusted]
    return _is_valid(leaf, at) and (leaf in trusted or _climbs([leaf], list(trusted), others, at))


def _climbs(path: list[Certificate], anchors: list[Certificate], others: list[Certificate], at: datetime) -> bool:
    """Whether the valid `path` can be extended to an anchor, by an issuer of its last certificate."""
    last, below = path[-1], len(path) - 1
    if any(_is_valid(anchor, at) and _issued(anchor, last) for anchor in anchors):
        return True
    if len(path) == LONGEST_PATH:
        return False
    return any(
        _climbs([*path, other], anchors, others, at)
        for other in others
        if other not in path and _is_valid(other, at) and _may_sign(other, below) and _issued(other, last)
    )


def _is_valid(certificate: Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    """Whether the issuer signed the certificate, by name and by signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _may_sign(certificate: Certificate, below: int) -> bool:
    """Whether the certificate is a CA's, allows `below` CAs beneath it, and has no unknown critical extension."""
    from cryptography import x509

    extensions = _extensions(certificate)
    if extensions is None:
        return False
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    if not basic.ca or (basic.path_length is not None and basic.path_length < below):
        return False
    if any(extension.critical and extension.oid.dotted_string not in _UNDERSTOOD for extension in extensions):
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _extensions(certificate: Certificate) -> Extensions | None:
    """The extensions; None if they cannot be parsed."""
    from cryptography import x509

    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
