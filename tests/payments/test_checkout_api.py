"""POST /v1/checkout and what comes of it, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from models.access import tokens
from models.errors import ProviderAway, ProviderRefused
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, open_shop, repack
from tests.support.web_calls import KEY, OTHER_KEY, bearer, fields, problem, rows, send, without

ORDER: dict[str, Any] = {"id": "c-1", "customer": "ada", "pack": "starter", **PAGES}


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def token(customer: str, app: str = "ai-services") -> dict[str, str]:
    made, _ = tokens.create(app, customer, lifetime=timedelta(minutes=5), now=datetime.now(timezone.utc))
    return bearer(made)


def test_a_checkout_is_opened_and_answered_again(client, provider: Provider) -> None:
    answer = send(client, "/v1/checkout", ORDER)
    assert answer.status_code == 201
    assert set(answer.json) == {"id", "url", "provider"}
    assert answer.json["url"].startswith(provider.url)
    again = send(client, "/v1/checkout", ORDER)
    assert (again.status_code, again.json) == (200, answer.json)
    assert problem(send(client, "/v1/checkout", {**ORDER, "quantity": 2}), 409) == "conflict"


def test_the_id_is_made_where_none_is_given(client, provider: Provider) -> None:
    answers = [send(client, "/v1/checkout", without(ORDER, "id")).json["id"] for _ in range(2)]
    assert len(set(answers)) == 2


def test_the_customer_comes_to_be(client, provider: Provider) -> None:
    send(client, "/v1/checkout", ORDER)
    assert client.get("/v1/customers/ada", headers=KEY).status_code == 200


def test_a_customers_token_buys_for_that_customer_alone(client, provider: Provider) -> None:
    assert send(client, "/v1/checkout", ORDER, key=token("ada")).status_code == 201
    assert problem(send(client, "/v1/checkout", ORDER, key=token("bo")), 403) == "forbidden"
    assert client.get("/v1/checkouts/c-1", headers=token("ada")).json["state"] == "open"
    assert problem(client.get("/v1/checkouts/c-1", headers=token("bo")), 404) == "not-found"


def test_a_checkout_of_another_app_is_not_there(client, provider: Provider) -> None:
    send(client, "/v1/checkout", ORDER)
    assert problem(client.get("/v1/checkouts/c-1", headers=OTHER_KEY), 404) == "not-found"
    assert send(client, "/v1/checkout", ORDER, key=OTHER_KEY).status_code == 201, "ids are an app's own"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pack": "gone"}, ["pack"]),
        ({"pack": None}, ["pack"]),
        ({"pack": None, "plan": "gone"}, ["plan"]),
        ({"pack": None, "stripe_price": "price_gone"}, ["stripe_price"]),
        ({"plan": "pro"}, ["plan"]),
        ({"quantity": 0}, ["quantity"]),
        ({"quantity": -1}, ["quantity"]),
        ({"quantity": 1.5}, ["quantity"]),
        ({"quantity": "2"}, ["quantity"]),
        ({"quantity": True}, ["quantity"]),
        ({"quantity": 10**18}, ["quantity"]),
        ({"provider": "cash"}, ["provider"]),
        ({"success_url": None}, ["success_url"]),
        ({"success_url": "javascript:alert(1)"}, ["success_url"]),
        ({"success_url": "/thanks"}, ["success_url"]),
        ({"success_url": "https://ada:secret@app.example/"}, ["success_url"]),
        ({"success_url": "https://"}, ["success_url"]),
        ({"success_url": "https://app.example/a b"}, ["success_url"]),
        ({"success_url": "https://app.example:x/"}, ["success_url"]),
        ({"success_url": "https://app.example/" + "a" * 2000}, ["success_url"]),
        ({"cancel_url": "ftp://app.example/"}, ["cancel_url"]),
        ({"cancel_url": 7}, ["cancel_url"]),
        ({"email": "ada"}, ["email"]),
        ({"email": "ada@example.com\nbcc: x"}, ["email"]),
        ({"customer": "a/b"}, ["customer"]),
        ({"id": ".."}, ["id"]),
        ({"units": 5}, ["units"]),
        ({"another": 1}, ["another"]),
        ({"metadata": {"a": 1}}, ["metadata.a"]),
        ({"metadata": {"": "x"}}, ["metadata"]),
        ({"metadata": {"a[b]": "x"}}, ["metadata"]),
        ({"metadata": {"a" * 41: "x"}}, ["metadata"]),
        ({"metadata": {"a": "x" * 501}}, ["metadata"]),
        ({"metadata": {str(number): "x" for number in range(41)}}, ["metadata"]),
    ],
    ids=str,
)
def test_bad_content_is_named_and_nothing_is_stored(client, provider: Provider, change, named: list[str]) -> None:
    assert fields(send(client, "/v1/checkout", {**ORDER, **change})) == named
    assert (rows("checkout"), rows("account")) == (0, 0)


def test_the_address_may_hold_stripes_placeholder(client, provider: Provider) -> None:
    page = "https://app.example/thanks?session={CHECKOUT_SESSION_ID}"
    assert send(client, "/v1/checkout", {**ORDER, "success_url": page}).status_code == 201


def test_a_pack_of_a_tier_is_403(client, provider: Provider) -> None:
    repack("ai-services", "starter", requires_tier="gold")
    assert problem(send(client, "/v1/checkout", ORDER), 403) == "tier"
    assert rows("checkout") == 0


def test_a_provider_that_is_away_is_503_with_a_time_to_come_back(client, provider: Provider, monkeypatch) -> None:
    from jobs.payments import checkouts

    def away(*_: Any) -> Any:
        raise ProviderAway("Stripe: no answer", retry_after=7)

    with monkeypatch.context() as patched:
        patched.setitem(checkouts.OPENERS, "stripe", away)
        answer = send(client, "/v1/checkout", ORDER)
        assert problem(answer, 503) == "provider-away"
        assert answer.headers["Retry-After"] == "7"
    assert send(client, "/v1/checkout", ORDER).status_code == 201


def test_a_refusal_that_is_not_the_clients_fault_is_told_and_tells_no_secret(
    client, provider: Provider, monkeypatch
) -> None:
    from jobs.payments import checkouts

    def refuse(*_: Any) -> Any:
        raise ProviderRefused("Stripe: Invalid API Key provided: sk_test_***", status=401)

    monkeypatch.setitem(checkouts.OPENERS, "stripe", refuse)
    answer = send(client, "/v1/checkout", ORDER)
    assert problem(answer, 409) == "provider-refused"
    assert rows("checkout") == 0


def test_what_was_refused_is_in_the_operation_log(client, provider: Provider) -> None:
    send(client, "/v1/checkout", {**ORDER, "pack": "gone"})
    (line,) = client.get("/v1/operations?status=ERROR", headers=KEY).json["operations"]
    assert (line["operation"], line["customer"], line["details"]["pack"]) == ("CHECKOUT", "ada", "gone")


def test_what_was_opened_is_in_the_operation_log(client, provider: Provider) -> None:
    send(client, "/v1/checkout", ORDER)
    lines = client.get("/v1/operations?operation=CHECKOUT", headers=KEY).json["operations"]
    assert [(line["status"], line["details"]["pack"]) for line in lines] == [
        ("SUCCESS", "starter"),
        ("STARTED", "starter"),
    ]
