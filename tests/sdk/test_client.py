"""The Python client against a running Scrip: every call, refusals as errors, and answers that get lost."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest
import requests

import scrip_client
from scrip_client import (
    Conflict,
    Forbidden,
    InsufficientCredits,
    Invalid,
    NotFound,
    RateLimited,
    Scrip,
    ScripError,
    Unauthorized,
    Unavailable,
)
from tests.support.peers.proxy import Proxy, proxy
from tests.support.running import ROOT, Running
from tests.support.waiting import wait_until


@pytest.fixture
def scrip(system: Running) -> Scrip:
    return Scrip(system.url, "sk_sandbox_songs")


@pytest.fixture
def ada(scrip: Scrip) -> str:
    """A customer of this test alone, with 10 credits."""
    customer = f"ada {uuid.uuid4().hex}"
    scrip.adjust(customer, 10, "a gift", type="bonus")
    return customer


@pytest.fixture
def man(system: Running) -> Iterator[Proxy]:
    with proxy(system.url) as found:
        yield found


def taken(scrip: Scrip, customer: str) -> list[int]:
    """The customer's deductions, newest first."""
    return [entry["amount"] for entry in scrip.entries(customer, type="deduction")]


def test_what_a_customer_has(scrip: Scrip, ada: str) -> None:
    balance = scrip.balance(ada)
    assert (balance["balance"], balance["available"], balance["unit"]) == (10, 10, "credit")
    assert scrip.balance(ada, as_of=datetime(2020, 1, 1, tzinfo=timezone.utc))["balance"] == 0
    assert scrip.has_credits(ada, 10)
    assert not scrip.has_credits(ada, 11)
    assert scrip.has_credits(ada, rate="beat_generation", quantity=2)
    assert not scrip.has_credits(ada, rate="song_generation")
    assert scrip.quote(ada, "song_generation") == {"units": 25, "available": 10, "enough": False}


LINES = [{"rate": "beat_generation", "quantity": 1}, {"rate": "lyrics_analysis", "quantity": 2}]


def test_charges_holds_and_reports_have_lines(scrip: Scrip, ada: str) -> None:
    assert scrip.charge(ada, lines=LINES)["units"] == 9
    scrip.adjust(ada, 9, "a gift")
    assert scrip.hold(ada, lines=LINES, id=f"{ada}-h")["units"] == 9
    assert scrip.release(f"{ada}-h")["units"] == 9
    with scrip.reserve(ada, lines=LINES) as hold:
        hold.use(units=7)
    assert (hold.taken, scrip.balance(ada)["balance"]) == (7, 3)
    report = scrip.report_usage(ada, lines=[{"rate": "lyrics_analysis", "quantity": 1}])
    wait_until(lambda: scrip.usage_report(report)["state"] == "settled")
    assert scrip.usage_report(report)["lines"] == [{"rate": "lyrics_analysis", "quantity": 1}]
    assert scrip.report_usages([{"customer": ada, "lines": LINES}]) == {"accepted": 1, "duplicates": 0}
    assert taken(scrip, ada)[-2:] == [-7, -9]


def test_an_amount_is_given_in_one_way(scrip: Scrip) -> None:
    amounts: list[dict[str, Any]] = [{}, {"units": 1, "lines": LINES}, {"rate": "beat_generation", "lines": LINES}]
    for amount in amounts:
        with pytest.raises(ValueError, match="give either units"):
            scrip.charge("ada", **amount)
    with pytest.raises(ValueError, match="quantity requires a rate"):
        scrip.report_usage("ada", quantity=2, lines=LINES)


def test_a_reservation_at_a_carried_rate_rounds_up(system: Running) -> None:
    """A quote shows what a charge would take, which may be nothing; a capture takes units, and must not be free."""
    tokens = Scrip(system.url, "sk_sandbox_ai-services")
    customer = f"ada {uuid.uuid4().hex}"
    tokens.adjust(customer, 10, "a gift", type="bonus")
    assert tokens.charge(customer, rate="gpt4", quantity=1)["units"] == 1
    assert tokens.quote(customer, "gpt4", 10)["units"] == 0
    with tokens.reserve(customer, rate="gpt4", quantity=100) as hold:
        hold.use(quantity=10)
    assert (hold.units, hold.taken, tokens.balance(customer)["balance"]) == (6, 1, 8)


def test_a_charge_takes_and_a_second_one_with_its_id_does_not(scrip: Scrip, ada: str) -> None:
    first = scrip.charge(ada, 3, id=f"{ada}-1", reason="Song", metadata={"song": 7})
    assert (first["units"], first["balance"]) == (3, 7)
    assert scrip.charge(ada, 3, id=f"{ada}-1", reason="Song") == first
    entry = scrip.entry(first["entry"])
    assert (entry["reason"], entry["metadata"]) == ("Song", {"song": 7})
    assert scrip.charge(ada, rate="beat_generation")["units"] == 5
    assert taken(scrip, ada) == [-5, -3]


def test_a_hold_is_captured_or_released(scrip: Scrip, ada: str) -> None:
    hold = scrip.hold(ada, 4, expires_in=60, reason="Song", metadata={"song": 7})
    assert (hold["state"], hold["available"]) == ("held", 6)
    assert scrip.capture(hold["id"], 3)["balance"] == 7
    (entry,) = scrip.entries(ada, type="deduction")
    assert (entry["amount"], entry["reason"], entry["metadata"]) == (-3, "Song", {"song": 7})
    other = scrip.hold(ada, 7)
    assert scrip.release(other["id"])["state"] == "released"
    assert scrip.balance(ada)["available"] == 7


def test_use_is_reported_one_by_one_and_by_the_thousand(scrip: Scrip, ada: str) -> None:
    one = scrip.report_usage(ada, "lyrics_analysis", 1, occurred_at=datetime.now(timezone.utc), metadata={"a": 1})
    scrip.report_usage(ada, "lyrics_analysis", 1, id=one)
    wait_until(lambda: scrip.usage_report(one)["state"] == "settled")
    reports = [{"id": f"{ada}-{n}", "customer": ada, "rate": "lyrics_analysis", "quantity": 0} for n in range(1001)]
    assert scrip.report_usages(iter(reports)) == {"accepted": 1001, "duplicates": 0}
    assert scrip.report_usages(reports[:2]) == {"accepted": 0, "duplicates": 2}
    assert len(list(scrip.usage_reports(ada))) == 1002
    assert taken(scrip, ada) == [-2]


def test_lists_go_on_over_their_pages(scrip: Scrip, ada: str) -> None:
    for _ in range(201):
        scrip.adjust(ada, 1, "one more")
    entries = list(scrip.entries(ada))
    assert len(entries) == 202
    assert [entry["balance_after"] for entry in entries] == list(range(211, 9, -1))
    assert len(list(scrip.entries(ada, until=entries[0]["created_at"], type="admin_adjustment"))) == 200
    assert next(scrip.entries())["customer"] == ada


def test_what_is_read_of_a_customer_and_of_the_app(scrip: Scrip, ada: str) -> None:
    scrip.charge(ada, rate="lyrics_generation")
    assert scrip.stats(ada)["by_rate"] == {"lyrics_generation": 4}
    assert scrip.explain(ada)["lots"][0]["remaining"] == 6
    assert scrip.catalog()["rates"]["song_generation"]["units"] == 25
    changed = scrip.update_customer(ada, tier="pro", email="ada@example.com")
    assert (changed["tier"], changed["email"]) == ("pro", "ada@example.com")
    assert scrip.update_customer(ada, tier=None)["tier"] is None
    assert scrip.customer(ada)["email"] == "ada@example.com"
    assert [found["customer"] for found in scrip.customers(ada)] == [ada]
    assert scrip.grant_monthly(ada) == 0


def test_an_operator_corrects(scrip: Scrip, ada: str) -> None:
    charge = scrip.charge(ada, 5)
    assert scrip.refund(charge["entry"], "it broke off", units=2)["balance"] == 7
    assert scrip.adjust(ada, -8, "fraud", allow_debt=True)["balance"] == -1
    assert scrip.adjust(ada, 5, "sorry", type="bonus", expires_after="30d")["balance"] == 4


def test_a_token_reads_its_customer_and_no_other(system: Running, scrip: Scrip, ada: str) -> None:
    browser = Scrip(system.url, scrip.token(ada, expires_in=60)["token"])
    assert browser.balance(ada)["balance"] == 10
    with pytest.raises(Forbidden):
        browser.balance("bo")


def test_a_subscription_is_bought_changed_and_cancelled(system: Running, scrip: Scrip, ada: str) -> None:
    pages = {"success_url": "https://app.example/thanks", "cancel_url": "https://app.example/packs"}
    bought = scrip.checkout(ada, plan="pro", quantity=2, metadata={"order": "7"}, **pages)
    requests.post(bought["url"], data={"how": "pay"}, allow_redirects=False, timeout=30)
    wait_until(lambda: scrip.checkout_state(bought["id"])["state"] == "paid" and list(scrip.subscriptions(ada)))
    with pytest.raises(Conflict, match="running subscription"):
        scrip.checkout(ada, plan="pro", **pages)
    assert scrip.checkout(ada, plan="pro", another=True, **pages)["url"]
    (one,) = scrip.subscriptions(ada)
    assert one["items"] == [{"plan": "pro", "quantity": 2, "units": 2000}]
    wait_until(lambda: scrip.subscription(one["id"])["owed"])
    assert scrip.preview_change(one["id"], "pro", quantity=3)["renewal"]["units"] == 3000
    scrip.change_subscription(one["id"], "pro", quantity=3)
    wait_until(lambda: scrip.subscription(one["id"])["items"][0]["quantity"] == 3)
    scrip.cancel_subscription(one["id"])
    wait_until(lambda: scrip.subscription(one["id"])["cancel_at"])
    scrip.resume_subscription(one["id"])
    wait_until(lambda: scrip.subscription(one["id"])["cancel_at"] is None)
    browser = Scrip(system.url, scrip.token(ada, can=["subscriptions"])["token"])
    assert browser.portal(ada, return_url="https://app.example/").startswith(system.sandbox_url())
    assert [it["id"] for it in browser.subscriptions(ada)] == [one["id"]]


def test_refusals_are_errors_that_say_what_the_answer_said(system: Running, scrip: Scrip, ada: str) -> None:
    with pytest.raises(InsufficientCredits) as short:
        scrip.charge(ada, 11)
    assert (short.value.status, short.value.balance, short.value.required) == (402, 10, 11)
    assert short.value.type == "/problems/insufficient-balance"
    with pytest.raises(Invalid) as invalid:
        scrip.charge(ada, rate="dance")
    assert invalid.value.errors[0]["field"] == "rate"
    assert "unknown rate" in str(invalid.value)
    with pytest.raises(NotFound):
        scrip.customer("nobody")
    scrip.charge(ada, 1, id=f"{ada}-x")
    with pytest.raises(Conflict, match="other content"):
        scrip.charge(ada, 2, id=f"{ada}-x")
    with pytest.raises(Unauthorized):
        Scrip(system.url, "wrong").catalog()


def test_what_cannot_be_meant_is_refused_before_it_is_sent(scrip: Scrip) -> None:
    for wrong in ({}, {"units": 1, "rate": "x"}, {"units": 1, "quantity": 2}):
        with pytest.raises(ValueError, match="units"):
            scrip.charge("ada", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timezone"):
        scrip.balance("ada", as_of=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="empty"):
        scrip.balance("")


def test_customers_with_odd_names_are_reached(scrip: Scrip) -> None:
    customer = f"ä b?c#d%2Fe&{uuid.uuid4().hex}"
    scrip.adjust(customer, 2, "a gift")
    assert scrip.balance(customer)["customer"] == customer
    assert [entry["customer"] for entry in scrip.entries(customer)] == [customer]


@pytest.mark.parametrize("misdeed", ["drop", "busy", "html"])
def test_an_answer_that_is_lost_is_asked_for_again_and_taken_once(man: Proxy, misdeed: str, ada: str) -> None:
    scrip = Scrip(man.url, "sk_sandbox_songs")
    man.will(misdeed, misdeed, on="/v1/charges")
    assert scrip.charge(ada, 3)["balance"] == 7
    assert not man.misdeeds
    assert len({body for path, body in man.forwarded if path == "/v1/charges"}) == 1
    assert taken(scrip, ada) == [-3]


def test_patience_ends(man: Proxy, ada: str) -> None:
    scrip = Scrip(man.url, "sk_sandbox_songs", patience=0.3)
    man.will(*["html"] * 99)
    with pytest.raises(Unavailable) as away:
        scrip.charge(ada, 3)
    assert (away.value.status, away.value.detail) == (502, "<h1>Bad gateway</h1>")
    assert 2 <= 99 - len(man.misdeeds) < 20
    with pytest.raises(Unavailable, match="No response from Scrip") as nobody:
        Scrip("http://127.0.0.1:9", "key", patience=0).catalog()
    assert nobody.value.status == 0


def test_a_key_with_a_limit_waits_if_it_may(system: Running) -> None:
    key = system.manage("keys", "create", "songs", "--scope", "read", "--rate-limit", "60").stdout.strip()
    hasty = Scrip(system.url, key, patience=0)

    def hurry() -> None:
        for _ in range(200):
            hasty.catalog()

    with pytest.raises(RateLimited) as limited:
        hurry()
    assert limited.value.retry_after == 1
    assert Scrip(system.url, key, patience=5).catalog()["app"] == "songs"


def test_what_answers_is_not_scrip(man: Proxy, system: Running) -> None:
    man.upstream = system.url + "/docs?"
    with pytest.raises(ScripError, match="check base_url"):
        Scrip(man.url, "key").catalog()


def test_one_client_serves_many_threads_with_a_connection_each(system: Running, ada: str) -> None:
    made: list[requests.Session] = []

    def session() -> requests.Session:
        made.append(requests.Session())
        return made[-1]

    scrip = Scrip(system.url, "sk_sandbox_songs", session=session)
    with ThreadPoolExecutor(4) as pool:
        balances: list[dict[str, Any]] = list(pool.map(lambda _: scrip.balance(ada), range(40)))
    assert {balance["balance"] for balance in balances} == {10}
    assert len(made) <= 4
    for each in made:
        each.close()


def test_nobody_reads_the_key_in_a_repr(scrip: Scrip) -> None:
    assert "sk_" not in repr(scrip)


def test_every_method_is_documented() -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    methods = [name for name in dir(Scrip) if not name.startswith("_")]
    assert len(methods) > 35
    assert [name for name in methods if not re.search(rf"`{name}[`(]", page)] == []


def test_every_error_is_documented() -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    errors = [
        name for name, kind in vars(scrip_client).items() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(errors) == 12
    assert [name for name in errors if f"`{name}`" not in page] == []


def test_the_readmes_example_works(system: Running, ada: str, scrip: Scrip) -> None:
    page = (ROOT / "sdk" / "python" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("http://127.0.0.1:8000", system.url), names)
    scrip.adjust(ada, 15, "a gift")
    assert names["generate"](ada, "rain") == "a song about rain"
    assert taken(scrip, ada) == [-25]
    with pytest.raises(InsufficientCredits):
        names["generate"](ada, "snow")
