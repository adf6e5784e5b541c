"""POST /webhooks/stripe/{app}: verify, store, answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import psycopg
import pytest

from models import database
from models.catalog import catalog
from models.catalog.catalog import Catalog
from models.catalog.provider_accounts import StripeAccount
from tests.support.web_calls import KEY, MIB, problem, rows, signature

EVENT = {"id": "evt_1", "type": "customer.created", "data": {"object": {"id": "cus_1"}}}
RAW = orjson.dumps(EVENT)
PATH = "/webhooks/stripe/ai-services"


def post(client: Any, raw: bytes, header: str | None = None, path: str = PATH) -> Any:
    return client.post(path, data=raw, headers={"Stripe-Signature": signature(raw) if header is None else header})


def test_a_signed_event_is_stored_as_it_came(client):
    answer = post(client, RAW)
    assert (answer.status_code, answer.json) == (200, {"received": True})
    stored = database.read("SELECT app, provider, event_id, type, payload, state FROM inbox_event")
    assert stored == [("ai-services", "stripe", "evt_1", "customer.created", RAW.decode(), "pending")]


def test_an_event_that_comes_again_is_received_and_stored_once(client):
    assert [post(client, RAW).status_code for _ in range(3)] == [200, 200, 200]
    assert rows("inbox_event") == 1


def test_the_same_event_for_two_apps_is_two_events(client):
    assert post(client, RAW).status_code == post(client, RAW, path="/webhooks/stripe/songs").status_code == 200
    assert rows("inbox_event") == 2


def test_an_unknown_app_is_404(client):
    assert problem(post(client, RAW, path="/webhooks/stripe/nobody"), 404) == "not-found"


BAD_HEADERS = (
    "",
    "nonsense",
    "t=1",
    "t=,v1=",
    "v1=" + "0" * 64,
    "t=x,v1=" + "0" * 64,
    "t=-1,v1=" + "0" * 64,
    "t=99999999999999999999,v1=" + "0" * 64,
    "t=1,t=2,v1=" + "0" * 64,
    "t=1700000000,v1=é",
    "t=²,v1=" + "0" * 64,
)


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_a_bad_signature_is_400_and_nothing_is_stored(client, header):
    assert problem(post(client, RAW, header), 400) == "bad-request"
    assert rows("inbox_event") == 0


def test_no_signature_at_all_is_400(client):
    assert problem(client.post(PATH, data=RAW), 400) == "bad-request"


def test_a_signature_by_another_secret_is_400(client):
    assert problem(post(client, RAW, signature(RAW, ["whsec_other"])), 400) == "bad-request"


def test_a_signature_of_another_body_is_400(client):
    for raw in (RAW + b" ", RAW[:-1], RAW.replace(b"cus_1", b"cus_2")):
        assert problem(post(client, raw, signature(RAW)), 400) == "bad-request"


@pytest.mark.parametrize(("age_seconds", "status"), [(290, 200), (310, 400), (-290, 200), (-310, 400)])
def test_a_signature_holds_for_five_minutes_in_both_directions(client, age_seconds, status):
    assert post(client, RAW, signature(RAW, age_seconds=age_seconds)).status_code == status


def test_one_good_signature_among_several_is_enough(client):
    assert post(client, RAW, signature(RAW, ["whsec_other", "whsec_sandbox"])).status_code == 200


def test_each_of_an_apps_secrets_is_good_while_they_rotate(client):
    account = StripeAccount(webhook_secrets=("whsec_old", "whsec_new"))
    apps = {app.slug: replace(app, stripe=account) for app in catalog.current()}
    catalog.use(Catalog(apps))
    for secret in ("whsec_old", "whsec_new", "whsec_sandbox"):
        assert post(client, RAW, signature(RAW, [secret])).status_code == 200
    assert post(client, RAW, signature(RAW, ["whsec_other"])).status_code == 400


SIGNED_BUT_BAD = (
    b"",
    b"\xff\xfe",
    b'{"id": "evt", "type": "\xff"}',
    b'{"id": "evt_1", "type": "x"',
    b"[]",
    b'[{"id": "evt_1", "type": "x"}]',
    b"null",
    b"7",
    b'"evt_1"',
    b"{}",
    b'{"id": "evt_1"}',
    b'{"type": "x"}',
    b'{"id": 1, "type": "x"}',
    b'{"id": "", "type": "x"}',
    b'{"id": null, "type": "x"}',
    b'{"id": "evt_1", "type": ["x"]}',
    b'{"id": "a\\u0000", "type": "x"}',
    b'{"id": "evt_1", "type": "x", "n": NaN}',
    b'{"id": "' + b"x" * 3000 + b'", "type": "x"}',
    b'{"id": "evt_1", "type": "' + b"x" * 3000 + b'"}',
)


@pytest.mark.parametrize("raw", SIGNED_BUT_BAD, ids=lambda raw: repr(raw[:40]))
def test_what_is_signed_and_no_event_is_400(client, raw):
    assert problem(post(client, raw), 400) == "bad-request"
    assert rows("inbox_event") == 0


def test_text_that_looks_odd_is_kept_as_it_was_signed(client):
    raw = '{ "type":"x","id":"evt_ü", "n": 1.10, "t": "\\u0000 \\u00e9 ☎" }'.encode()
    assert post(client, raw).status_code == 200
    assert database.read("SELECT payload FROM inbox_event") == [(raw.decode(),)]


def test_a_body_over_a_mebibyte_is_413(client):
    raw = RAW + b" " * (MIB + 1 - len(RAW))
    assert problem(post(client, raw), 413) == "too-large"


def test_no_key_is_needed_and_a_key_is_no_signature(client):
    assert problem(client.post(PATH, data=RAW, headers=KEY), 400) == "bad-request"


def test_what_could_not_be_stored_is_503_so_that_it_comes_again(client, monkeypatch):
    def away(*args: Any, **named: Any) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr("jobs.inbox.events.receive", away)
    answer = post(client, RAW)
    assert problem(answer, 503) == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def test_a_redis_that_is_away_changes_nothing(client, monkeypatch):
    import redis

    def away(*args: Any, **named: Any) -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr("redis.client.Redis.execute_command", away)
    assert post(client, RAW).status_code == 200
    assert rows("inbox_event") == 1
