"""One customer at Stripe for each of an app's customers, whatever fails or happens at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import customers
from jobs.payments import checkouts, own_customers
from jobs.providers.stripe.billing import customers as stripe_customers
from models import database
from tests.support.cast import ADA, BO, app, deliver
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import begin, open_shop, order
from tests.support.providers.stripe_events import event

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def session_of(provider: Provider, answer: dict[str, Any], slug: str = "ai-services") -> Any:
    return provider.stripe(slug).v1.checkout.sessions.retrieve(answer["url"].rpartition("/")[2])


def at_stripe(provider: Provider, slug: str = "ai-services") -> list[Any]:
    return list(provider.stripe(slug).v1.customers.list().data)


def own(slug: str = "ai-services") -> list[tuple[str, bool]]:
    return database.read("SELECT provider_id, is_own FROM provider_customer WHERE app = %s ORDER BY is_own", [slug])


def test_every_checkout_of_a_customer_has_the_same_one(provider: Provider, now: datetime) -> None:
    first, second = (session_of(provider, begin(now=now, id=id_)).customer for id_ in ("c-1", "c-2"))
    assert first == second
    (made,) = at_stripe(provider)
    assert made.metadata.to_dict() == {"app": "ai-services", "customer": ADA}
    assert own() == [(made.id, True)]
    other = session_of(provider, begin(now=now, id="c-3", customer=BO)).customer
    assert other != first


def test_checkouts_that_start_at_once_make_one(provider: Provider, now: datetime) -> None:
    def start(number: int) -> str:
        try:
            mail = f"ada{number}@example.com"
            return str(checkouts.start(app(), order(id=f"c-{number}", email=mail), now=now)[0]["url"])
        finally:
            database.release()

    with ThreadPoolExecutor(12) as pool:
        urls = list(pool.map(start, range(12)))
    assert len({session_of(provider, {"url": url}).customer for url in urls}) == 1
    assert len(at_stripe(provider)) == len(own()) == 1


def test_the_account_has_the_address_unless_the_request_has_another(provider: Provider, now: datetime) -> None:
    customers.patch(app(), ADA, {"email": "ada@example.com"}, now=now)
    begin(now=now, id="c-1")
    assert at_stripe(provider)[0].email == "ada@example.com"
    begin(now=now, id="c-2", email="work@example.com")
    assert at_stripe(provider)[0].email == "work@example.com"


def test_one_that_is_gone_is_replaced(provider: Provider, now: datetime) -> None:
    begin(now=now, id="c-1")
    database.write("UPDATE provider_customer SET provider_id = 'cus_gone'")
    for email in (None, "ada@example.com"):
        session = session_of(provider, begin(now=now, id=f"c-{email}", **({"email": email} if email else {})))
        assert own() == [("cus_gone", False), (session.customer, True)]
    assert len(at_stripe(provider)) == 2


def test_after_a_crash_before_it_was_stored_it_is_found_again(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(own_customers.provider_customers, "store_own", kill)
        with pytest.raises(KeyboardInterrupt):
            begin(now=now, id="c-1")
    assert own() == []
    begin(now=now, id="c-1")
    assert len(at_stripe(provider)) == len(own()) == 1


def test_no_transaction_is_open_while_stripe_is_asked(
    provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def create(*args: Any, **options: Any) -> str:
        seen.append(database.database.is_closed())
        return real(*args, **options)

    real = stripe_customers.create
    monkeypatch.setattr(stripe_customers, "create", create)
    begin(now=now, id="c-1")
    assert seen == [True]


def test_the_purchase_keeps_it_own(provider: Provider, now: datetime) -> None:
    answer = begin(now=now, id="c-1")
    provider.pay(answer["url"].rpartition("/")[2])
    session = session_of(provider, answer).to_dict(for_json=True)
    deliver("ai-services", event("checkout.session.completed", session, created=now), now=now)
    assert own() == [(session["customer"], True)]
