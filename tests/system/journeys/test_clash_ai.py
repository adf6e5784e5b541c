"""CLASH AI, as its document tells it: minutes are bought, calls with characters use them up, all is in the log."""

from __future__ import annotations

from typing import Any

from tests.support.running import Running
from tests.support.waiting import wait_until
from tests.system.journeys.journey import buy_and_wait, checkout, pay_at

APP = "clash-ai"


def get(system: Running, path: str) -> Any:
    return system.get(path, app=APP)


def start(system: Running, customer: str, call: str, character: str = "caesar") -> Any:
    body = {"id": call, "customer": customer, "metadata": {"character_id": character}}
    return system.call("POST", "/v1/sessions", body, app=APP)


def end(system: Running, call: str, seconds: int) -> Any:
    return system.post(f"/v1/sessions/{call}/end", {"seconds": seconds}, app=APP, status=200)


def log(system: Running, customer: str, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"customer": customer, **filters}.items())
    lines: list[dict[str, Any]] = get(system, f"/v1/operations?{query}")["operations"]
    return lines


def test_minutes_are_bought_and_calls_use_them_up(system: Running) -> None:
    """Usage flow, steps 2 to 5."""
    assert start(system, "clash-ada", "clash-0").status_code == 402
    buy_and_wait(system, "clash-ada", "minutes_30", app=APP)
    assert start(system, "clash-ada", "clash-1").status_code == 201
    assert start(system, "clash-ada", "clash-2").status_code == 409, "one call at a time"
    ended = end(system, "clash-1", 90)
    assert (ended["units"], ended["balance"], ended["duration_seconds"]) == (2, 28, 90)
    start(system, "clash-ada", "clash-3")
    assert end(system, "clash-3", 0)["units"] == 1, "at least one minute"
    stats = get(system, "/v1/customers/clash-ada/stats")
    assert (stats["total_purchased"], stats["total_spent"], stats["balance"]) == (30, 3, 27)
    assert stats["by_rate"] == {"call": 3}
    calls = get(system, "/v1/customers/clash-ada/sessions")["sessions"]
    assert [call["metadata"]["character_id"] for call in calls] == ["caesar", "caesar"]
    assert get(system, "/v1/customers/clash-ada/balance")["updated_at"] is not None


def test_a_call_without_minutes_is_prevented(system: Running) -> None:
    buy_and_wait(system, "clash-bo", "minutes_30", app=APP)
    start(system, "clash-bo", "clash-bo-1")
    end(system, "clash-bo-1", 30 * 60)
    refused = start(system, "clash-bo", "clash-bo-2")
    assert (refused.status_code, refused.json()["balance"], refused.json()["required"]) == (402, 0, 1)


def test_every_payment_and_every_call_is_in_the_log(system: Running) -> None:
    buy_and_wait(system, "clash-cy", "minutes_120", app=APP)
    start(system, "clash-cy", "clash-cy-1", "cleopatra")
    end(system, "clash-cy-1", 61)
    payment = log(system, "clash-cy", operation="PAYMENT", status="SUCCESS")
    assert payment[0]["details"]["type"] == "checkout.session.completed"
    calls = log(system, "clash-cy", operation="SESSION")
    assert {line["status"] for line in calls} == {"STARTED", "SUCCESS"}
    (done,) = [line for line in calls if line["status"] == "SUCCESS"]
    assert (done["details"]["units"], done["details"]["metadata"]) == (2, {"character_id": "cleopatra"})
    assert done["details"]["duration_seconds"] == 61
    assert done["timestamp"] is not None


def test_an_error_is_in_the_log_with_its_reason(system: Running) -> None:
    start(system, "clash-poor", "clash-poor-1")
    (line,) = log(system, "clash-poor", status="ERROR")
    assert (line["operation"], line["error"]["type"]) == ("SESSION", "InsufficientBalance")
    assert (line["error"]["required"], line["details"]["id"]) == (1, "clash-poor-1")


def test_minutes_are_bought_through_the_checkout(system: Running) -> None:
    opened = checkout(system, "clash-buyer", app=APP, pack="minutes_120", email="buyer@example.com")
    pay_at(opened["url"], system)
    wait_until(lambda: system.balance("clash-buyer", app=APP) == 120)
    again = {"customer": "clash-buyer", "pack": "minutes_120", "email": "buyer@example.com"}
    assert checkout(system, app=APP, status=200, id=opened["id"], **again) == opened


def test_packages_are_in_the_catalog(system: Running) -> None:
    packs = get(system, "/v1/catalog")["packs"]
    sizes = {key: (pack["units"], pack["price"]["amount"]) for key, pack in packs.items()}
    assert sizes == {"minutes_30": (30, "4.99"), "minutes_120": (120, "14.99"), "minutes_300": (300, "29.99")}


def test_what_was_written_adds_up(system: Running) -> None:
    assert system.is_clean()
