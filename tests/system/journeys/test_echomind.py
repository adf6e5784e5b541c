"""EchoMind, as its document tells it: a session, ten minutes of rest, a payment, the next session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from tests.support.running import Running
from tests.support.waiting import wait_until
from tests.system.journeys.journey import advance, buy, buy_and_wait, checkout, moment, pay_at, purchase

APP = "echomind"


def get(system: Running, path: str) -> Any:
    return system.get(path, app=APP)


def start(system: Running, customer: str, **more: Any) -> Any:
    return system.call("POST", "/v1/sessions", {"customer": customer, **more}, app=APP)


def talk(system: Running, customer: str, session: str) -> dict[str, Any]:
    """A whole session; returns the answer to its end."""
    begun = start(system, customer, id=session)
    assert begun.status_code == 201, begun.text
    answer: dict[str, Any] = system.post(f"/v1/sessions/{session}/end", {}, app=APP, status=200)
    return answer


def states(system: Running, customer: str) -> list[str]:
    """Newest first."""
    return [it["state"] for it in get(system, f"/v1/customers/{customer}/sessions")["sessions"]]


def eligibility(system: Running, customer: str) -> dict[str, Any]:
    told: dict[str, Any] = get(system, f"/v1/customers/{customer}/eligibility")
    return told


def test_everybody_follows_the_same_rules(system: Running) -> None:
    """The first session needs no payment; after it, cooldown and payment are both needed."""
    told = eligibility(system, "echo-new")
    assert (told["eligible"], told["free"]) == (True, True)
    ended = talk(system, "echo-new", "echo-new-1")
    assert ended["units"] == 0
    told = eligibility(system, "echo-new")
    assert (told["eligible"], told["reasons"]) == (False, ["cooldown", "balance"])
    assert 590 <= told["cooldown_seconds"] <= 600
    assert moment(ended["cooldown_until"]) > moment(told["server_time"]) + timedelta(minutes=9)


def test_without_payment_the_end_of_the_cooldown_changes_nothing(system: Running) -> None:
    """Skip payment: blocked, and started at once after paying."""
    talk(system, "echo-skip", "echo-skip-1")
    advance(system, "10m")
    refused = start(system, "echo-skip")
    assert (refused.status_code, refused.json()["reasons"]) == (402, ["balance"])
    buy_and_wait(system, "echo-skip", "session", app=APP)
    assert start(system, "echo-skip").status_code == 201
    assert system.balance("echo-skip", app=APP) == 0


def test_payment_during_the_cooldown_waits_for_its_end_and_starts_by_itself(system: Running) -> None:
    talk(system, "echo-wait", "echo-wait-1")
    buy_and_wait(system, "echo-wait", "session", app=APP)
    refused = start(system, "echo-wait")
    assert (refused.status_code, refused.json()["reasons"]) == (429, ["cooldown"])
    assert 0 < int(refused.headers["Retry-After"]) <= 600
    waits = start(system, "echo-wait", id="echo-wait-2", wait=True)
    assert (waits.status_code, waits.json()["reasons"]) == (202, ["cooldown"])
    assert system.balance("echo-wait", app=APP) == 1, "nothing is taken yet"
    advance(system, "10m")
    wait_until(lambda: states(system, "echo-wait") == ["active", "ended"])
    assert system.balance("echo-wait", app=APP) == 0


def test_payment_after_the_cooldown_starts_who_waits(system: Running) -> None:
    talk(system, "echo-after", "echo-after-1")
    start(system, "echo-after", id="echo-after-2", wait=True)
    advance(system, "11m")
    assert states(system, "echo-after") == ["waiting", "ended"]
    buy(system, "echo-after", "session", app=APP)
    wait_until(lambda: states(system, "echo-after") == ["active", "ended"])
    assert system.balance("echo-after", app=APP) == 0


def test_payment_that_races_the_end_of_the_cooldown_is_one_session_and_one_credit(system: Running) -> None:
    talk(system, "echo-race", "echo-race-1")
    start(system, "echo-race", id="echo-race-2", wait=True)
    told = purchase("echo-race", "session", APP)
    with ThreadPoolExecutor(12) as pool:
        moved = pool.submit(advance, system, "10m")
        sent = [pool.submit(system.webhook, told, app=APP) for _ in range(5)]
        asked = [pool.submit(start, system, "echo-race", wait=True) for _ in range(5)]
    moved.result()
    assert {it.result() for it in sent} == {200}
    assert {it.result().status_code for it in asked} <= {201, 202, 409}
    wait_until(lambda: states(system, "echo-race") == ["active", "ended"])
    assert system.balance("echo-race", app=APP) == 0
    entries = get(system, "/v1/customers/echo-race/entries")["entries"]
    assert sorted(entry["amount"] for entry in entries) == [-1, 1]


def test_two_hundred_starts_at_once_are_one_session_and_one_credit(system: Running) -> None:
    talk(system, "echo-many", "echo-many-1")
    buy_and_wait(system, "echo-many", "session", app=APP)
    advance(system, "10m")
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: start(system, "echo-many"), range(200)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 199
    assert states(system, "echo-many") == ["active", "ended"]
    assert system.balance("echo-many", app=APP) == 0


def test_waiting_can_be_cancelled_and_has_an_end(system: Running) -> None:
    talk(system, "echo-off", "echo-off-1")
    start(system, "echo-off", id="echo-off-2", wait=True)
    system.post("/v1/sessions/echo-off-2/cancel", app=APP, status=200)
    start(system, "echo-off", id="echo-off-3", wait=True)
    advance(system, "61m")
    wait_until(lambda: states(system, "echo-off") == ["refused", "cancelled", "ended"])
    buy_and_wait(system, "echo-off", "session", app=APP)
    assert system.balance("echo-off", app=APP) == 1, "nobody is started who was refused"


def credit(system: Running, customer: str) -> list[str]:
    """What became of the customer's payments, newest first."""
    return [it["credit"] for it in get(system, f"/v1/customers/{customer}/payments")["payments"]]


def test_a_payment_shows_what_became_of_its_credit(system: Running) -> None:
    talk(system, "echo-paid", "echo-paid-1")
    buy_and_wait(system, "echo-paid", "session", app=APP)
    assert credit(system, "echo-paid") == ["unredeemed"]
    advance(system, "10m")
    talk(system, "echo-paid", "echo-paid-2")
    assert credit(system, "echo-paid") == ["redeemed"]
    buy_and_wait(system, "echo-paid", "session", app=APP)
    assert credit(system, "echo-paid") == ["unredeemed", "redeemed"]
    entry = get(system, "/v1/sessions/echo-paid-2")["entry"]
    refund = {"id": "echo-paid-r", "entry": entry, "reason": "the line broke"}
    system.post("/v1/refunds", refund, app=APP)
    assert credit(system, "echo-paid") == ["unredeemed", "unredeemed"]


def test_a_session_is_paid_with_paypal_and_refunded(system: Running) -> None:
    """The catalog's own provider; a refund at PayPal takes the unredeemed credit back."""
    talk(system, "echo-pal", "echo-pal-1")
    opened = checkout(system, "echo-pal", app=APP, pack="session")
    assert opened["provider"] == "paypal"
    pay_at(opened["url"], system, "COMPLETED")
    wait_until(lambda: system.balance("echo-pal", app=APP) == 1)
    (payment,) = get(system, "/v1/customers/echo-pal/payments")["payments"]
    assert (payment["provider"], payment["credit"]) == ("paypal", "unredeemed")
    system.post(f"/v1/payments/{payment['id']}/refund", {"id": "back", "reason": "no need"}, app=APP, status=202)
    wait_until(lambda: credit(system, "echo-pal") == ["refunded"])
    assert system.balance("echo-pal", app=APP) == 0
    assert get(system, f"/v1/payments/{payment['id']}")["state"] == "refunded"


def test_customers_of_an_older_system_are_imported(system: Running) -> None:
    """Who had sessions there pays for the next one; who had paid has the credit."""
    file = system.folder / "older.csv"
    file.write_text("customer,units,free_sessions_used\necho-old,0,1\necho-rich,2,1\n")
    for _ in range(2):
        result = system.manage("import", "balances", APP, str(file))
        assert result.returncode == 0, result.stdout + result.stderr
    assert start(system, "echo-old").status_code == 402
    assert system.balance("echo-rich", app=APP) == 2
    assert start(system, "echo-rich").json()["free"] is False
    assert system.balance("echo-rich", app=APP) == 1


def test_who_waits_is_started_although_everything_was_restarted(rough: Running) -> None:
    """State persistence: the engine goes down before the payment is used, and is up again after the cooldown."""
    talk(rough, "echo-down", "echo-down-1")
    buy_and_wait(rough, "echo-down", "session", app=APP)
    start(rough, "echo-down", id="echo-down-2", wait=True)
    advance(rough, "595s")
    assert rough.stop() == 0
    rough.start()
    wait_until(lambda: states(rough, "echo-down") == ["active", "ended"])
    waited = get(rough, "/v1/sessions/echo-down-2")
    cooldown = get(rough, "/v1/sessions/echo-down-1")["cooldown_until"]
    assert moment(waited["started_at"]) >= moment(cooldown)
    assert rough.balance("echo-down", app=APP) == 0
    assert rough.is_clean()


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
