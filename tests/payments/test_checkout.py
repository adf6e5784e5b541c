"""Checkouts: what is promised is stored before the provider is asked, once, and kept whatever happens after."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs import maintenance
from jobs.payments import checkouts
from models import cycles, database
from models.errors import Conflict, Forbidden, Invalid, NotFound, ProviderAway, ProviderRefused
from runtime import crashpoints
from tests.support.cast import ADA, BO, app, balance, deliver, entries
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import begin, change, open_shop, order, repack
from tests.support.providers.stripe_events import event, subscription

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def session_of(provider: Provider, answer: dict[str, Any], slug: str = "ai-services") -> dict[str, Any]:
    id_ = answer["url"].rpartition("/")[2]
    found = provider.stripe(slug).v1.checkout.sessions.retrieve(id_, {"expand": ["line_items"]})
    return dict(found.to_dict(for_json=True))


def completed(provider: Provider, answer: dict[str, Any], *, now: datetime, slug: str = "ai-services") -> None:
    """The customer pays, and the webhook comes."""
    provider.pay(answer["url"].rpartition("/")[2])
    session = session_of(provider, answer, slug)
    deliver(slug, event("checkout.session.completed", session, created=now), now=now)


def stored() -> list[tuple[Any, ...]]:
    return database.read("SELECT external_id, state, provider_id FROM checkout ORDER BY id")


def test_a_checkout_leads_to_a_page_at_the_provider(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1", quantity=2, email="ada@example.com")
    assert answer["id"] == "c-1"
    assert answer["provider"] == "stripe"
    session = session_of(provider, answer)
    named = {"app": "ai-services", "customer": ADA, "pack": "starter", "checkout": "c-1"}
    assert session["metadata"] == named
    assert session["client_reference_id"] == ADA
    assert session["customer_email"] is None
    assert provider.stripe("ai-services").v1.customers.retrieve(session["customer"]).email == "ada@example.com"
    assert session["amount_total"] == 2000
    assert session["allow_promotion_codes"] is False
    assert session["line_items"]["data"][0]["description"] == "AI Services: 100 credits"
    provider.pay(session["id"])
    intent = provider.stripe("ai-services").v1.payment_intents.retrieve(session_of(provider, answer)["payment_intent"])
    assert intent.metadata.to_dict() == named
    assert stored() == [("c-1", "open", session["id"])]


def test_a_plan_is_a_monthly_subscription_that_knows_its_customer(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1", slug="songs", plan="pro")
    provider.pay(answer["url"].rpartition("/")[2])
    subscription = provider.stripe("songs").v1.subscriptions.retrieve(
        session_of(provider, answer, "songs")["subscription"]
    )
    named = {"app": "songs", "customer": ADA, "plan": "pro", "checkout": "c-1"}
    assert subscription.metadata.to_dict() == named
    assert subscription.to_dict()["items"]["data"][0]["price"]["recurring"]["interval"] == "month"


def test_the_same_request_again_gets_the_same_page(provider: Provider, now: datetime) -> None:
    first = begin(now=now, id="c-1")
    again, is_new = checkouts.start(app(), order(id="c-1"), now=now)
    assert (again, is_new) == (first, False)
    assert len(stored()) == 1


def test_the_same_request_after_the_catalog_changed_gets_the_same_page(provider: Provider, now: datetime) -> None:
    first = begin(now=now, id="c-1")
    change("ai-services", packs={})
    assert checkouts.start(app(), order(id="c-1"), now=now) == (first, False)


def test_other_content_under_the_same_id_is_a_conflict(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    with pytest.raises(Conflict):
        checkouts.start(app(), order(id="c-1", quantity=2), now=now)
    with pytest.raises(Conflict):
        checkouts.start(app(), order(id="c-1", customer=BO), now=now)


@pytest.mark.parametrize("point", ["checkout-promised", "checkout-opened"])
def test_after_a_crash_the_same_request_goes_on_and_opens_one_session(
    point: str, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == point:
            raise Killed

    monkeypatch.setattr(checkouts, "crashpoint", kill)
    with pytest.raises(Killed):
        checkouts.start(app(), order(id="c-1"), now=now)
    assert stored() == [("c-1", "new", None)]
    monkeypatch.setattr(checkouts, "crashpoint", crashpoints.crashpoint)
    repack("ai-services", "starter", units=7, price_minor=1)
    answer, is_new = checkouts.start(app(), order(id="c-1"), now=now)
    assert is_new
    assert session_of(provider, answer)["amount_total"] == 1000
    assert len(provider.stripe("ai-services").v1.checkout.sessions.list().data) == 1


def test_twenty_requests_with_one_id_at_once_open_one_session(provider: Provider, now: datetime) -> None:
    def ask(_: int) -> tuple[str, bool]:
        try:
            answer, is_new = checkouts.start(app(), order(id="c-1"), now=now)
            return answer["url"], is_new
        finally:
            database.release()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert len({url for url, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1
    assert len(provider.stripe("ai-services").v1.checkout.sessions.list().data) == 1


def test_a_provider_that_is_away_leaves_a_checkout_that_goes_on_later(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ProviderAway("no answer")

    monkeypatch.setitem(checkouts.OPENERS, "stripe", away)
    with pytest.raises(ProviderAway):
        checkouts.start(app(), order(id="c-1"), now=now)
    assert stored() == [("c-1", "new", None)]
    monkeypatch.undo()
    assert checkouts.start(app(), order(id="c-1"), now=now)[1] is True


def test_a_refusal_of_the_provider_stores_nothing(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise ProviderRefused("Stripe: no such account", status=401)

    monkeypatch.setitem(checkouts.OPENERS, "stripe", refuse)
    with pytest.raises(ProviderRefused):
        checkouts.start(app(), order(id="c-1"), now=now)
    assert stored() == []


def test_a_refusal_for_a_field_of_ours_names_the_field(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise ProviderRefused("Stripe: Invalid email address", status=400, param="customer_email")

    monkeypatch.setitem(checkouts.OPENERS, "stripe", refuse)
    with pytest.raises(Invalid) as refusal:
        checkouts.start(app(), order(id="c-1", email="a@b"), now=now)
    assert refusal.value.errors == [("email", "Stripe: Invalid email address")]
    assert stored() == []


@pytest.mark.parametrize(
    ("slug", "more", "field"),
    [
        ("ai-services", {"pack": "gone"}, "pack"),
        ("songs", {"plan": "gone"}, "plan"),
        ("songs", {"stripe_price": "price_gone"}, "stripe_price"),
        ("songs", {"plan": "pro", "provider": "paypal"}, "provider"),
    ],
)
def test_what_cannot_be_sold_is_refused_by_field(
    slug: str, more: dict[str, Any], field: str, provider: Provider, now: datetime
) -> None:
    with pytest.raises(Invalid) as refusal:
        checkouts.start(app(slug), order(**more), now=now)
    assert [name for name, _ in refusal.value.errors] == [field]
    assert stored() == []


def test_without_a_provider_to_ask_a_checkout_is_refused(now: datetime) -> None:
    with pytest.raises(Invalid) as refusal:
        checkouts.start(app(), order(), now=now)
    assert "not configured" in refusal.value.detail


def test_a_pack_of_a_tier_is_sold_to_nobody_else(provider: Provider, now: datetime) -> None:
    from jobs import customers

    with pytest.raises(Forbidden):
        checkouts.start(app("voice-therapy"), order(pack="voice_15"), now=now)
    customers.patch(app("voice-therapy"), ADA, {"tier": "firewall"}, now=now)
    assert begin(now=now, slug="voice-therapy", pack="voice_15")["url"]


def test_a_price_of_stripes_is_a_pack_or_plan_of_the_catalog(provider: Provider, now: datetime) -> None:
    repack("ai-services", "starter", stripe_price="price_starter")
    session = session_of(provider, begin(now=now, stripe_price="price_starter"))
    assert session["metadata"]["pack"] == "starter"
    assert session["line_items"]["data"][0]["price"]["id"] == "price_starter"


def test_an_id_that_no_header_can_carry_works(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="Bestellung № 1 – größer" * 5)
    assert session_of(provider, answer)["metadata"]["checkout"] == answer["id"]
    assert checkouts.start(app(), order(id=answer["id"]), now=now) == (answer, False)


# --- the promise


def test_a_paid_checkout_is_credited_and_says_so(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1", quantity=3)
    completed(provider, answer, now=now)
    assert entries(ADA) == [("purchase", 300)]
    shown = checkouts.get(app(), "c-1")
    assert (shown["state"], shown["units"], shown["payment"], shown["url"]) == ("paid", 300, 1, None)


def test_a_catalog_that_changed_meanwhile_changes_nothing_that_was_sold(provider: Provider, now: datetime) -> None:
    repack("ai-services", "starter", expires_after=timedelta(days=30))
    answer = begin(now=now, id="c-1", quantity=2)
    repack("ai-services", "starter", units=1, price_minor=99_00, expires_after=None)
    completed(provider, answer, now=now)
    assert balance(ADA) == 200
    lots = database.read("SELECT granted, expires_at, price_minor FROM lot")
    assert lots == [(200, now + timedelta(days=30), 2000)]


def test_a_pack_that_was_deleted_meanwhile_is_granted_all_the_same(provider: Provider, now: datetime) -> None:
    answer = begin(now=now)
    change("ai-services", packs={})
    completed(provider, answer, now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_the_promise_is_found_by_the_session_where_metadata_were_lost(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1")
    change("ai-services", packs={})
    provider.pay(answer["url"].rpartition("/")[2])
    session = {**session_of(provider, answer), "metadata": {}}
    deliver("ai-services", event("checkout.session.completed", session, created=now), now=now)
    assert entries(ADA) == [("purchase", 100)]


def test_a_promise_to_one_customer_is_kept_for_no_other(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1", quantity=5)
    session = session_of(provider, answer)
    session |= {
        "payment_intent": "pi_other",
        "payment_status": "paid",
        "status": "complete",
        "line_items": None,
        "id": "cs_other",
    }
    session["metadata"] = {**session["metadata"], "customer": BO}
    deliver("ai-services", event("checkout.session.completed", session, created=now), now=now)
    assert entries(BO) == [("purchase", 500)], "fifty dollars buy five packs, whatever was promised"
    assert stored()[0][1] == "open"


def test_another_apps_checkout_does_not_exist(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    with pytest.raises(NotFound):
        checkouts.get(app("songs"), "c-1")


def test_a_plans_checkout_is_paid_when_its_session_is(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1", slug="songs", plan="pro")
    completed(provider, answer, now=now, slug="songs")
    assert checkouts.get(app("songs"), "c-1")["state"] == "paid"


def test_a_plan_that_changed_meanwhile_grants_its_first_month_as_it_was_sold(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1", slug="songs", plan="pro")
    change("songs", plans={"pro": replace(app("songs").plans["pro"], units=300)})
    promise = {"app": "songs", "customer": ADA, "plan": "pro", "checkout": "c-1"}
    second, third = cycles.cycle_start(now, 1), cycles.cycle_start(now, 2)

    def tell(start: datetime, end: datetime) -> None:
        it = subscription("songs", ADA, "pro", anchor=now, start=start, end=end, metadata=promise)
        deliver("songs", event("customer.subscription.updated", it, created=start), now=start)

    tell(now, second)
    assert balance(ADA, "songs") == 1000
    tell(second, third)
    assert entries(ADA, "songs")[-1] == ("subscription_grant", 300), "from then on the catalog's"
    assert all(check.ok for check in maintenance.check_books(now=second))


def test_a_plans_promise_to_one_customer_is_kept_for_no_other(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1", slug="songs", plan="pro")
    change("songs", plans={"pro": replace(app("songs").plans["pro"], units=300)})
    forged = {"app": "songs", "customer": BO, "plan": "pro", "checkout": "c-1"}
    it = subscription("songs", BO, "pro", anchor=now, start=now, end=cycles.cycle_start(now, 1), metadata=forged)
    deliver("songs", event("customer.subscription.created", it, created=now), now=now)
    assert balance(BO, "songs") == 300


def test_a_session_that_expired_ends_its_checkout(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1")
    provider.stripe("ai-services").v1.checkout.sessions.expire(answer["url"].rpartition("/")[2])
    expired = session_of(provider, answer)
    deliver("ai-services", event("checkout.session.expired", expired, created=now), now=now)
    shown = checkouts.get(app(), "c-1")
    assert (shown["state"], shown["url"]) == ("expired", None)


# --- PayPal


@pytest.mark.parametrize(
    ("price_minor", "currency", "said"),
    [
        (500, "inr", "paypal does not support inr"),
        (500, "kwd", "paypal does not support kwd"),
        (0, "usd", "price of zero"),
    ],
)
def test_what_paypal_cannot_take_is_refused_without_asking_it(
    price_minor: int, currency: str, said: str, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checkouts.OPENERS, "paypal", lambda *_: pytest.fail("PayPal was asked"))
    repack("echomind", "session", price_minor=price_minor, currency=currency)
    with pytest.raises(Invalid) as refusal:
        checkouts.start(app("echomind"), order(pack="session", provider="paypal"), now=now)
    ((field, reason),) = refusal.value.errors
    assert (field, said in reason, stored()) == ("provider", True, [])


def test_a_checkout_over_paypal_is_credited_once_captured(provider: Provider, now: datetime) -> None:
    from jobs.providers.paypal import client

    answer = begin(now=now, slug="echomind", pack="session", id="c-1", quantity=2)
    assert answer["provider"] == "paypal"
    ((_, state, order_id),) = stored()
    assert state == "open"
    made = client.client(app("echomind")).get_order(order_id)
    assert made["purchase_units"][0]["amount"] == {"currency_code": "USD", "value": "11.98"}
    assert checkouts.start(app("echomind"), order(pack="session", id="c-1", quantity=2), now=now) == (answer, False)
