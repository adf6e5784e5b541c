"""Who may call: keys, scopes, customers' tokens, limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest

from models import database
from models.access import keys, tokens
from models.errors import Invalid, NotFound
from settings import settings
from tests.support.web_calls import KEY, OTHER_KEY, REPORT, bearer, fields, problem, rows, send
from web.http import auth

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)
APP = "ai-services"
ADJUSTMENT = {"id": "a", "customer": "ada", "units": 5, "reason": "welcome"}


@pytest.fixture
def production(monkeypatch):
    """Outside the sandbox."""
    real = replace(settings, sandbox=False, stripe_webhook_secrets=())
    for module in ("web.http.auth", "web.inbox", "web.api.sandbox", "web.api.runs", "models.clock"):
        monkeypatch.setattr(f"{module}.settings", real)


def made(*scopes: str, app: str = APP, **more: Any) -> dict[str, str]:
    return bearer(keys.create(app, scopes, now=NOW, **more))


NO_KEYS = (
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer sk_unknown"},
    {"Authorization": "Bearer sk_sandbox_"},
    {"Authorization": "Bearer sk_sandbox_nobody"},
    {"Authorization": "Bearer sk_sandbox_ai-services2"},
    {"Authorization": "Basic c2tfc2FuZGJveF9haS1zZXJ2aWNlczo="},
    {"Authorization": "sk_sandbox_ai-services"},
    {"Authorization": "Bearer é"},
    {"Authorization": "Bearer a.b.c"},
)


@pytest.mark.parametrize("headers", NO_KEYS, ids=str)
def test_no_or_an_unknown_key_is_401(client, headers):
    answer = client.get("/v1/usage", headers=headers)
    assert problem(answer, 401) == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_stranger_learns_nothing_about_the_content(client):
    assert problem(send(client, "/v1/usage", b"{", key={}), 401) == "unauthorized"
    assert problem(client.get("/v1/entries/nonsense?limit=x"), 401) == "unauthorized"


def test_the_word_bearer_may_be_written_in_any_case(client):
    assert client.get("/v1/usage", headers={"Authorization": "bearer sk_sandbox_ai-services"}).status_code == 200


SCOPED = (
    ("write", "POST", "/v1/usage", REPORT),
    ("write", "POST", "/v1/charges", {"id": "c", "customer": "ada", "rate": "sms", "quantity": 0}),
    ("write", "POST", "/v1/customers/ada/tokens", {}),
    ("read", "GET", "/v1/usage", None),
    ("read", "GET", "/v1/customers/ada/quote?rate=sms&quantity=1", None),
    ("admin", "POST", "/v1/adjustments", ADJUSTMENT),
    ("admin", "GET", "/v1/events", None),
    ("admin", "POST", "/v1/runs/expire", {}),
    ("admin", "POST", "/v1/sandbox/clock", {"advance": "1s"}),
)


@pytest.mark.parametrize(("scope", "method", "path", "content"), SCOPED)
def test_a_key_does_what_its_scope_allows_and_nothing_else(client, scope, method, path, content):
    others = [other for other in keys.SCOPES if other != scope]
    refused = send(client, path, content or {}, key=made(*others), method=method)
    assert problem(refused, 403) == "forbidden"
    assert send(client, path, content or {}, key=made(scope), method=method).status_code < 300


def test_only_the_hash_of_a_key_is_stored(db):
    text = keys.create(APP, ["read"], "ci", now=NOW)
    assert len(text) > 40
    (stored,) = database.read("SELECT row_to_json(api_key)::text FROM api_key")
    assert text not in stored[0]
    key = keys.find(text)
    assert key is not None
    assert (key.id, key.app, key.scopes, key.rate_limit_per_minute, key.name) == (1, APP, ["read"], None, "ci")
    (shown,) = keys.list_page(APP)
    assert (shown["name"], shown["prefix"], shown["scopes"]) == ("ci", text[: keys.SHOWN_CHARACTERS], ["read"])


def test_keys_are_listed_by_app_newest_first(db):
    for app in (APP, "songs", APP):
        keys.create(app, ["read"], now=NOW)
    assert [key["id"] for key in keys.list_page()] == [3, 2, 1]
    assert [key["id"] for key in keys.list_page("songs")] == [2]


@pytest.mark.parametrize("scopes", [[], ["reed"], ["read", ""]])
def test_a_key_without_a_known_scope_is_not_made(db, scopes):
    with pytest.raises(Invalid):
        keys.create(APP, scopes, now=NOW)


def test_a_revoked_key_stops_working_within_seconds(client, monkeypatch):
    key = made("read")
    assert client.get("/v1/usage", headers=key).status_code == 200
    keys.revoke(1, now=NOW)
    assert client.get("/v1/usage", headers=key).status_code == 200, "kept in the process for a moment"
    later = auth.time.monotonic() + auth.CACHE_SECONDS
    monkeypatch.setattr("web.http.auth.time.monotonic", lambda: later)
    assert problem(client.get("/v1/usage", headers=key), 401) == "unauthorized"


def test_revoking_twice_keeps_the_first_time_and_an_unknown_key_is_told(db):
    keys.create(APP, ["read"], now=NOW)
    keys.revoke(1, now=NOW)
    keys.revoke(1, now=NOW + timedelta(days=1))
    assert keys.list_page()[0]["revoked_at"] == NOW
    with pytest.raises(NotFound):
        keys.revoke(2, now=NOW)


def test_a_known_key_is_looked_up_once_in_a_few_seconds(client, monkeypatch):
    looked: list[str] = []
    find = keys.find
    monkeypatch.setattr("models.access.keys.find", lambda text: looked.append(text) or find(text))
    key = made("read")
    for _ in range(3):
        assert client.get("/v1/usage", headers=key).status_code == 200
    assert len(looked) == 1


def test_a_key_of_an_app_that_left_the_catalog_is_401(client):
    assert problem(client.get("/v1/usage", headers=made("read", app="gone")), 401) == "unauthorized"


def test_outside_the_sandbox_its_key_its_secret_and_its_clock_do_not_exist(client, production):
    from tests.support.web_calls import signature

    assert problem(client.get("/v1/usage", headers=KEY), 401) == "unauthorized"
    raw = b'{"id": "evt_1", "type": "x"}'
    signed = {"Stripe-Signature": signature(raw)}
    assert problem(client.post("/webhooks/stripe/ai-services", data=raw, headers=signed), 400) == "bad-request"
    assert problem(send(client, "/v1/sandbox/clock", {"advance": "1d"}, key=made("admin")), 404) == "not-found"
    answer = send(client, "/v1/runs/expire", {"now": "2026-03-10T12:00:00Z"}, key=made("admin"))
    assert answer.json["errors"][0]["field"] == "now"
    assert send(client, "/v1/runs/expire", {}, key=made("admin")).status_code == 200


# --- customers' tokens


def token_for(client: Any, customer: str, key: dict[str, str] = KEY, **body: Any) -> dict[str, str]:
    answer = send(client, f"/v1/customers/{customer}/tokens", body, key=key)
    assert answer.status_code == 201
    return bearer(answer.json["token"])


OF_A_CUSTOMER = ("", "/balance", "/entries", "/stats", "/explain", "/quote?rate=sms&quantity=1")


@pytest.mark.parametrize("path", OF_A_CUSTOMER)
def test_a_token_reads_its_customers_resources_and_no_others(client, path):
    send(client, "/v1/customers/ada", {"tier": None}, method="PATCH")
    token = token_for(client, "ada")
    assert client.get(f"/v1/customers/ada{path}", headers=token).status_code == 200
    assert problem(client.get(f"/v1/customers/bo{path}", headers=token), 403) == "forbidden"


NOT_FOR_TOKENS = (
    ("GET", "/v1/usage"),
    ("GET", "/v1/customers"),
    ("GET", "/v1/entries"),
    ("GET", "/v1/events"),
    ("POST", "/v1/usage"),
    ("POST", "/v1/charges"),
    ("POST", "/v1/adjustments"),
    ("POST", "/v1/customers/ada/tokens"),
    ("PATCH", "/v1/customers/ada"),
)


@pytest.mark.parametrize(("method", "path"), NOT_FOR_TOKENS)
def test_a_token_does_nothing_else(client, method, path):
    assert problem(send(client, path, REPORT, key=token_for(client, "ada"), method=method), 403) == "forbidden"


def test_a_token_of_one_app_says_nothing_in_another(client):
    grant = {**ADJUSTMENT, "units": 9}
    send(client, "/v1/adjustments", grant)
    foreign = token_for(client, "ada", OTHER_KEY)
    assert client.get("/v1/customers/ada/balance", headers=foreign).json["balance"] == 0


def test_a_token_lives_for_an_hour_of_the_wall_clock_at_most(client):
    answer = client.post("/v1/customers/ada/tokens", headers=KEY)
    assert answer.status_code == 201
    ends = datetime.fromisoformat(answer.json["expires_at"].replace("Z", "+00:00"))
    left = ends - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    send(client, "/v1/sandbox/clock", {"advance": "31d"})
    assert client.get("/v1/customers/ada/balance", headers=bearer(answer.json["token"])).status_code == 200


@pytest.mark.parametrize("seconds", [0, 59, 3601, -1, "60", 60.0, True])
def test_a_token_of_another_length_is_refused(client, seconds):
    assert fields(send(client, "/v1/customers/ada/tokens", {"expires_in": seconds})) == ["expires_in"]


def test_making_a_token_makes_no_customer(client):
    token_for(client, "nobody")
    assert rows("account") == 0


def test_a_token_has_an_end(db):
    text, ends = tokens.create(APP, "ada", lifetime=timedelta(minutes=1), now=NOW)
    assert ends == NOW + timedelta(minutes=1)
    found = tokens.read(text, now=NOW + timedelta(seconds=59))
    assert found == tokens.Token(APP, "ada", NOW + timedelta(seconds=60))
    assert tokens.read(text, now=ends) is None


def test_a_longer_token_than_an_hour_is_cut(db):
    assert tokens.create(APP, "ada", lifetime=timedelta(days=1), now=NOW)[1] == NOW + timedelta(hours=1)


def forged(algorithm: str = "HS256", secret: bytes | None = None, **changes: Any) -> str:
    claims = {"aud": tokens.AUDIENCE, "app": APP, "sub": "ada", "exp": int(NOW.timestamp()) + 60, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, tokens.signing_secret() if secret is None else secret, algorithm=algorithm)


def test_a_token_is_read_only_as_we_write_it(db):
    assert tokens.read(forged(), now=NOW) == tokens.Token(APP, "ada", NOW + timedelta(seconds=60))
    bad = [
        forged(secret=b"x" * 32),
        jwt.encode({"aud": tokens.AUDIENCE, "app": APP, "sub": "ada", "exp": 2**33}, None, algorithm="none"),
        forged("HS512", secret=b"x" * 64),
        forged(aud="others"),
        forged(aud=None),
        forged(exp=None),
        forged(sub=None),
        forged(app=None),
        forged(app=7),
        forged()[:-2],
        "",
        "..",
        "é.é.é",
    ]
    assert [tokens.read(text, now=NOW) for text in bad] == [None] * len(bad)


def test_all_processes_sign_with_the_same_secret(db):
    database.write("DELETE FROM secret")
    first = tokens.signing_secret()
    assert len(first) == 32
    assert tokens.signing_secret() == first


# --- rate limits


def test_a_key_with_a_limit_is_told_when_to_come_again(client, monkeypatch):
    start = auth.time.monotonic()
    at = [start]
    monkeypatch.setattr("web.http.limits.time.monotonic", lambda: at[0])
    key = made("read", rate_limit_per_minute=6)
    assert [client.get("/v1/usage", headers=key).status_code for _ in range(6)] == [200] * 6
    refused = client.get("/v1/usage", headers=key)
    assert problem(refused, 429) == "rate-limited"
    assert int(refused.headers["Retry-After"]) == 10
    at[0] = start + 10
    assert [client.get("/v1/usage", headers=key).status_code for _ in range(2)] == [200, 429]


def test_one_keys_limit_is_not_anothers(client):
    limited, free = made("read", rate_limit_per_minute=1), made("read")
    assert [client.get("/v1/usage", headers=limited).status_code for _ in range(2)] == [200, 429]
    assert [client.get("/v1/usage", headers=free).status_code for _ in range(50)] == [200] * 50


def test_a_limit_below_one_is_none(db):
    with pytest.raises(Invalid):
        keys.create(APP, ["read"], rate_limit_per_minute=0, now=NOW)
