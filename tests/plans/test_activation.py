"""Activation keys: made once a subscription, shown, checked, and dead with it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jobs import customers as changes
from models import customers, database
from models.catalog import catalog
from models.plans import activation
from tests.support.cast import ADA, BO, app, deliver
from tests.support.providers.stripe_events import event, invoice, subscription
from tests.support.web_calls import KEY, OTHER_KEY, bearer, fields, send

SONGS = OTHER_KEY
START = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)
PERIOD = {"start": START, "end": START + timedelta(days=31)}
UNKNOWN = {"valid": False, "customer": None, "plan": None, "status": None}


def tell(
    customer: str = ADA, *, kind: str = "updated", number: str = "1", plan: str = "pro", hours: int = 0, **more: Any
) -> None:
    """The provider tells of a subscription, `hours` after it began."""
    at = START + timedelta(hours=hours)
    it = subscription("songs", customer, plan, anchor=START, **PERIOD, number=number, **more)
    deliver("songs", event(f"customer.subscription.{kind}", it, created=at), now=at)


def pay(customer: str = ADA) -> None:
    deliver("songs", event("invoice.paid", invoice("songs", customer, "pro", **PERIOD), created=START), now=START)


def shown(customer: str = ADA) -> Any:
    return customers.get(app("songs"), customer, now=START)["activation_key"]


def keys() -> list[str]:
    return [key for (key,) in database.read("SELECT key FROM activation_key ORDER BY id")]


def check(key: str) -> dict[str, Any]:
    return activation.check(app("songs"), key)


def plain_plan(pro: dict[str, Any] | None = None) -> catalog.Catalog:
    """The catalog with a plan `plain` in songs that has no activation keys, and with changes of `pro`."""
    whole = catalog.current()
    songs = whole["songs"]
    plain = replace(songs.plans["pro"], key="plain", activation_key=False)
    return catalog.Catalog(
        {
            **whole.apps,
            "songs": replace(songs, plans={"pro": replace(songs.plans["pro"], **(pro or {})), "plain": plain}),
        }
    )


def test_a_key_is_readable_and_nobody_guesses_it():
    made = {activation.make() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch("([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}", key) for key in made)
    assert {character for key in made for character in key} == {*activation.ALPHABET, "-"}
    assert 32**25 >= 2**100


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_subscription_that_begins_has_its_key_shown_and_valid(db, status):
    tell(kind="created", status=status)
    assert [shown()] == keys()
    assert check(shown()) == {"valid": True, "customer": "ada", "plan": "pro", "status": status}


def test_an_invoice_that_comes_first_makes_the_key_too(db):
    pay()
    assert check(shown())["valid"]
    before = shown()
    tell(kind="created")
    assert [before] == keys() == [shown()]


def test_the_key_is_made_once_whatever_is_told_and_however_often(db):
    tell(kind="created")
    first = shown()
    for hours in range(1, 4):
        tell(hours=hours)
        pay()
    assert keys() == [first] == [shown()]


def test_many_events_at_once_make_one_key(db):
    changes.patch(app("songs"), ADA, {}, now=START)

    def any_event(number: int) -> None:
        try:
            tell(hours=number) if number % 2 else pay()
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(any_event, range(16)))
    assert len(keys()) == 1


def test_a_subscription_that_is_not_paid_for_has_no_key_until_it_is(db):
    tell(kind="created", status="incomplete")
    assert shown() is None
    assert keys() == []
    tell(hours=1)
    assert check(shown())["valid"]


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused", "canceled"])
def test_a_key_is_as_good_as_its_subscription(db, status):
    tell(kind="created")
    key = shown()
    tell(hours=1, status=status)
    assert check(key) == {"valid": False, "customer": "ada", "plan": "pro", "status": status}
    assert shown() == key
    if status != "canceled":
        tell(hours=2)
        assert check(key)["valid"]
        assert keys() == [key]


def test_a_deleted_subscription_takes_its_key_with_it_and_a_new_one_brings_a_new_key(db):
    tell(kind="created")
    old = shown()
    tell(kind="deleted", hours=1)
    tell(kind="created", number="2", hours=2)
    assert shown() != old
    assert (check(old)["status"], check(old)["valid"]) == ("canceled", False)
    assert check(shown())["valid"]


def test_the_key_that_is_alive_is_shown_before_a_newer_one_that_is_dead(db):
    tell(kind="created")
    alive = shown()
    tell(kind="created", number="2", hours=1)
    assert shown() != alive
    tell(kind="deleted", number="2", hours=2)
    assert shown() == alive


def test_a_plan_without_keys_makes_none_and_a_change_to_one_that_has_them_does(db):
    catalog.use(plain_plan())
    tell(kind="created", plan="plain")
    assert shown() is None
    tell(plan="pro")
    key = shown()
    assert check(key) == {"valid": True, "customer": "ada", "plan": "pro", "status": "active"}
    catalog.use(plain_plan(pro={"activation_key": False}))
    assert not check(key)["valid"]


def test_a_key_is_read_as_people_type_it(db):
    tell(kind="created")
    key = "10AB0-1CDEF-GHJKM-NPQRS-TVWXY"
    database.write("UPDATE activation_key SET hash = %s", [activation.digest(key)])
    for typed in (
        key.lower(),
        f"  {key}\n",
        key.replace("-", ""),
        key.replace("-", " "),
        key.replace("-", "–"),
        key.replace("0", "O").replace("1", "l"),
        key.replace("0", "o").replace("1", "I"),
    ):
        assert check(typed)["valid"], typed
    for wrong in (key[:-1], key + "Z", key[:-1] + "Z", "", " "):
        assert check(wrong) == UNKNOWN


def test_each_customer_has_a_key_of_their_own(db):
    tell(ADA, kind="created")
    tell(BO, kind="created", number="2")
    assert check(shown(ADA))["customer"] == "ada"
    assert check(shown(BO))["customer"] == "bo"
    found, _ = customers.list_page(app("songs"), now=START)
    assert {one["customer"]: one["activation_key"] for one in found} == {"ada": shown(ADA), "bo": shown(BO)}


def test_another_apps_key_is_unknown(db):
    tell(kind="created")
    assert activation.check(app("ai-services"), shown()) == UNKNOWN


def test_the_check_over_http(client):
    tell(kind="created")
    key = client.get("/v1/customers/ada", headers=SONGS).json["activation_key"]
    answer = send(client, "/v1/activation/check", {"key": key.lower()}, key=SONGS)
    assert answer.status_code == 200
    assert answer.json == {"valid": True, "customer": "ada", "plan": "pro", "status": "active"}
    for content in ({"key": "no such key"}, {"key": "7K2QX-9M4TB-0HZ5W-D3RVN-8CEGP"}):
        answer = send(client, "/v1/activation/check", content, key=SONGS)
        assert (answer.status_code, answer.json) == (200, UNKNOWN)
    assert send(client, "/v1/activation/check", {"key": key}, key=KEY).json == UNKNOWN


def test_bad_requests_of_the_check(client):
    for content in ({}, {"key": ""}, {"key": 7}, {"key": None}, {"key": "x" * 201}):
        assert fields(send(client, "/v1/activation/check", content, key=SONGS)) == ["key"]
    assert fields(send(client, "/v1/activation/check", {"key": "a", "app": "songs"}, key=SONGS)) == ["app"]
    token = bearer(send(client, "/v1/customers/ada/tokens", {}, key=SONGS).json["token"])
    assert send(client, "/v1/activation/check", {"key": "a"}, key=token).status_code == 403
