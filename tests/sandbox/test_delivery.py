"""How the sandbox's providers send their events: signed, in order, again until taken; or late, twice, in disorder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from jobs.providers.stripe import signature
from tests.sandbox.test_stripe import APP, asked
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider
from tests.support.waiting import wait_until

PURCHASE = ["payment_intent.succeeded", "charge.succeeded", "checkout.session.completed"]


class Scrip:
    """Stands for Scrip: notes what arrives, and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                here.got.append((self.path, dict(self.headers), body))
                self.send_response(here.status)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, _, body in self.got]


@pytest.fixture
def scrip() -> Iterator[Scrip]:
    receiver = Scrip()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@pytest.fixture
def provider(db: str, folder: Path, scrip: Scrip) -> Iterator[Provider]:
    with running_provider(folder, scrip.url) as running:
        yield running


def buy(provider: Provider) -> None:
    session = provider.stripe(APP).v1.checkout.sessions.create(asked())
    assert provider.pay(session.id).status_code == 303


def states(provider: Provider) -> list[str]:
    return [state for (state,) in provider.sandbox.store.rows("SELECT state FROM event ORDER BY number")]


def test_events_come_in_order_and_genuine(provider, scrip):
    buy(provider)
    wait_until(lambda: states(provider) == ["delivered"] * 3)
    assert scrip.types() == PURCHASE
    path, headers, body = scrip.got[-1]
    event = signature.verify(body, headers["Stripe-Signature"], ["whsec_sandbox"], datetime.now(timezone.utc))
    assert path == f"/webhooks/stripe/{APP}"
    assert (event["livemode"], event["api_version"]) == (False, "2026-10-28.endive")


def test_what_is_not_taken_is_sent_again(provider, scrip):
    scrip.status = 503
    buy(provider)
    wait_until(lambda: len(scrip.got) >= 3)
    scrip.status = 200
    wait_until(lambda: states(provider) == ["delivered"] * 3)
    assert set(PURCHASE) == set(scrip.types())


def test_what_waits_is_sent_after_a_restart(db, folder, scrip):
    with running_provider(folder) as nowhere:
        buy(nowhere)
        nowhere.sandbox.store.rows("UPDATE event SET due_at = 0, tries = 0")
    with running_provider(folder, scrip.url):
        wait_until(lambda: set(scrip.types()) == set(PURCHASE))


def test_twice_is_two_times_the_same(provider, scrip):
    provider.control(APP, deliver="twice")
    buy(provider)
    wait_until(lambda: len(scrip.got) == 6)
    wait_until(lambda: states(provider) == ["delivered"] * 3)
    assert sorted(scrip.types()) == sorted(PURCHASE * 2)


def test_late_is_late(provider, scrip):
    provider.control(APP, deliver="late", late_seconds=0.4)
    began_at = time.monotonic()
    buy(provider)
    wait_until(lambda: len(scrip.got) == 3)
    assert time.monotonic() - began_at >= 0.4


def test_shuffled_all_come_in_any_order(provider, scrip):
    provider.control(APP, deliver="shuffled")
    buy(provider)
    wait_until(lambda: sorted(scrip.types()) == sorted(PURCHASE))


def test_what_is_swallowed_is_listed_and_can_be_sent_by_hand(provider, scrip):
    provider.control(APP, deliver="swallow")
    buy(provider)
    assert states(provider) == ["swallowed"] * 3
    lost = provider.stripe(APP).v1.events.list({"delivery_success": False, "type": "checkout.session.completed"}).data
    provider.control(APP, send=lost[0].id)
    wait_until(lambda: scrip.types() == ["checkout.session.completed"])


def test_one_accounts_mode_is_not_anothers(provider, scrip):
    provider.control("clash-ai", deliver="swallow")
    buy(provider)
    wait_until(lambda: len(scrip.got) == 3)


@pytest.mark.parametrize(
    "asked_for",
    [
        {},
        {"app": ""},
        {"app": APP, "deliver": "never"},
        {"app": APP, "late_seconds": "soon"},
        {"app": APP, "shape": "round"},
        {"app": APP, "action": "dance", "id": "ch_1"},
        {"app": APP, "action": "refund", "id": "ch_1", "amount": "1,5"},
        [],
    ],
)
def test_control_refuses_what_it_does_not_know(provider, asked_for: Any):
    answer = requests.post(f"{provider.url}/control", json=asked_for, timeout=9)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]
