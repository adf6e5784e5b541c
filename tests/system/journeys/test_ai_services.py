"""AI services, as their document tells it: eleven services from one balance, checked before and charged after."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.peers.listener import Listener
from tests.support.running import Running
from tests.support.waiting import wait_until
from tests.system.journeys.journey import buy_and_wait, checkout, pay_at, with_token

APP = "ai-services"
RATES = {
    "voice_call": (180, 3),
    "sms": (1, 1),
    "whatsapp": (1, 1),
    "ai_response": (1, 2),
    "gpt4": (1000, 60),
    "gpt35": (1000, 2),
    "gemini_pro": (1000, 1),
    "claude": (1000, 2),
    "document_upload": (1, 5),
    "bundle_creation": (1, 50),
    "phone_number": (1, 100),
}
TOKENS = ("gpt4", "gpt35", "gemini_pro", "claude")


@pytest.fixture(scope="module")
def listener(system: Running) -> Iterator[Listener]:
    clear_pending = Listener()
    made = system.post("/v1/endpoints", {"url": clear_pending.url, "events": ["balance.low", "balance.exhausted"]})
    clear_pending.secret = made["secret"]
    yield clear_pending
    assert system.call("DELETE", f"/v1/endpoints/{made['id']}").status_code == 200
    clear_pending.close()


def charge(system: Running, customer: str, rate: str, quantity: int, *, id: str, **more: Any) -> Any:
    body = {"id": id, "customer": customer, "rate": rate, "quantity": quantity, **more}
    return system.call("POST", "/v1/charges", body)


def test_the_three_packages_are_for_sale(system: Running) -> None:
    packs = system.get("/v1/catalog")["packs"]
    shown = {key: (pack["units"], pack["price"], pack["price_per_unit"]["amount"]) for key, pack in packs.items()}
    assert shown == {
        "starter": (100, {"amount": "10.00", "currency": "usd"}, "0.10"),
        "pro": (500, {"amount": "50.00", "currency": "usd"}, "0.10"),
        "enterprise": (1000, {"amount": "100.00", "currency": "usd"}, "0.10"),
    }


def test_a_package_is_bought_through_the_checkout(system: Running) -> None:
    for pack, units in (("starter", 100), ("pro", 600), ("enterprise", 1600)):
        pay_at(checkout(system, "ai-buyer", app=APP, pack=pack)["url"], system)
        wait_until(lambda due=units: system.balance("ai-buyer") == due)


def test_every_service_costs_what_the_table_says(system: Running) -> None:
    buy_and_wait(system, "ai-rates", "pro", app=APP)
    left = 500
    for rate, (quantity, units) in RATES.items():
        path = f"/v1/customers/ai-rates/quote?rate={rate}&quantity={quantity}"
        quote = system.get(path)
        assert {name: quote[name] for name in ("units", "available", "enough")} == {
            "units": units,
            "available": left,
            "enough": True,
        }
        assert quote.get("carried") == ({rate: "0"} if rate in TOKENS else None)
        answer = charge(system, "ai-rates", rate, quantity, id=f"ai-rates-{rate}")
        left -= units
        assert (answer.status_code, answer.json()["units"], answer.json()["balance"]) == (201, units, left)
    assert len(RATES) == len(system.get("/v1/catalog")["rates"])
    assert system.get("/v1/customers/ai-rates/stats")["by_rate"] == {
        key: units for key, (_, units) in sorted(RATES.items())
    }


def test_what_is_begun_is_paid_for(system: Running) -> None:
    """61 seconds of voice are two minutes, 1001 tokens are rounded up once."""
    for rate, quantity, units in (("voice_call", 61, 2), ("gpt4", 1001, 61), ("gpt35", 1, 1)):
        assert system.get(f"/v1/customers/x/quote?rate={rate}&quantity={quantity}")["units"] == units


def test_an_operation_that_is_too_expensive_is_402_and_takes_nothing(system: Running) -> None:
    buy_and_wait(system, "ai-poor", "starter", app=APP)
    quote = system.get("/v1/customers/ai-poor/quote?rate=gpt4&quantity=2000")
    assert (quote["units"], quote["available"], quote["enough"]) == (120, 100, False)
    refused = charge(system, "ai-poor", "gpt4", 2000, id="ai-poor-1")
    assert (refused.status_code, refused.headers["Content-Type"]) == (402, "application/problem+json")
    assert (refused.json()["balance"], refused.json()["required"]) == (100, 120)
    assert system.balance("ai-poor") == 100


def test_deductions_at_once_never_take_more_than_there_is(system: Running) -> None:
    buy_and_wait(system, "ai-many", "starter", app=APP)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: charge(system, "ai-many", "ai_response", 1, id=f"ai-many-{n}"), range(80)))
    assert sorted(answer.status_code for answer in answers) == [201] * 50 + [402] * 30
    assert system.balance("ai-many") == 0


def test_transactions_are_paged_filtered_and_exported(system: Running) -> None:
    buy_and_wait(system, "ai-book", "starter", app=APP)
    for number in range(7):
        charge(system, "ai-book", "sms", 1, id=f"ai-book-{number}", metadata={"to": f"+4912{number}"})
    seen: list[dict[str, Any]] = []
    path = "/v1/customers/ai-book/entries?limit=3"
    cursor = ""
    while cursor is not None:
        page = system.get(path + (f"&cursor={cursor}" if cursor else ""))
        seen += page["entries"]
        cursor = page["next"]
    assert [entry["amount"] for entry in seen] == [-1] * 7 + [100]
    assert seen[0]["metadata"]["to"] == "+49126"
    assert {entry["type"] for entry in system.get(path + "&type=purchase")["entries"]} == {"purchase"}
    answer = system.call("GET", "/v1/customers/ai-book/entries", headers={"Accept": "text/csv"})
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(line["amount"]) for line in lines] == [-1] * 7 + [100]


def test_a_low_balance_is_told_once_a_crossing(system: Running, listener: Listener) -> None:
    buy_and_wait(system, "ai-low", "starter", app=APP)
    for number, units in enumerate((79, 1, 5, 10, 5)):
        body = {"id": f"ai-low-{number}", "customer": "ai-low", "units": units}
        system.post("/v1/charges", body)
    wait_until(lambda: len(listener.of("ai-low")) == 3)
    told = {(it["type"], it["data"]["threshold"], it["data"]["balance"]) for it in listener.of("ai-low")}
    assert told == {("balance.low", 20, 20), ("balance.low", 5, 5), ("balance.exhausted", 0, 0)}
    system.post("/v1/adjustments", {"id": "ai-low-a", "customer": "ai-low", "units": 21, "reason": "sorry"})
    system.post("/v1/charges", {"id": "ai-low-again", "customer": "ai-low", "units": 1})
    wait_until(lambda: len(listener.of("ai-low")) == 4)
    assert listener.bad == 0


def test_use_is_reported_by_service_by_customer_and_by_day(system: Running) -> None:
    for customer, calls in (("ai-heavy", 3), ("ai-light", 1)):
        buy_and_wait(system, customer, "enterprise", app=APP)
        for number in range(calls):
            charge(system, customer, "phone_number", 1, id=f"{customer}-{number}")
    by_rate = {row["key"]: row for row in system.get("/v1/reports/usage?group=rate")["groups"]}
    assert by_rate["phone_number"]["units"] >= 400
    by_customer = [row["key"] for row in system.get("/v1/reports/usage?group=customer")["groups"]]
    assert by_customer.index("ai-heavy") < by_customer.index("ai-light"), "who uses most comes first"
    days = system.get("/v1/reports/usage?group=day")["groups"]
    assert sum(row["units"] for row in days) == sum(row["units"] for row in by_rate.values())


def test_a_refund_and_an_adjustment_have_a_reason(system: Running) -> None:
    buy_and_wait(system, "ai-back", "starter", app=APP)
    entry = charge(system, "ai-back", "document_upload", 1, id="ai-back-1").json()["entry"]
    refund = {"id": "ai-back-r", "entry": entry, "reason": "the upload failed"}
    assert system.post("/v1/refunds", refund)["balance"] == 100
    assert system.post("/v1/refunds", refund, status=200)["balance"] == 100, "the same again"
    again = system.call("POST", "/v1/refunds", {**refund, "id": "ai-back-r2"})
    assert again.status_code == 409, "a second refund of the same deduction"
    given = system.get("/v1/customers/ai-back/entries?type=refund")["entries"][0]
    assert (given["reverses"], given["reason"]) == (entry, "the upload failed")
    assert (
        system.call("POST", "/v1/refunds", {"id": "ai-back-r3", "entry": given["id"], "reason": "x"}).status_code == 422
    )
    adjustment = {"id": "ai-back-a", "customer": "ai-back", "units": -101, "reason": "mistake"}
    assert system.call("POST", "/v1/adjustments", adjustment).status_code == 402
    assert system.post("/v1/adjustments", {**adjustment, "units": -40})["balance"] == 60
    assert system.call("POST", "/v1/refunds", {**refund, "id": "o"}, app="songs").status_code == 404


def test_a_customer_sees_the_own_credits_only(system: Running) -> None:
    for what in ("balance", "entries", "stats", "explain"):
        path = f"/v1/customers/ai-mine/{what}"
        assert with_token(system, "ai-mine", path, app=APP) == 200
        assert with_token(system, "ai-mine", path, app=APP, of="ai-nosy") == 403


def test_usage_that_is_reported_later_is_taken_too(system: Running) -> None:
    buy_and_wait(system, "ai-meter", "starter", app=APP)
    reports = [{"id": f"ai-meter-{n}", "customer": "ai-meter", "rate": "whatsapp", "quantity": 2} for n in range(20)]
    assert system.post("/v1/usage", {"reports": reports}, status=202) == {"accepted": 20, "duplicates": 0}
    wait_until(lambda: system.balance("ai-meter") == 60)


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
