"""jobs.providers.paypal.events.verify_signature: every way in which a message is not PayPal's, and one that is."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from jobs.providers.paypal import CannotVerify, certificates, verify_signature
from jobs.providers.paypal.signature import NoCertificate
from tests.support.providers.certificate_chains import LIVE, NOW, SANDBOX, Issued, issue, signed

BODY = '{"id": "WH-1", "event_type": "PAYMENT.CAPTURE.COMPLETED", "summary": "€ 5"}'.encode()
ROOT = issue("Root", number=1)
MIDDLE = issue("Middle", ROOT, number=2)
LEAF = issue(SANDBOX, MIDDLE, number=3, ca=False, names=[SANDBOX])
LIVE_LEAF = issue(LIVE, MIDDLE, number=4, ca=False, names=[LIVE])
PAYPAL_ROOTS = list(certificates.bundled())
RECORDED = Path(__file__).parent / "recorded"


def genuine(headers: Any = None, body: bytes = BODY, *, pem: bytes | Exception | None = None, **more: Any) -> bool:
    """Whether it verifies; the certificate and all else is right unless told otherwise."""

    def fetch(url: str) -> bytes:
        found = LEAF.pem + MIDDLE.pem if pem is None else pem
        if isinstance(found, Exception):
            raise found
        return found

    given_: dict[str, Any] = {
        "webhook_id": "WH-1",
        "environment": "sandbox",
        "fetch_certificate": fetch,
        "roots": [ROOT.pem],
        "now": NOW,
        **more,
    }
    return verify_signature(signed(BODY, LEAF) if headers is None else headers, body, **given_)


def test_a_signed_message_is_genuine():
    assert genuine()
    assert genuine(signed(BODY, LIVE_LEAF, host="api.paypal.com"), pem=LIVE_LEAF.pem + MIDDLE.pem, environment="live")


def test_one_byte_changed_is_not():
    for number in range(len(BODY)):
        changed = BODY[:number] + bytes([BODY[number] ^ 1]) + BODY[number + 1 :]
        assert not genuine(body=changed)
        assert not genuine(body=BODY[:number] + BODY[number + 1 :])
    for added in (b" ", b"\n", b"\x00"):
        assert not genuine(body=BODY + added)
        assert not genuine(body=added + BODY)
    assert not genuine(body=b"")


@given(st.binary(max_size=200))
def test_the_checksum_is_of_the_raw_bytes_whatever_they_are(body: bytes):
    assert genuine(signed(body, LEAF), body)
    assert not genuine(signed(body, LEAF), body + b"\n")


def test_the_checksum_is_unsigned():
    body = next(body for body in (b"%d" % number for number in range(100)) if zlib.crc32(body) > 2**31)
    assert genuine(signed(body, LEAF), body)
    assert not genuine(signed(body, LEAF, crc=zlib.crc32(body) - 2**32), body)


@pytest.mark.parametrize("name", sorted(signed(BODY, LEAF)))
def test_each_header_is_needed_and_part_of_it(name: str):
    headers = signed(BODY, LEAF)
    assert not genuine({key: value for key, value in headers.items() if key != name})
    for value in ("", "x", headers[name] + "x", "é", "\x00", "x" * 5000, None, 7):
        if not (name == "PAYPAL-CERT-URL" and value == headers[name] + "x"):
            assert not genuine({**headers, name: value}), value


def only(url: str) -> Any:
    """PayPal has a certificate at this URL alone."""

    def fetch(asked: str) -> bytes:
        if asked != url:
            raise NoCertificate(asked)
        return LEAF.pem + MIDDLE.pem

    return fetch


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


@pytest.mark.parametrize("name", sorted(signed(BODY, LEAF)))
def test_no_character_of_a_header_can_be_another(name: str):
    headers = signed(BODY, LEAF)
    value, fetch = headers[name], only(headers["PAYPAL-CERT-URL"])
    assert genuine(headers, fetch_certificate=fetch)
    for place in range(len(value)):
        for other in {chr(ord(value[place]) ^ 1), "A", "=", " ", "é"} - {value[place]}:
            changed = value[:place] + other + value[place + 1 :]
            assert genuine({**headers, name: changed}, fetch_certificate=fetch) is False, changed


def test_a_signature_is_written_in_one_way():
    headers = signed(BODY, LEAF)
    good = headers["PAYPAL-TRANSMISSION-SIG"]
    assert good.endswith("==")  # so that the digit before has four bits to spare
    for digit in DIGITS:
        if digit != good[-3]:
            assert not genuine({**headers, "PAYPAL-TRANSMISSION-SIG": f"{good[:-3]}{digit}=="}), digit


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n", "\xa0", "\x00"])
@pytest.mark.parametrize("name", sorted(signed(BODY, LEAF)))
def test_nothing_may_stand_around_a_header(name: str, blank: str):
    headers = signed(BODY, LEAF)
    for changed in (headers[name] + blank, blank + headers[name]):
        assert genuine({**headers, name: changed}, fetch_certificate=only(headers["PAYPAL-CERT-URL"])) is False


def test_headers_are_read_in_any_case():
    headers = signed(BODY, LEAF)
    assert genuine({name.lower(): value for name, value in headers.items()})
    assert genuine({name.title(): value for name, value in headers.items()})


def test_another_webhook_is_another_message():
    assert not genuine(webhook_id="WH-2")
    assert not genuine(webhook_id="")
    assert not genuine(signed(BODY, LEAF, webhook_id=""), webhook_id="")


@pytest.mark.parametrize("algorithm", ["SHA1withRSA", "SHA512withRSA", "sha256withrsa", "none", "SHA256withRSA2"])
def test_only_one_algorithm_is_taken(algorithm: str):
    assert not genuine({**signed(BODY, LEAF), "PAYPAL-AUTH-ALGO": algorithm})
    assert not genuine(signed(BODY, LEAF, algorithm=hashes.SHA512()))


BAD_URLS = """
http://api.sandbox.paypal.com/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com.evil.example/v1/notifications/certs/CERT-1
https://evil.example/v1/notifications/certs/CERT-1
https://evil.example/api.sandbox.paypal.com/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com@evil.example/v1/notifications/certs/CERT-1
https://user@api.sandbox.paypal.com/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com:443/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com:8443/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1?a=b
https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1#f
https://api.sandbox.paypal.com/v1/notifications/certs/
https://api.sandbox.paypal.com/v1/notifications/certs
https://api.sandbox.paypal.com/v1/notifications/certs/../../oauth2/token
https://api.sandbox.paypal.com/v1/notifications/certs/%2e%2e/x
https://api.sandbox.paypal.com/v1/notifications/certs/..
https://api.sandbox.paypal.com/v1/other/CERT-1
https://api.sandbox.paypal.com\\.evil.example/v1/notifications/certs/CERT-1
https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1/../../x
https://apiXsandbox.paypal.com/v1/notifications/certs/CERT-1
https://www.sandbox.paypal.com/v1/notifications/certs/CERT-1
https://sandbox.paypal.com/v1/notifications/certs/CERT-1
https://api.paypal.com/v1/notifications/certs/CERT-1
https://api-m.paypal.com/v1/notifications/certs/CERT-1
https://messageverificationcerts.sandbox.paypal.com/v1/notifications/certs/CERT-1
http://127.0.0.1:8001/paypal/v1/notifications/certs/CERT-1
file:///etc/passwd
//api.sandbox.paypal.com/v1/notifications/certs/CERT-1
""".split()


@pytest.mark.parametrize("url", [*BAD_URLS, "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1\nHost: x"])
def test_a_certificate_from_elsewhere_is_not_even_fetched(url: str):
    headers = {**signed(BODY, LEAF), "PAYPAL-CERT-URL": url}
    assert genuine(headers, pem=AssertionError("fetched")) is False


@pytest.mark.parametrize("host", ["api.sandbox.paypal.com", "api-m.sandbox.paypal.com"])
def test_both_hosts_of_the_environment_are_paypals_and_the_other_environments_are_not(host: str):
    assert genuine(signed(BODY, LEAF, host=host))
    assert not genuine(signed(BODY, LEAF, host=host), environment="live")
    live = host.replace(".sandbox", "")
    pem = LIVE_LEAF.pem + MIDDLE.pem
    assert genuine(signed(BODY, LIVE_LEAF, host=live), pem=pem, environment="live")
    assert not genuine(signed(BODY, LIVE_LEAF, host=live), pem=pem)


def refused(leaf: Issued, *others: Issued, **more: Any) -> None:
    assert genuine(signed(BODY, leaf), pem=b"".join(one.pem for one in (leaf, *others)), **more) is False


@pytest.mark.parametrize(
    "names",
    [[], ["paypal.com"], ["*.sandbox.paypal.com"], ["*.paypal.com"], [LIVE], ["x" + SANDBOX], [SANDBOX + ".evil.com"]],
)
def test_a_certificate_for_another_name_signs_nothing(names: list[str]):
    refused(issue(SANDBOX, MIDDLE, number=3, ca=False, names=names), MIDDLE)


def test_one_of_several_names_is_enough():
    leaf = issue("x", MIDDLE, number=3, ca=False, names=["other.paypal.com", SANDBOX.upper()])
    assert genuine(signed(BODY, leaf), pem=leaf.pem + MIDDLE.pem)


def test_the_certificates_may_come_in_any_order_and_with_other_text_around_them():
    assert genuine(pem=b"Bag Attributes\r\n" + MIDDLE.pem + b"\n# x\n" + LEAF.pem.replace(b"\n", b"\r\n"))


def test_the_root_may_be_an_intermediate_that_is_trusted_and_a_pem_may_hold_several():
    assert genuine(roots=[MIDDLE.pem], pem=LEAF.pem)
    other = issue("Other root", number=5)
    assert genuine(roots=[other.pem + ROOT.pem])
    assert genuine(roots=[other.pem, ROOT.pem])


def test_no_root_means_no_trust():
    assert not genuine(roots=[])
    assert not genuine(roots=[b"", b"nonsense"])
    assert not genuine(roots=[issue("Root", number=5).pem])  # the same name, another key
    assert not genuine(pem=LEAF.pem)  # what stands between is missing


def test_what_signs_itself_is_not_trusted_by_that():
    refused(issue(SANDBOX, number=3, names=[SANDBOX]))
    refused(issue(SANDBOX, number=3, ca=False, names=[SANDBOX]), ROOT)


@pytest.mark.parametrize(
    "times",
    [{"end": NOW - timedelta(seconds=1)}, {"start": NOW + timedelta(seconds=1)}],
    ids=["expired", "not yet valid"],
)
def test_each_certificate_of_the_chain_has_to_be_valid_at_the_time(times: dict[str, datetime]):
    refused(issue(SANDBOX, MIDDLE, number=3, ca=False, names=[SANDBOX], **times), MIDDLE)
    middle = issue("Middle", ROOT, number=2, **times)
    refused(issue(SANDBOX, middle, number=3, ca=False, names=[SANDBOX]), middle)
    root = issue("Root", number=1, **times)
    assert not genuine(roots=[root.pem])


def test_the_time_is_the_one_that_is_given():
    for at, expected in ((NOW, True), (NOW + timedelta(days=364), True), (NOW + timedelta(days=366), False)):
        assert genuine(now=at) is expected
    assert genuine(now=NOW.astimezone(timezone(timedelta(hours=9))))


@pytest.mark.parametrize(
    "bad", [{"ca": False}, {"may_sign": False}, {"unknown": True}], ids=["no CA", "may not sign", "unknown limits"]
)
def test_only_an_authority_may_stand_between(bad: dict[str, bool]):
    middle = issue("Middle", ROOT, number=2, **bad)
    refused(issue(SANDBOX, middle, number=3, ca=False, names=[SANDBOX]), middle)


def test_an_authority_may_have_only_as_many_below_it_as_it_says():
    upper = issue("Upper", ROOT, number=5, path_length=0)
    lower = issue("Lower", upper, number=6)
    leaf = issue(SANDBOX, lower, number=3, ca=False, names=[SANDBOX])
    refused(leaf, lower, upper)
    upper = issue("Upper", ROOT, number=5, path_length=1)
    assert genuine(signed(BODY, leaf), pem=leaf.pem + lower.pem + upper.pem)


def test_a_chain_that_bites_its_own_tail_ends():
    one = issue("One", issue("Two", number=6), number=5)
    two = issue("Two", one, number=6)
    refused(issue(SANDBOX, one, number=3, ca=False, names=[SANDBOX]), one, two)


def test_a_forged_intermediate_of_the_right_name_leads_nowhere():
    forged = issue("Middle", issue("Root", number=6), number=7)
    refused(issue(SANDBOX, forged, number=3, ca=False, names=[SANDBOX]), forged)
    # Beside the true one it does no harm.
    assert genuine(pem=forged.pem + LEAF.pem + MIDDLE.pem)


def test_a_leaf_with_no_rsa_key_signs_nothing():
    leaf = issue(SANDBOX, MIDDLE, ca=False, names=[SANDBOX], own_key=ec.generate_private_key(ec.SECP256R1()))
    assert not genuine(pem=leaf.pem + MIDDLE.pem)


def test_another_key_of_the_same_chain_is_no_signature():
    assert not genuine(signed(BODY, MIDDLE))


@pytest.mark.parametrize("error", [OSError("away"), TimeoutError(), ValueError("x"), KeyError("x")])
def test_a_certificate_that_cannot_be_fetched_leaves_it_open(error: Exception):
    with pytest.raises(CannotVerify):
        genuine(pem=error)


@pytest.mark.parametrize("pem", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_leaves_it_open(pem: bytes):
    with pytest.raises(CannotVerify):
        genuine(pem=pem)


def test_a_certificate_that_paypal_does_not_have_is_no_certificate():
    assert genuine(pem=NoCertificate("x")) is False


def test_what_is_broken_is_refused_before_anything_is_fetched():
    for headers in ({}, {**signed(BODY, LEAF), "PAYPAL-TRANSMISSION-SIG": "not base64!"}):
        assert genuine(headers, pem=AssertionError("fetched")) is False


# --- a message that PayPal itself signed

AT = datetime(2024, 7, 30, 10, 30, tzinfo=timezone.utc)
RECORDED_HEADERS = {
    "paypal-transmission-id": "8ad71ae0-4e5e-11ef-b16d-8fad525a7f7b",
    "paypal-transmission-time": "2024-07-30T10:29:03Z",
    "paypal-transmission-sig": (
        "MOKfu0nT75NZoa5+Zq3Bxx/vs4TZfd6aVje6+F3fE4cBM1BcdRGmABTj/hJ4yPY0q8QxRjo6e2/PK22Tle4XxjPjoBnMigmbQP/bay3QfYKf"
        "12e1HGuZjtJ5kQX+kweY+QhnLmTv2vIuLXAAeLqcg07hs7pZgFP/K2otxG58enQ0HM/WER2+klpfFLViVE6tzBksbMGtRmykfXqO592GEpgv"
        "deshX3MdabgMYnfrT2+ttgRmpo1DvbZ6z0TWPhQ487y4ZH/aR6yQfXTNwta43CNHjKRxc/PrY1pQ8KXDpBafrsnyxygH+98vW8L0zIO2c7kU"
        "Ma4ZY+OnhfPayaWT5Q=="
    ),
    "paypal-cert-url": "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1a5f47cb",
    "paypal-auth-algo": "SHA256withRSA",
}


def recorded(body: bytes | None = None, **more: Any) -> bool:
    """A message of PayPal's simulator, with PayPal's certificate of that time and our roots."""
    message = (RECORDED / "paypal-message.json").read_bytes()
    given_: dict[str, Any] = {
        "pem": (RECORDED / "paypal-certificate.pem").read_bytes(),
        "webhook_id": "WEBHOOK_ID",
        "roots": PAYPAL_ROOTS,
        "now": AT,
        **more,
    }
    return genuine(RECORDED_HEADERS, message if body is None else body, **given_)


def test_a_message_that_paypal_signed_years_ago_verifies_at_its_time():
    assert recorded()


def test_and_not_with_a_byte_changed_at_another_time_or_by_another_root():
    message = (RECORDED / "paypal-message.json").read_bytes()
    assert not recorded(message.replace(b"0.48", b"0.49"))
    assert not recorded(message + b"\n")
    assert not recorded(now=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert not recorded(roots=[ROOT.pem])
    assert not recorded(roots=[certificates.FOLDER.joinpath("root-digicert-global-root-g2.pem").read_bytes()])


def test_the_simulator_signs_for_anybody_so_it_is_heard_in_the_sandbox_only():
    assert recorded(environment="sandbox")
    assert not recorded(environment="live")
    assert not genuine(
        signed(BODY, LIVE_LEAF, host="api.paypal.com", webhook_id="WEBHOOK_ID"),
        pem=LIVE_LEAF.pem + MIDDLE.pem,
        webhook_id="WEBHOOK_ID",
        environment="live",
    )


# --- the bundle


def test_each_file_of_the_bundle_is_in_its_table_with_its_fingerprint():
    table = dict(
        re.findall(
            r"\| `([\w.-]+\.pem)` \| [\d-]+ \| `([0-9a-f]{64})` \|", (certificates.FOLDER / "README.md").read_text()
        )
    )
    found = {}
    for file in certificates.FOLDER.glob("*.pem"):
        (certificate,) = certificates.read(file.read_bytes())
        found[file.name] = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    assert table == found


def test_each_intermediate_of_the_bundle_leads_to_a_root_of_it():
    roots = certificates.read_all(PAYPAL_ROOTS)
    assert len(certificates.intermediates()) >= 3
    for one in certificates.intermediates():
        assert certificates.leads_to(one, roots, [], at=datetime(2026, 1, 1, tzinfo=timezone.utc)), one.subject


def test_the_signature_is_read_strictly():
    headers = signed(BODY, LEAF)
    good = headers["PAYPAL-TRANSMISSION-SIG"]
    assert base64.b64decode(good)
    for bad in (good.rstrip("="), good.replace("/", "_") + "!", good[:-8], " ".join(good)):
        if bad != good:
            assert not genuine({**headers, "PAYPAL-TRANSMISSION-SIG": bad})
