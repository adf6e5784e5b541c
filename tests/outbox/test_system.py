"""Outgoing webhooks of a running Scrip: heard within seconds, signed, once."""

from __future__ import annotations

from tests.support.peers.receivers import receiving
from tests.support.running import Running
from tests.support.waiting import wait_until


def test_a_balance_that_falls_is_told_to_a_receiver_by_itself(system: Running) -> None:
    with receiving() as receiver:
        body = {"id": "heard", "url": receiver.url, "events": ["balance.low", "balance.exhausted"]}
        secret = system.post("/v1/endpoints", body)["secret"]
        try:
            system.post("/v1/adjustments", {"id": "heard", "customer": "heard", "units": 25, "reason": "gift"})
            system.post("/v1/charges", {"id": "heard", "customer": "heard", "units": 25})
            wait_until(lambda: len(receiver.came) == 3)
            told = [receiver.verified(secret, index) for index in range(3)]
            assert {(it["type"], it["data"]["threshold"]) for it in told if it["data"]["customer"] == "heard"} == {
                ("balance.low", 20),
                ("balance.low", 5),
                ("balance.exhausted", 0),
            }
            wait_until(lambda: len(system.get("/v1/deliveries?customer=heard&state=delivered")["deliveries"]) == 3)
        finally:
            assert system.call("DELETE", "/v1/endpoints/heard").status_code == 200
