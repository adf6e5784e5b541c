"""POST /webhooks/paypal/{app}: is it PayPal's; store, answer."""

from __future__ import annotations

import json
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import psycopg
import pytest

from jobs import maintenance
from jobs.inbox import events
from jobs.providers.paypal import client as paypal_client
from jobs.providers.paypal import receiver
from jobs.providers.paypal.signature import NoCertificate
from models import database
from models.catalog import catalog
from models.catalog.catalog import Catalog
from models.catalog.provider_accounts import PayPalAccount
from models.errors import ProviderAway, ProviderRefused
from sandbox.control import purchases
from sandbox.paypal import ca
from tests.support.cast import balance
from tests.support.providers import certificate_chains
from tests.support.providers.certificate_chains import SANDBOX, Issued, issue
from tests.support.web_calls import KEY, MIB, problem, rows

EVENT = {"id": "WH-1", "event_type": "PAYMENT.ORDER.CREATED", "resource": {"id": "ORD1"}}
RAW = orjson.dumps(EVENT)
PATH = "/webhooks/paypal/ai-services"
NOW = datetime.now(timezone.utc)
ROOT = issue("Root", number=1, start=NOW - timedelta(days=1), end=NOW + timedelta(days=9))
LEAF = issue(
    SANDBOX, ROOT, number=3, ca=False, names=[SANDBOX], start=NOW - timedelta(days=1), end=NOW + timedelta(days=9)
)


def signed(body: bytes, by: Issued, **more: Any) -> dict[str, str]:
    """The headers of a message that was just sent."""
    return certificate_chains.signed(body, by, **{"at": NOW, **more})


def post(client: Any, raw: bytes, headers: dict[str, str] | None = None, path: str = PATH) -> Any:
    return client.post(path, data=raw, headers=ca.paypal_headers(raw) if headers is None else headers)


@pytest.fixture
def paypal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PayPal's own sandbox: its certificate is to be had, our bundle knows its root, the app has the webhook WH-1."""
    monkeypatch.setattr(receiver, "_fetched", lambda url: LEAF.pem)
    monkeypatch.setattr(receiver, "_cache", {})
    monkeypatch.setattr(receiver.certificates, "bundled", lambda: (ROOT.pem,))
    use(webhook_id="WH-1")
    yield monkeypatch
    catalog.use(None)


def use(**account: Any) -> None:
    """Give every app this account."""
    catalog.use(None)
    catalog.use(Catalog({app.slug: replace(app, paypal=PayPalAccount(**account)) for app in catalog.current()}))


def outside_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "settings", replace(receiver.settings, sandbox=False))


# --- what the sandbox signed


def test_what_the_sandbox_signed_is_stored_as_it_came(client):
    answer = post(client, RAW)
    assert (answer.status_code, answer.json) == (200, {"received": True})
    stored = database.read("SELECT app, provider, event_id, type, payload, state FROM inbox_event")
    assert stored == [("ai-services", "paypal", "WH-1", "PAYMENT.ORDER.CREATED", RAW.decode(), "pending")]


def test_an_event_that_comes_again_is_received_and_stored_once(client):
    assert [post(client, RAW).status_code for _ in range(3)] == [200, 200, 200]
    assert rows("inbox_event") == 1


def test_the_same_event_for_two_apps_is_two_events(client):
    assert post(client, RAW).status_code == post(client, RAW, path="/webhooks/paypal/songs").status_code == 200
    assert rows("inbox_event") == 2


def test_an_unknown_app_is_404(client):
    assert problem(post(client, RAW, path="/webhooks/paypal/nobody"), 404) == "not-found"


def test_a_signature_of_another_body_is_400(client):
    for raw in (RAW + b" ", RAW[:-1], RAW.replace(b"ORD1", b"ORD2")):
        assert problem(post(client, raw, ca.paypal_headers(RAW)), 400) == "bad-request"
    assert rows("inbox_event") == 0


def test_each_header_is_needed(client):
    headers = ca.paypal_headers(RAW)
    for name in headers:
        if name.startswith("PAYPAL"):
            for value in (None, "", "x", "é"):
                left = {key: text for key, text in {**headers, name: value}.items() if text is not None}
                assert problem(post(client, RAW, left), 400) == "bad-request"
    assert rows("inbox_event") == 0


def test_no_key_is_needed_and_a_key_is_no_signature(client):
    assert problem(client.post(PATH, data=RAW, headers=KEY), 400) == "bad-request"


def test_another_webhooks_signature_is_400_and_the_apps_own_id_works_in_the_sandbox_too(client):
    headers = ca.paypal_headers(RAW, webhook_id="WH-OTHER")
    assert problem(post(client, RAW, headers), 400) == "bad-request"
    use(webhook_id="WH-OTHER")
    assert post(client, RAW, headers).status_code == 200
    assert post(client, RAW).status_code == 200


@pytest.mark.parametrize(("days", "status"), [(3.9, 200), (4.1, 400), (2000, 400)])
def test_a_transmission_of_more_than_four_days_ago_is_400(client, days, status):
    headers = ca.paypal_headers(RAW, now=datetime.now(timezone.utc) - timedelta(days=days))
    answer = post(client, RAW, headers)
    assert answer.status_code == status
    assert rows("inbox_event") == (status == 200)


# --- another body under a genuine signature


def with_checksum(start: bytes, wanted: int) -> bytes:
    """`start` with four bytes more, so that its CRC-32 is the one that is wanted: what a forger does."""
    table = [_step(value) for value in range(256)]
    top = {entry >> 24: value for value, entry in enumerate(table)}
    state, indexes = wanted ^ 0xFFFFFFFF, []
    for _ in range(4):
        index = top[state >> 24]
        indexes.append(index)
        state = ((state ^ table[index]) << 8) & 0xFFFFFFFF
    current, patch = zlib.crc32(start) ^ 0xFFFFFFFF, b""
    for index in reversed(indexes):
        patch += bytes([(current ^ index) & 0xFF])
        current = (current >> 8) ^ table[index]
    return start + patch


def _step(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value


def forged(raw: bytes, **event: Any) -> bytes:
    """Another event with the checksum of `raw`: the four bytes are in a text that is not read."""
    for number in range(100_000):
        start = orjson.dumps({**event, "n": number, "x": ""})[:-2]
        patched = _patched(start, b'"}', zlib.crc32(raw))
        try:
            orjson.loads(patched)
        except orjson.JSONDecodeError:
            continue
        assert zlib.crc32(patched) == zlib.crc32(raw)
        return patched
    raise AssertionError("no text has this checksum")


def _patched(start: bytes, end: bytes, wanted: int) -> bytes:
    table = [_step(value) for value in range(256)]
    top = {entry >> 24: value for value, entry in enumerate(table)}
    state = wanted ^ 0xFFFFFFFF
    for byte in reversed(end):
        index = top[state >> 24]
        state = (((state ^ table[index]) << 8) | (index ^ byte)) & 0xFFFFFFFF
    return with_checksum(start, state ^ 0xFFFFFFFF) + end


FORGED = forged(RAW, id="WH-2", event_type="PAYMENT.CAPTURE.COMPLETED", resource={"id": "CAP9"})


def test_another_body_with_the_checksum_of_a_genuine_one_is_400(client, paypal):
    headers = signed(RAW, LEAF)
    assert post(client, RAW, headers).status_code == 200
    answer = post(client, FORGED, headers)
    assert problem(answer, 400) == "bad-request"
    assert "another body" in answer.json["detail"]
    assert post(client, RAW, headers).status_code == 200, "the genuine one may come again"
    assert database.read("SELECT event_id FROM inbox_event") == [("WH-1",)]


def test_another_body_of_the_sandboxs_is_400_too(client):
    headers = ca.paypal_headers(RAW)
    assert post(client, RAW, headers).status_code == 200
    assert problem(post(client, FORGED, headers), 400) == "bad-request"


def test_a_body_that_is_no_event_takes_no_transmission(client, paypal):
    headers = signed(RAW, LEAF)
    assert problem(post(client, with_checksum(b"{}", zlib.crc32(RAW)), headers), 400) == "bad-request"
    assert post(client, RAW, headers).status_code == 200


def test_of_two_bodies_at_once_one_wins(client, paypal):
    for number in range(10):
        headers = signed(RAW, LEAF, transmission=f"id-{number}")
        barrier = threading.Barrier(2)

        def send(body: bytes, headers: dict[str, str] = headers, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            try:
                return int(post(client.application.test_client(), body, headers).status_code)
            finally:
                database.release()

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(send, (RAW, FORGED))) == [200, 400]


def test_transmissions_are_forgotten_once_they_would_be_refused_as_old(client, paypal):
    assert post(client, RAW, signed(RAW, LEAF)).status_code == 200
    assert maintenance.prune(now=NOW + timedelta(days=5)).counts["transmissions"] == 0
    assert maintenance.prune(now=NOW + timedelta(days=7)).counts["transmissions"] == 1


def test_outside_the_sandbox_its_certificate_is_nobodys(client, monkeypatch):
    headers = ca.paypal_headers(RAW, webhook_id="WH-1")
    outside_the_sandbox(monkeypatch)
    use(webhook_id="WH-1")
    assert problem(post(client, RAW, headers), 400) == "bad-request"


@pytest.mark.parametrize("url", ["http://evil.example", "http://127.0.0.1.evil.example", "https://127.0.0.1"])
def test_the_sandboxs_certificate_is_on_this_machine(client, url):
    headers = ca.paypal_headers(RAW, base_url=f"{url}/paypal")
    assert problem(post(client, RAW, headers), 400) == "bad-request"


SIGNED_BUT_BAD = (
    b"",
    b"\xff\xfe",
    b'{"id": "WH", "event_type": "\xff"}',
    b'{"id": "WH-1", "event_type": "x"',
    b"[]",
    b"null",
    b"7",
    b"{}",
    b'{"id": "WH-1"}',
    b'{"id": "WH-1", "type": "x"}',
    b'{"event_type": "x"}',
    b'{"id": 1, "event_type": "x"}',
    b'{"id": "", "event_type": "x"}',
    b'{"id": "WH-1", "event_type": ["x"]}',
    b'{"id": "a\\u0000", "event_type": "x"}',
    b'{"id": "WH-1", "event_type": "x", "n": NaN}',
    b'{"id": "' + b"x" * 3000 + b'", "event_type": "x"}',
    b'{"id": "WH-1", "event_type": "x", "n": ' + b"[" * 400 + b"]" * 400 + b"}",
)


@pytest.mark.parametrize("raw", SIGNED_BUT_BAD, ids=lambda raw: repr(raw[:40]))
def test_what_is_signed_and_no_event_is_400(client, raw):
    assert problem(post(client, raw), 400) == "bad-request"
    assert rows("inbox_event") == 0


def test_a_body_over_a_mebibyte_is_413(client):
    raw = RAW + b" " * (MIB + 1 - len(RAW))
    assert problem(post(client, raw), 413) == "too-large"


def test_what_could_not_be_stored_is_503_so_that_it_comes_again(client, monkeypatch):
    def away(*args: Any, **named: Any) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr("jobs.inbox.events.receive", away)
    assert problem(post(client, RAW), 503) == "unavailable"


# --- what PayPal signed


def test_what_paypal_signed_for_our_webhook_is_received(client, paypal):
    assert post(client, RAW, signed(RAW, LEAF)).status_code == 200
    assert rows("inbox_event") == 1


def test_outside_the_sandbox_too(client, paypal):
    outside_the_sandbox(paypal)
    assert post(client, RAW, signed(RAW, LEAF)).status_code == 200


def test_the_certificate_is_fetched_once(client, paypal):
    fetched: list[str] = []
    paypal.setattr(receiver, "_fetched", lambda url: fetched.append(url) or LEAF.pem)
    for _ in range(3):
        assert post(client, RAW, signed(RAW, LEAF)).status_code == 200
    assert len(fetched) == 1


def test_a_failed_fetch_is_remembered(client, paypal):
    fetched: list[str] = []

    def missing(url: str) -> bytes:
        fetched.append(url)
        raise NoCertificate(url)

    paypal.setattr(receiver, "_fetched", missing)
    for _ in range(3):
        assert problem(post(client, RAW, signed(RAW, LEAF)), 400) == "bad-request"
    assert len(fetched) == 1


def test_failed_fetches_are_bounded_and_evict_no_certificate(client, paypal):
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        if url.endswith("a594-1d93a270"):
            return LEAF.pem
        raise NoCertificate(url)

    paypal.setattr(receiver, "_fetched", fetch)
    assert post(client, RAW, signed(RAW, LEAF)).status_code == 200
    headers = signed(RAW, LEAF)
    answers = [
        post(client, RAW, {**headers, "PAYPAL-CERT-URL": f"{headers['PAYPAL-CERT-URL']}-{number}"}).status_code
        for number in range(100)
    ]
    assert len(fetched) == 1 + receiver.MOST_FAILURES_A_MINUTE
    assert answers == [400] * receiver.MOST_FAILURES_A_MINUTE + [503] * 90
    assert post(client, RAW, headers).status_code == 200, "a certificate that is known is not fetched"


def test_certificates_are_fetched_one_at_a_time(paypal):
    running: list[str] = []
    most = []

    def fetch(url: str) -> bytes:
        running.append(url)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(url)
        return LEAF.pem

    paypal.setattr(receiver, "_fetched", fetch)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(receiver.fetch_certificate, [f"https://api.paypal.com/{number % 4}" for number in range(16)]))
    assert (max(most), len(most)) == (1, 4)


def test_the_cache_stays_small(paypal):
    for number in range(100):
        receiver.fetch_certificate(f"https://api.paypal.com/{number}")
    assert len(receiver._cache) == receiver.MOST_CACHED


def test_another_webhook_or_a_forged_signature_is_400(client, paypal):
    assert problem(post(client, RAW, signed(RAW, LEAF, webhook_id="WH-2")), 400) == "bad-request"
    assert problem(post(client, RAW, signed(RAW, issue(SANDBOX, number=6, names=[SANDBOX]))), 400) == "bad-request"
    assert problem(post(client, RAW, signed(b"{}", LEAF)), 400) == "bad-request"


def test_a_live_app_hears_nothing_of_paypals_sandbox(client, paypal):
    use(webhook_id="WH-1", environment="live")
    assert problem(post(client, RAW, signed(RAW, LEAF)), 400) == "bad-request"


@pytest.mark.parametrize("webhook_id", [None, "WEBHOOK_ID"])
def test_without_a_webhook_id_paypal_is_asked_to_come_again(client, paypal, webhook_id):
    outside_the_sandbox(paypal)
    use(webhook_id=webhook_id)
    answer = post(client, RAW, signed(RAW, LEAF, webhook_id="WEBHOOK_ID"))
    assert problem(answer, 503) == "not-configured"
    assert "webhook" in answer.json["detail"]


# --- what cannot be told here


class Asked:
    """PayPal's API, asked whether a message is its own."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[bytes, str]] = []

    def verify_webhook(self, raw: bytes, headers: Any, *, webhook_id: str) -> bool:
        self.calls.append((raw, webhook_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def away(url: str) -> bytes:
    raise OSError("no route")


@pytest.fixture
def asked(paypal: Any) -> Any:
    """The certificate cannot be fetched, and PayPal answers as told."""

    def answer(given: bool | Exception) -> Asked:
        api = Asked(given)
        paypal.setattr(receiver, "_fetched", away)
        paypal.setattr(paypal_client, "client", lambda app: api)
        paypal.setattr(paypal_client, "has_real_account", lambda app: True)
        return api

    return answer


def test_paypal_is_asked_with_the_very_bytes(client, asked):
    raw = b' { "event_type":"x",  "id":"WH-9", "n": 1.10 }\n'
    api = asked(True)
    assert post(client, raw, signed(raw, LEAF)).status_code == 200
    assert api.calls == [(raw, "WH-1")]


def test_paypal_says_no(client, asked):
    asked(False)
    assert problem(post(client, RAW, signed(RAW, LEAF)), 400) == "bad-request"


@pytest.mark.parametrize("error", [ProviderAway("PayPal cannot be reached"), ProviderRefused("PayPal: x", status=403)])
def test_paypal_cannot_say(client, asked, error):
    asked(error)
    answer = post(client, RAW, signed(RAW, LEAF))
    assert problem(answer, 503) == "provider-away"
    assert int(answer.headers["Retry-After"]) > 0
    assert rows("inbox_event") == 0


def test_nobody_can_be_asked(client, paypal):
    paypal.setattr(receiver, "_fetched", away)
    assert problem(post(client, RAW, signed(RAW, LEAF)), 503) == "provider-away"


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{}, "webhook_id": "x"', b'{"id": "a"}'])
def test_only_one_whole_event_is_put_into_the_question(client, asked, raw):
    api = asked(True)
    assert problem(post(client, raw, signed(raw, LEAF)), 400) == "bad-request"
    assert api.calls == []


def test_a_chain_to_a_root_that_we_do_not_know_is_paypals_to_judge(client, asked):
    api = asked(True)
    stranger = issue("New root", number=6, start=NOW - timedelta(days=1), end=NOW + timedelta(days=9))
    leaf = issue(
        SANDBOX,
        stranger,
        number=3,
        ca=False,
        names=[SANDBOX],
        start=NOW - timedelta(days=1),
        end=NOW + timedelta(days=9),
    )
    receiver._cache[signed(RAW, leaf)["PAYPAL-CERT-URL"]] = leaf.pem
    assert post(client, RAW, signed(RAW, leaf)).status_code == 200
    assert len(api.calls) == 1
    api.answer = False
    assert problem(post(client, RAW, signed(RAW, leaf)), 400) == "bad-request"


# --- the sandbox's authority


def test_the_authority_is_made_once_and_keeps_its_key_to_itself(tmp_path):
    first = ca.paypal_headers(RAW, data_dir=tmp_path)
    second = ca.paypal_headers(RAW, data_dir=tmp_path)
    assert first["PAYPAL-CERT-URL"] == second["PAYPAL-CERT-URL"]
    assert first["PAYPAL-TRANSMISSION-ID"] != second["PAYPAL-TRANSMISSION-ID"]
    assert (tmp_path / "sandbox-ca" / "leaf.key").stat().st_mode & 0o077 == 0
    name = first["PAYPAL-CERT-URL"].rpartition("/")[2]
    assert ca.certificate_pem(tmp_path, name).startswith(b"-----BEGIN CERTIFICATE-----")
    assert ca.certificate_pem(tmp_path, "CERT-OTHER") == b""
    assert [entry.name for entry in tmp_path.iterdir()] == ["sandbox-ca"]


def test_the_sandbox_knows_its_own_signature(tmp_path):
    headers = ca.paypal_headers(RAW, data_dir=tmp_path)
    assert ca.is_genuine(tmp_path, headers, RAW, webhook_id="WH-SANDBOX")
    assert not ca.is_genuine(tmp_path, headers, RAW + b" ", webhook_id="WH-SANDBOX")
    assert not ca.is_genuine(tmp_path, headers, RAW, webhook_id="WH-1")


def test_a_payment_that_the_sandbox_sends_is_credited(client):
    told = purchases.paid_capture(catalog.current()["clash-ai"], "ada & bo", "minutes_30")
    assert post(client, json.dumps(told).encode(), path="/webhooks/paypal/clash-ai").status_code == 200
    while events.apply_pending(now=datetime.now(timezone.utc) + timedelta(minutes=1)):
        pass
    assert balance("ada & bo", "clash-ai") == 30
