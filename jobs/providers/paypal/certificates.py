"""X.509 certificates: read from PEM, and followed to a root.

The path is walked here, by signatures, names, validity and the right to sign. The library's own verifier holds chains
to the rules of today's web (key sizes, lifetimes, purposes), which the certificates of recorded messages, and roots of
the year 2006, do not know.
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
# What the walk below judges, or what is no limit to it. Whatever else a CA calls critical is not understood here.
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
    """The certificates of a PEM, in its order. One that cannot be parsed counts as absent."""
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
    """The roots that Scrip brings: PEM, from roots/."""
    return tuple(file.read_bytes() for file in sorted(FOLDER.glob("root-*.pem")))


@lru_cache(maxsize=1)
def intermediates() -> tuple[Certificate, ...]:
    """What may be missing between a leaf and its root. They are trusted for nothing by themselves."""
    return tuple(read_all(file.read_bytes() for file in sorted(FOLDER.glob("intermediate-*.pem"))))


def is_for(certificate: Certificate, name: str) -> bool:
    """Whether the certificate is for this DNS name: by its subject alternative names, without wildcards."""
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
    """Whether a chain of signatures, all of it valid at a time, leads from the leaf to one of the anchors.

    An anchor is trusted as it is, self-signed or not. `others` may stand between, if they may sign certificates.
    """
    trusted = frozenset(anchors)
    others = [other for other in dict.fromkeys(others) if other not in trusted]
    return _is_valid(leaf, at) and (leaf in trusted or _climbs([leaf], list(trusted), others, at))


def _climbs(path: list[Certificate], anchors: list[Certificate], others: list[Certificate], at: datetime) -> bool:
    """`path` is valid so far; its last certificate is the one whose issuer is looked for."""
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
    """By name and by signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _may_sign(certificate: Certificate, below: int) -> bool:
    """Whether it is a CA's, with no more than it allows of them between itself and the leaf, and no unknown limits."""
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
    if any(one.critical and one.oid.dotted_string not in _UNDERSTOOD for one in extensions):
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _extensions(certificate: Certificate) -> Extensions | None:
    """The extensions; None where they cannot be parsed."""
    from cryptography import x509

    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
