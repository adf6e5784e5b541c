"""Changes of subscriptions over the API: asked of Stripe, and known once its webhooks have come."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from jobs.payments import checkouts
from jobs.plans import requests
from models import database
from models.access import tokens
from models.catalog.apps import CheckoutRules
from models.plans import codec, listing
from models.plans.facts import Snapshot
from models.plans.rules.timeline import Timeline
from tests.sandbox.test_stripe import pass_time
from tests.support.cast import ADA, app, balance, deliver
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import PAGES, change, open_shop, order
from tests.support.web_calls import bearer, fields, problem, send

SONGS, OTHER = bearer("sk_sandbox_songs"), bearer("sk_sandbox_ai-services")


class Shop:
    """Songs with three plans, and what Stripe reports of it."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.v1 = provider.stripe("songs").v1

    def buy(self, plan: str = "pro", *, quantity: int = 1, customer: str = ADA, id: str = "c-1") -> int:
        """Subscribe; returns the number of the subscription."""
        body = order(plan=plan, quantity=quantity, customer=customer, id=id)
        answer, _ = checkouts.start(app("songs"), body, now=self.now)
        self.provider.pay(answer["url"].rpartition("/")[2])
        self.hear()
        ((number,),) = database.read("SELECT max(id) FROM subscription")
        return int(number)

    @property
    def now(self) -> datetime:
        """The time of the newest event, or of the wall."""
        newest = self.v1.events.list({"limit": 1}).data
        at = datetime.fromtimestamp(newest[0].created, timezone.utc) if newest else datetime.now(timezone.utc)
        return max(at, datetime.now(timezone.utc))

    def hear(self, *, reverse: bool = False) -> None:
        """All events of the account, in order."""
        found = list(self.v1.events.list({"limit": 100}).auto_paging_iter())
        for one in found if reverse else reversed(found):
            deliver("songs", one.to_dict(for_json=True), now=self.now)
        assert database.read("SELECT error FROM inbox_event WHERE state = 'dead'") == []

    def subscription(self) -> Any:
        ((id_,),) = database.read("SELECT provider_id FROM subscription ORDER BY id LIMIT 1")
        return self.v1.subscriptions.retrieve(id_)

    def items(self) -> list[tuple[str, int]]:
        return [(item.price.id, item.quantity) for item in self.subscription()["items"].data]

    def invoices(self) -> list[tuple[int, str]]:
        """(total, status), oldest first."""
        return [(one.total, one.status) for one in reversed(self.v1.invoices.list({"limit": 100}).data)]


@pytest.fixture
def shop(tmp_path: Path, db: str) -> Iterator[Shop]:
    pro = app("songs").plans["pro"]
    plans = {
        "lite": replace(pro, key="lite", units=100, price_minor=500, stripe_price="price_lite", tier="lite"),
        "pro": replace(pro, stripe_price="price_pro", stripe_prices=("price_pro_year",)),
        "max": replace(pro, key="max", units=5000, price_minor=9900, stripe_price="price_max", tier="max"),
        "unpriced": replace(pro, key="unpriced", units=9, stripe_price=None),
    }
    change("songs", plans=plans)
    with open_shop(tmp_path) as provider:
        yield Shop(provider)


def ask(client: Any, number: int, what: str, body: dict[str, Any] | None = None, key: dict[str, str] = SONGS) -> Any:
    return send(client, f"/v1/subscriptions/{number}/{what}", body if body is not None else {}, key=key)


def shown(client: Any, number: int) -> dict[str, Any]:
    return dict(client.get(f"/v1/subscriptions/{number}", headers=SONGS).json)


def token(*can: str, customer: str = ADA) -> dict[str, str]:
    now = datetime.now(timezone.utc)
    return bearer(tokens.create("songs", customer, can=can, lifetime=timedelta(minutes=5), now=now)[0])


# --- reading


def test_a_subscription_is_shown_with_what_it_is_owed(client, shop: Shop) -> None:
    number = shop.buy(quantity=2)
    (listed,) = client.get(f"/v1/customers/{ADA}/subscriptions", headers=SONGS).json["subscriptions"]
    one = shown(client, number)
    assert (listed["id"], listed["customer"], listed["plan"], listed["status"]) == (number, ADA, "pro", "active")
    assert listed["items"] == [{"plan": "pro", "quantity": 2, "units": 2000}]
    assert listed["provider_id"] == shop.subscription().id
    (owed,) = one.pop("owed")
    assert (owed["plan"], owed["units"], owed["start"], owed["end"]) == (
        *("pro", 2000),
        *(listed["cycle_start"], listed["cycle_end"]),
    )
    assert one == listed
    waiting = ("cancel_at", "ended_at", "trial_end", "pending_change", "paused_until", "open_invoice_url")
    assert [listed[name] for name in waiting] == [None] * 6


def test_subscriptions_are_listed_in_pages_newest_first(client, shop: Shop) -> None:
    for number in range(3):
        body = order(plan="pro", id=f"c-{number}", another=True)
        answer, _ = checkouts.start(app("songs"), body, now=shop.now)
        shop.provider.pay(answer["url"].rpartition("/")[2])
    shop.hear()
    path, seen, cursor = f"/v1/customers/{ADA}/subscriptions?limit=2", [], ""
    while cursor is not None:
        page = client.get(path + cursor, headers=SONGS).json
        seen += [one["id"] for one in page["subscriptions"]]
        cursor = f"&cursor={page['next']}" if page["next"] else None
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 3
    assert client.get("/v1/customers/bo/subscriptions", headers=SONGS).json == {"subscriptions": [], "next": None}


def test_who_may_read_them(client, shop: Shop) -> None:
    number = shop.buy()
    paths = (f"/v1/customers/{ADA}/subscriptions", f"/v1/subscriptions/{number}")
    for path in paths:
        assert client.get(path, headers=token("subscriptions")).status_code == 200
        assert problem(client.get(path, headers=token("read", "checkout")), 403) == "forbidden"
        assert problem(client.get(path, headers=token("subscriptions", customer="bo")), 403) == "forbidden"
    assert problem(client.get(paths[1], headers=OTHER), 404) == "not-found"
    assert problem(client.get("/v1/subscriptions/999", headers=SONGS), 404) == "not-found"


@pytest.mark.parametrize(("what", "body"), [("cancel", {"at": "now"}), ("resume", {}), ("change", {"plan": "max"})])
def test_tokens_and_other_apps_change_nothing(client, shop: Shop, what: str, body: dict[str, Any]) -> None:
    number = shop.buy()
    assert problem(ask(client, number, what, body, token(*tokens.ABILITIES)), 403) == "forbidden"
    assert problem(ask(client, number, what, body, OTHER), 404) == "not-found"
    assert shop.items() == [("price_pro", 1)]
    assert shop.subscription().status == "active"


# --- cancel and resume


def test_a_cancellation_is_known_when_its_webhook_has_come(client, shop: Shop) -> None:
    number = shop.buy()
    for _ in range(2):
        answer = ask(client, number, "cancel", {"at": "period_end"})
        assert (answer.status_code, answer.json["cancel_at"], answer.json["status"]) == (202, None, "active")
    assert shop.subscription().cancel_at_period_end is True
    shop.hear()
    one = shown(client, number)
    assert one["cancel_at"] == one["cycle_end"]
    for _ in range(2):
        assert ask(client, number, "resume").status_code == 202
    assert shop.subscription().cancel_at_period_end is False
    shop.hear()
    assert shown(client, number)["cancel_at"] is None
    assert problem(ask(client, number, "resume"), 409) == "conflict"


def test_a_cancellation_now_ends_it(client, shop: Shop) -> None:
    number = shop.buy()
    for _ in range(2):
        assert ask(client, number, "cancel", {"at": "now"}).status_code == 202
    shop.hear()
    assert shown(client, number)["status"] == "canceled"
    for what, body in (("cancel", {"at": "now"}), ("resume", {}), ("change", {"plan": "max"})):
        assert problem(ask(client, number, what, body), 409) == "conflict"


@pytest.mark.parametrize(
    ("what", "body", "named"),
    [
        ("cancel", {}, ["at"]),
        ("cancel", {"at": "later"}, ["at"]),
        ("resume", {"at": "now"}, ["at"]),
        ("change", {}, ["plan"]),
        ("change", {"plan": "gone"}, ["plan"]),
        ("change", {"plan": "unpriced"}, ["plan"]),
        ("change", {"plan": "max", "quantity": 0}, ["quantity"]),
        ("change", {"plan": "max", "quantity": 10_001}, ["quantity"]),
        ("change", {"plan": "max", "preview": "yes"}, ["preview"]),
    ],
    ids=str,
)
def test_bad_requests_name_the_field(client, shop: Shop, what: str, body: dict[str, Any], named: list[str]) -> None:
    number = shop.buy()
    assert fields(ask(client, number, what, body)) == named
    assert shop.items() == [("price_pro", 1)]


# --- upwards


def test_more_units_are_billed_at_once_and_come_with_the_webhook(client, shop: Shop) -> None:
    number = shop.buy()
    foreseen = ask(client, number, "change", {"plan": "max", "preview": True})
    assert foreseen.status_code == 200
    assert shop.items() == [("price_pro", 1)]
    answer = ask(client, number, "change", {"plan": "max"})
    assert (answer.status_code, answer.json["plan"]) == (202, "pro")
    assert shop.items() == [("price_max", 1)]
    assert shop.invoices()[-1][1] == "paid"
    assert ask(client, number, "change", {"plan": "max"}).status_code == 202, "the same again does nothing"
    assert len(shop.invoices()) == 2
    shop.hear()
    assert shown(client, number)["plan"] == "max"
    assert problem(ask(client, number, "change", {"plan": "max"}), 409) == "conflict"
    more = balance(ADA, "songs") - 1000
    billed = shop.invoices()[-1][0]
    assert (foreseen.json["plan"], foreseen.json["quantity"]) == ("max", 1)
    assert abs(foreseen.json["now"]["units"] - more) <= 4000 * 60 // 2_400_000 + 1
    assert abs(round(float(foreseen.json["now"]["money"]["amount"]) * 100) - billed) <= 1
    renewal = foreseen.json["renewal"]
    assert (renewal["money"]["amount"], renewal["units"]) == ("99.00", 5000)
    assert renewal["at"] == shown(client, number)["cycle_end"]


def test_more_seats_are_more_units(client, shop: Shop) -> None:
    number = shop.buy()
    assert ask(client, number, "change", {"plan": "pro", "quantity": 3}).status_code == 202
    shop.hear()
    assert shown(client, number)["items"] == [{"plan": "pro", "quantity": 3, "units": 3000}]


def test_a_declined_change_waits_for_its_payment(client, shop: Shop) -> None:
    number = shop.buy()
    shop.provider.control("songs", action="fail-next", id=shop.subscription().id)
    for _ in range(2):
        assert ask(client, number, "change", {"plan": "max", "quantity": 2}).status_code == 202
    assert [status for _, status in shop.invoices()] == ["paid", "open"], "the same again makes no other bill"
    shop.hear()
    one = shown(client, number)
    assert one["plan"] == "pro"
    assert one["pending_change"] == {
        "plan": "max",
        "quantity": 2,
        "items": [{"plan": "max", "quantity": 2, "units": 10_000}],
        "at": None,
        "waits_for": "payment",
    }
    invoice = shop.v1.invoices.list({"limit": 1}).data[0]
    assert one["open_invoice_url"] == invoice.hosted_invoice_url
    assert balance(ADA, "songs") == 1000
    shop.v1.invoices.pay(invoice.id)
    shop.hear()
    paid = shown(client, number)
    assert (paid["plan"], paid["pending_change"], paid["open_invoice_url"]) == ("max", None, None)


def test_two_at_once_are_billed_once(shop: Shop) -> None:
    number = shop.buy()
    now = shop.now

    def ask_for(_: int) -> None:
        try:
            requests.change(app("songs"), number, "max", None, now=now)
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask_for, range(8)))
    assert [status for _, status in shop.invoices()] == ["paid", "paid"]


# --- downwards


def test_fewer_units_come_at_the_periods_end(client, shop: Shop) -> None:
    number = shop.buy("max", quantity=2)
    foreseen = ask(client, number, "change", {"plan": "lite", "preview": True}).json
    assert (foreseen["now"], foreseen["renewal"]["units"]) == (
        {"money": {"amount": "0.00", "currency": "usd"}, "units": 0},
        200,
    )
    assert foreseen["renewal"]["money"]["amount"] == "10.00"
    for _ in range(2):
        answer = ask(client, number, "change", {"plan": "lite"})
        assert (answer.status_code, answer.json["pending_change"]) == (202, None)
    assert shop.items() == [("price_max", 2)]
    assert len(shop.v1.subscription_schedules.list().data) == 1
    shop.hear()
    one = shown(client, number)
    assert one["plan"] == "max"
    assert one["pending_change"] == {
        "plan": "lite",
        "quantity": 2,
        "items": [{"plan": "lite", "quantity": 2, "units": 200}],
        "at": one["cycle_end"],
        "waits_for": "period_end",
    }
    pass_time(shop.provider, days=32)
    shop.hear()
    assert shop.items() == [("price_lite", 2)]
    later = listing.get("songs", number, now=shop.now)
    assert (later["plan"], later["pending_change"]) == ("lite", None)
    assert balance(ADA, "songs") == 10_200


def test_events_in_another_order_show_the_same(client, shop: Shop) -> None:
    number = shop.buy("max")
    ask(client, number, "change", {"plan": "lite"})
    shop.hear(reverse=True)
    assert shown(client, number)["pending_change"]["plan"] == "lite"


def test_another_wish_replaces_the_one_before(client, shop: Shop) -> None:
    number = shop.buy("max")
    for plan in ("lite", "pro"):
        assert ask(client, number, "change", {"plan": plan}).status_code == 202
    shop.hear()
    assert shown(client, number)["pending_change"]["plan"] == "pro"
    assert ask(client, number, "change", {"plan": "max"}).status_code == 202, "as it is: what was to come is dropped"
    shop.hear()
    assert shown(client, number)["pending_change"] is None
    assert problem(ask(client, number, "change", {"plan": "max"}), 409) == "conflict"


def test_upwards_drops_what_was_to_come(client, shop: Shop) -> None:
    number = shop.buy("pro")
    ask(client, number, "change", {"plan": "lite"})
    assert ask(client, number, "change", {"plan": "max"}).status_code == 202
    shop.hear()
    one = shown(client, number)
    assert (one["plan"], one["pending_change"], shop.subscription().schedule) == ("max", None, None)


def test_one_that_is_to_change_can_be_cancelled(client, shop: Shop) -> None:
    number = shop.buy("max")
    ask(client, number, "change", {"plan": "lite"})
    assert ask(client, number, "cancel", {"at": "period_end"}).status_code == 202
    shop.hear()
    one = shown(client, number)
    assert (one["cancel_at"], one["pending_change"]) == (one["cycle_end"], None)
    assert problem(ask(client, number, "change", {"plan": "lite"}), 409) == "conflict"


def test_a_paused_one_says_until_when_and_is_not_changed(client, shop: Shop) -> None:
    number = shop.buy()
    until = int((shop.now + timedelta(days=40)).timestamp())
    shop.v1.subscriptions.update(
        shop.subscription().id, {"pause_collection": {"behavior": "void", "resumes_at": until}}
    )
    shop.hear()
    one = shown(client, number)
    assert one["status"] == "paused"
    assert datetime.fromisoformat(one["paused_until"].replace("Z", "+00:00")).timestamp() == until
    assert problem(ask(client, number, "change", {"plan": "max"}), 409) == "conflict"


def test_a_yearly_price_changes_to_a_yearly_one_only(client, shop: Shop) -> None:
    body = order(stripe_price="price_pro_year", id="c-1")
    answer, _ = checkouts.start(app("songs"), body, now=shop.now)
    shop.provider.pay(answer["url"].rpartition("/")[2])
    shop.hear()
    ((number,),) = database.read("SELECT id FROM subscription")
    assert fields(ask(client, number, "change", {"plan": "max"})) == ["plan"]
    assert ask(client, number, "change", {"plan": "pro", "quantity": 2}).status_code == 202
    assert shop.items() == [("price_pro_year", 2)]


def test_what_stripe_refuses_is_told(client, shop: Shop) -> None:
    number = shop.buy()
    database.write("UPDATE subscription SET provider_id = 'sub_gone'")
    assert problem(ask(client, number, "cancel", {"at": "now"}), 409) == "provider-refused"


# --- the portal


def test_the_portal_is_opened_for_the_customer(client, shop: Shop) -> None:
    path, body = f"/v1/customers/{ADA}/portal", {"return_url": PAGES["success_url"]}
    assert problem(send(client, path, body, key=SONGS), 404) == "not-found"
    shop.buy()
    for key in (SONGS, token("subscriptions")):
        answer = send(client, path, body, key=key)
        assert answer.status_code == 201
        assert answer.json["url"].startswith(shop.provider.url)
    assert problem(send(client, path, body, key=token("read", "checkout")), 403) == "forbidden"
    assert problem(send(client, path, body, key=token("subscriptions", customer="bo")), 403) == "forbidden"
    assert fields(send(client, path, {"return_url": "javascript:x"}, key=SONGS)) == ["return_url"]
    change("songs", checkout=CheckoutRules(return_hosts=("app.example.com",)))
    assert fields(send(client, path, body, key=SONGS)) == ["return_url"]


def test_a_customer_that_stripe_no_longer_has_is_404(client, shop: Shop) -> None:
    shop.buy()
    database.write("UPDATE provider_customer SET provider_id = 'cus_gone'")
    answer = send(client, f"/v1/customers/{ADA}/portal", {"return_url": PAGES["success_url"]}, key=SONGS)
    assert problem(answer, 404) == "not-found"


def test_a_portal_that_would_show_others_is_not_opened(client, shop: Shop) -> None:
    shop.buy()
    database.write("INSERT INTO account (app, customer, created_at, updated_at) VALUES ('songs', 'bo', now(), now())")
    database.write(
        "INSERT INTO provider_customer (app, provider, provider_id, account_id)"
        " SELECT 'songs', 'stripe', c.provider_id, a.id FROM provider_customer c, account a WHERE a.customer = 'bo'"
    )
    answer = send(client, f"/v1/customers/{ADA}/portal", {"return_url": PAGES["success_url"]}, key=SONGS)
    assert problem(answer, 404) == "not-found"


def test_reports_of_one_second_are_put_in_the_order_in_which_they_were_made(client, shop: Shop) -> None:
    """A change, a cancellation and its end, whatever the ids of their events are."""
    number = shop.buy(quantity=2)
    ask(client, number, "change", {"plan": "pro", "quantity": 3})
    ask(client, number, "cancel", {"at": "period_end"})
    ask(client, number, "resume")
    shop.hear()
    assert shop.subscription().cancel_at is None, "Stripe knew it was to end, before its webhook had come"
    told = [codec.read(Snapshot, content) for (content,) in database.read(
        "SELECT content FROM plan_fact WHERE kind = 'snapshot'")]  # fmt: skip
    at = max(one.at for one in told)
    for keys in permutations("abcdef", len(told)):
        latest = Timeline([replace(one, at=at, key=key) for one, key in zip(told, keys, strict=True)], shop.now).latest
        assert latest is not None
        assert (latest.cancel_at, latest.items[0].quantity) == (None, 3)
