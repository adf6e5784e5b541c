"""What a checkout refuses and what it passes on: limits, plans that run, hosts, metadata, private ids."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from jobs.payments import checkouts
from models import database
from models.access import tokens
from models.catalog.apps import CheckoutRules
from models.errors import LimitReached
from tests.support.cast import ADA, app, deliver, entries
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, begin, change, open_shop, order, repack
from tests.support.providers.stripe_events import event
from tests.support.web_calls import KEY, bearer, fields, problem, rows, send

SONGS = bearer("sk_sandbox_songs")
PLAN = {"customer": ADA, "plan": "pro", **PAGES}
PACK = {"customer": ADA, "pack": "starter", **PAGES}


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def token(customer: str, *can: str, slug: str = "ai-services") -> dict[str, str]:
    now = datetime.now(timezone.utc)
    made, _ = tokens.create(slug, customer, can=can or tokens.DEFAULT, lifetime=timedelta(minutes=5), now=now)
    return bearer(made)


def session_of(provider: Provider, answer: dict[str, Any], slug: str = "ai-services") -> dict[str, Any]:
    found = provider.stripe(slug).v1.checkout.sessions.retrieve(
        answer["url"].rpartition("/")[2], {"expand": ["line_items"]}
    )
    return dict(found.to_dict(for_json=True))


def pay(provider: Provider, answer: dict[str, Any], *, now: datetime, slug: str = "ai-services") -> None:
    provider.pay(answer["url"].rpartition("/")[2])
    hear(provider, now=now, slug=slug)


def hear(provider: Provider, *, now: datetime, slug: str) -> None:
    """All events of the account, in order."""
    for one in reversed(list(provider.stripe(slug).v1.events.list({"limit": 100}).auto_paging_iter())):
        deliver(slug, one.to_dict(for_json=True), now=now)


def test_a_plan_is_sold_with_seats(client, provider: Provider) -> None:
    answer = send(client, "/v1/checkout", {**PLAN, "quantity": 3}, key=SONGS)
    assert answer.status_code == 201
    assert session_of(provider, answer.json, "songs")["line_items"]["data"][0]["quantity"] == 3
    assert fields(send(client, "/v1/checkout", {**PLAN, "quantity": 10_001}, key=SONGS)) == ["quantity"]


def test_a_plan_that_runs_is_sold_again_only_on_request(client, provider: Provider, now: datetime) -> None:
    now = datetime.now(timezone.utc)
    pay(provider, begin(now=now, slug="songs", plan="pro"), now=now, slug="songs")
    ((number,),) = database.read("SELECT id FROM subscription")
    answer = send(client, "/v1/checkout", PLAN, key=SONGS)
    assert problem(answer, 409) == "already-subscribed"
    assert answer.json["subscription"] == number
    assert rows("checkout") == 1
    assert send(client, "/v1/checkout", {**PLAN, "customer": "bo"}, key=SONGS).status_code == 201
    assert send(client, "/v1/checkout", {**PLAN, "another": True}, key=SONGS).status_code == 201


@pytest.mark.parametrize(
    ("status", "code"),
    [("active", 409), ("trialing", 409), ("past_due", 409), ("paused", 409), ("unpaid", 201), ("canceled", 201),
     ("incomplete", 201)],
)  # fmt: skip
def test_which_states_run(client, provider: Provider, status: str, code: int) -> None:
    now = datetime.now(timezone.utc)
    pay(provider, begin(now=now, slug="songs", plan="pro"), now=now, slug="songs")
    database.write("UPDATE subscription SET status = %s", [status])
    assert send(client, "/v1/checkout", PLAN, key=SONGS).status_code == code


def test_a_repeated_request_is_answered_although_the_plan_runs_by_now(client, provider: Provider) -> None:
    now = datetime.now(timezone.utc)
    wanted = {**PLAN, "id": "c-1"}
    first = send(client, "/v1/checkout", wanted, key=SONGS)
    pay(provider, first.json, now=now, slug="songs")
    again = send(client, "/v1/checkout", {**wanted, "another": False}, key=SONGS)
    assert (again.status_code, again.json) == (200, first.json)


# --- limits


def test_a_pack_with_a_limit_counts_what_is_paid_and_what_is_open(client, provider: Provider, now: datetime) -> None:
    repack("ai-services", "starter", limit_per_customer=2)
    now = datetime.now(timezone.utc)
    pay(provider, begin(now=now, id="c-1"), now=now)
    begin(now=now, id="c-2")
    answer = send(client, "/v1/checkout", PACK)
    assert problem(answer, 409) == "limit-reached"
    assert rows("checkout") == 2
    assert send(client, "/v1/checkout", {**PACK, "customer": "bo"}).status_code == 201
    database.write("UPDATE checkout SET created_at = created_at - interval '25 hours' WHERE external_id = 'c-2'")
    assert problem(send(client, "/v1/checkout", {**PACK, "quantity": 2}), 409) == "limit-reached"
    assert send(client, "/v1/checkout", PACK).status_code == 201


@pytest.mark.parametrize(("state", "code"), [("refunded", 201), ("partly_refunded", 409), ("disputed", 409)])
def test_what_was_returned_in_full_can_be_bought_again(client, provider: Provider, state: str, code: int) -> None:
    repack("ai-services", "starter", limit_per_customer=1)
    now = datetime.now(timezone.utc)
    pay(provider, begin(now=now), now=now)
    database.write("UPDATE payment SET state = %s", [state])
    assert send(client, "/v1/checkout", PACK).status_code == code


def test_money_on_its_way_counts_however_long_it_takes(client, provider: Provider) -> None:
    repack("ai-services", "starter", limit_per_customer=1)
    now = datetime.now(timezone.utc)
    begin(now=now)
    database.write("UPDATE checkout SET state = 'pending', created_at = created_at - interval '3 days'")
    assert problem(send(client, "/v1/checkout", PACK), 409) == "limit-reached"


def test_of_twenty_at_once_one_is_sold(provider: Provider, now: datetime) -> None:
    repack("ai-services", "starter", limit_per_customer=1)

    def ask(number: int) -> bool:
        try:
            checkouts.start(app(), order(id=f"c-{number}"), now=now)
            return True
        except LimitReached:
            return False
        finally:
            database.release()

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 1


def test_twenty_requests_with_one_id_are_one_purchase(provider: Provider, now: datetime) -> None:
    repack("ai-services", "starter", limit_per_customer=1)

    def ask(_: int) -> str:
        try:
            return str(checkouts.start(app(), order(id="c-1"), now=now)[0]["url"])
        finally:
            database.release()

    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(ask, range(20)))) == 1


# --- the addresses


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://app.example.com/thanks", True),
        ("https://APP.example.com/thanks", True),
        ("https://app.example.com:443/", True),
        ("http://app.example.com/", True),
        ("http://app.example.com:80/", True),
        ("https://app.example.com:8443/", False),
        ("https://app.example.com:80/", False),
        ("https://evil.example/?app.example.com", False),
        ("https://app.example.com.evil.example/", False),
        ("https://sub.app.example.com/", False),
        ("http://localhost:3000/", True),
        ("http://localhost/", False),
    ],
)
def test_the_host_is_one_of_the_catalogs(client, provider: Provider, url: str, is_allowed: bool) -> None:
    change("ai-services", checkout=CheckoutRules(return_hosts=("app.example.com", "localhost:3000")))
    for field, other in (("success_url", "cancel_url"), ("cancel_url", "success_url")):
        wanted = {**PACK, field: url, other: "https://app.example.com/"}
        answer = send(client, "/v1/checkout", wanted)
        if is_allowed:
            assert answer.status_code == 201
        else:
            assert fields(answer) == [field]


def test_the_sandboxs_own_pages_are_allowed(client, provider: Provider) -> None:
    change("ai-services", checkout=CheckoutRules(return_hosts=("app.example.com",)))
    page = f"{provider.url}/customer"
    assert send(client, "/v1/checkout", {**PACK, "success_url": page, "cancel_url": page}).status_code == 201
    assert fields(send(client, "/v1/checkout", PACK)) == ["success_url", "cancel_url"]


# --- what is passed on


def test_metadata_are_passed_on_and_cannot_replace_scrips_own(provider: Provider, now: datetime) -> None:
    given = {"order": "77", "customer": "bo", "plan": "max", "app": "songs", "checkout": "x"}
    body = order(id="c-1", metadata=given)
    answer, _ = checkouts.start(app(), body, now=now)
    session = session_of(provider, answer)
    named = {"order": "77", "app": "ai-services", "customer": ADA, "pack": "starter", "checkout": "c-1"}
    assert session["metadata"] == named
    provider.pay(session["id"])
    intent = provider.stripe("ai-services").v1.payment_intents.retrieve(session_of(provider, answer)["payment_intent"])
    assert intent.metadata.to_dict() == named
    assert checkouts.start(app(), {**body, "metadata": {"order": "78"}}, now=now) == (answer, False)


def test_the_catalogs_rules_reach_stripe(provider: Provider, now: datetime) -> None:
    rules = CheckoutRules(automatic_tax=True, allow_promotion_codes=True, invoice_creation=True, locale="de")
    change("ai-services", checkout=rules)
    session = session_of(provider, begin(now=now, id="c-1"))
    assert session["automatic_tax"]["enabled"] is True
    assert session["allow_promotion_codes"] is True
    assert session["locale"] == "de"
    assert session["invoice_creation"]["enabled"] is True
    assert session["invoice_creation"]["invoice_data"]["metadata"] == session["metadata"]


def test_a_pack_with_an_invoice_is_credited_once(provider: Provider) -> None:
    now = datetime.now(timezone.utc)
    change("ai-services", checkout=CheckoutRules(invoice_creation=True))
    repack("ai-services", "starter", stripe_price="price_starter")
    pay(provider, begin(now=now, stripe_price="price_starter"), now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_a_plan_has_no_invoice_to_create(provider: Provider, now: datetime) -> None:
    change("songs", checkout=CheckoutRules(invoice_creation=True, automatic_tax=True))
    assert begin(now=now, slug="songs", plan="pro")["url"]


def test_a_further_price_of_a_plan_is_sold_as_it_is(client, provider: Provider, now: datetime) -> None:
    from dataclasses import replace

    pro = app("songs").plans["pro"]
    change("songs", plans={"pro": replace(pro, stripe_prices=("price_pro_year",))})
    provider.stripe("songs").v1.prices.list()
    answer = begin(now=now, id="c-1", slug="songs", stripe_price="price_pro_year")
    item = session_of(provider, answer, "songs")["line_items"]["data"][0]
    assert item["price"]["id"] == "price_pro_year"
    shown = client.get("/v1/checkouts/c-1", headers=SONGS).json
    assert (shown["plan"], shown["money"]["amount"]) == ("pro", f"{item['amount_total'] / 100:.2f}")


def test_a_rule_that_changed_before_a_repetition_does_not_break_it(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == "checkout-opened":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkouts, "crashpoint", kill)
        with pytest.raises(Killed):
            checkouts.start(app(), order(id="c-1"), now=now)
    change("ai-services", checkout=CheckoutRules(allow_promotion_codes=True, locale="de"))
    checkouts.start(app(), order(id="c-1"), now=now)
    assert len(provider.stripe("ai-services").v1.checkout.sessions.list().data) == 1


# --- ids of tokens


def test_an_id_of_a_token_is_its_customers_own(client, provider: Provider) -> None:
    mine = send(client, "/v1/checkout", {**PACK, "id": "c-1"}, key=token(ADA))
    theirs = send(client, "/v1/checkout", {**PACK, "id": "c-1", "customer": "bo"}, key=token("bo"))
    apps = send(client, "/v1/checkout", {**PACK, "id": "c-1", "customer": "cy"})
    assert [one.status_code for one in (mine, theirs, apps)] == [201, 201, 201]
    assert {one.json["id"] for one in (mine, theirs, apps)} == {"c-1"}
    assert len({one.json["url"] for one in (mine, theirs, apps)}) == 3
    assert client.get("/v1/checkouts/c-1", headers=token(ADA)).json["customer"] == ADA
    assert client.get("/v1/checkouts/c-1", headers=token("bo")).json["customer"] == "bo"
    assert client.get("/v1/checkouts/c-1", headers=KEY).json["customer"] == "cy"
    assert client.get("/v1/checkouts/c-1?customer=bo", headers=KEY).json["customer"] == "bo"
    again = send(client, "/v1/checkout", {**PACK, "id": "c-1"}, key=token(ADA))
    assert (again.status_code, again.json) == (200, mine.json)


def test_a_token_cannot_see_whether_an_id_is_taken(client, provider: Provider) -> None:
    send(client, "/v1/checkout", {**PACK, "id": "c-1", "customer": "cy"})
    for id_ in ("c-1", "c-2"):
        assert problem(client.get(f"/v1/checkouts/{id_}", headers=token(ADA)), 404) == "not-found"
    assert problem(client.get("/v1/checkouts/c-1?customer=cy", headers=token(ADA)), 404) == "not-found"
    assert send(client, "/v1/checkout", {**PACK, "id": "c-1"}, key=token(ADA)).status_code == 201


def test_a_token_reads_what_the_app_opened_for_its_customer(client, provider: Provider) -> None:
    send(client, "/v1/checkout", {**PACK, "id": "c-1"})
    assert client.get("/v1/checkouts/c-1", headers=token(ADA)).json["id"] == "c-1"


def test_a_checkout_of_a_token_is_paid_by_its_own_payment(client, provider: Provider) -> None:
    now = datetime.now(timezone.utc)
    begin(now=now, id="c-1", customer="cy", quantity=5)
    mine = send(client, "/v1/checkout", {**PACK, "id": "c-1"}, key=token(ADA)).json
    pay(provider, mine, now=now)
    assert entries(ADA) == [("purchase", 100)]
    assert client.get("/v1/checkouts/c-1", headers=token(ADA)).json["state"] == "paid"
    assert client.get("/v1/checkouts/c-1", headers=KEY).json["state"] == "open"


def test_a_token_does_what_it_was_made_for(client, provider: Provider) -> None:
    body = {**PACK, "id": "c-1"}
    assert problem(send(client, "/v1/checkout", body, key=token(ADA, "read")), 403) == "forbidden"
    assert problem(client.get("/v1/customers/ada/balance", headers=token(ADA, "checkout")), 403) == "forbidden"
    assert send(client, "/v1/checkout", body, key=token(ADA, "checkout")).status_code == 201
    made = send(client, "/v1/customers/ada/tokens", {"can": ["read", "subscriptions", "sessions", "redeem", "top_up"]})
    assert client.get("/v1/customers/ada/balance", headers=bearer(made.json["token"])).status_code == 200
    assert fields(send(client, "/v1/customers/ada/tokens", {"can": ["all"]})) == ["can[0]"]
    assert fields(send(client, "/v1/customers/ada/tokens", {"can": []})) == ["can"]


# --- what is sent out


def emitted() -> list[tuple[str, str, str]]:
    return database.read(
        "SELECT type, customer, data ->> 'checkout' FROM outbox_message WHERE type LIKE 'checkout.%%' ORDER BY id"
    )


@pytest.mark.parametrize("plan", [False, True])
def test_a_paid_checkout_is_sent_out_once(client, provider: Provider, plan: bool) -> None:
    slug, sold = ("songs", {"plan": "pro"}) if plan else ("ai-services", {"pack": "starter"})
    send(client, "/v1/endpoints", {"id": "m", "url": "http://127.0.0.1:9/"}, key=bearer(f"sk_sandbox_{slug}"))
    now = datetime.now(timezone.utc)
    pay(provider, begin(now=now, id="c-1", slug=slug, **sold), now=now, slug=slug)
    assert emitted() == [("checkout.paid", ADA, "c-1")]
    session = provider.stripe(slug).v1.checkout.sessions.list().data[0].to_dict(for_json=True)
    deliver(slug, event("checkout.session.completed", session, created=now), now=now)
    database.write("DELETE FROM outbox_message")
    deliver(slug, event("checkout.session.async_payment_succeeded", session, created=now), now=now)
    assert emitted() == [], "it had been paid before"


@pytest.mark.parametrize(
    ("type_", "state"),
    [("checkout.session.async_payment_failed", "failed"), ("checkout.session.expired", "expired")],
)
def test_an_end_without_payment_is_sent_out_once(client, provider: Provider, type_: str, state: str) -> None:
    types = ["checkout.paid", "checkout.failed", "checkout.expired", "subscription.ended", "customer.tier_changed"]
    answer = send(client, "/v1/endpoints", {"id": "m", "url": "http://127.0.0.1:9/", "events": types})
    assert answer.status_code == 201
    now = datetime.now(timezone.utc)
    session = session_of(provider, begin(now=now, id="c-1"))
    if state == "expired":
        session["status"] = "expired"
    for _ in range(2):
        deliver("ai-services", event(type_, session, created=now), now=now)
    assert emitted() == [(f"checkout.{state}", ADA, "c-1")]
