"""The event stream of a customer, read as a browser reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import jwt
import psycopg
import pytest
import requests

from models.access import tokens
from tests.support.running import Running

APP, KEY = "echomind", "sk_sandbox_echomind"
Event = tuple[str, str, Any]


class Stream:
    """An open stream. Iterating yields (name, id, content) of its events."""

    def __init__(self, answer: requests.Response) -> None:
        self.answer = answer
        self.lines = answer.iter_lines(chunk_size=1, decode_unicode=True)

    def next(self, *names: str) -> list[Event]:
        """As many events as there are names, which are theirs."""
        events = [self._one() for _ in names]
        assert [name for name, _, _ in events] == list(names)
        return events

    def content(self, name: str) -> Any:
        """The content of the next event of this name: what one commit changes may be seen in several looks."""
        while (event := self._one())[0] != name:
            pass
        return event[2]

    def _one(self) -> Event:
        fields: dict[str, str] = {}
        for line in self.lines:
            if line.startswith(":"):
                continue
            if not line and fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
        raise AssertionError("the stream has ended")

    def is_over(self) -> bool:
        """Reads to the end."""
        return all(not line or line.startswith(":") for line in self.lines)


@pytest.fixture
def follow(system: Running) -> Iterator[Any]:
    """Opens streams, which are closed after the test."""
    with ExitStack() as stack:

        def open_one(customer: str, *, key: str = KEY, **headers: str) -> Stream:
            headers = {"Authorization": f"Bearer {key}", **headers}
            url = f"{system.url}/v1/customers/{customer}/stream"
            answer = stack.enter_context(requests.get(url, headers=headers, stream=True, timeout=30))
            assert answer.status_code == 200, answer.text
            assert answer.headers["Content-Type"] == "text/event-stream"
            return Stream(answer)

        yield open_one


def expiring(system: Running, customer: str, *, seconds: int) -> str:
    """A token as Scrip makes it, but for a lifetime shorter than it gives."""
    with psycopg.connect(system.database_url()) as conn:
        row = conn.execute("SELECT value FROM secret WHERE name = %s", [tokens.SECRET_NAME]).fetchone()
    assert row
    claims = {"aud": tokens.AUDIENCE, "app": APP, "sub": customer, "exp": int(time.time()) + seconds, "can": ["read"]}
    return jwt.encode(claims, bytes(row[0]), algorithm=tokens.ALGORITHM)


def give(system: Running, customer: str, name: str, units: int = 5) -> None:
    body = {"id": f"{customer}-{name}", "customer": customer, "units": units, "reason": "test"}
    system.post("/v1/adjustments", body, app=APP)


def test_it_begins_with_what_is_and_goes_on_with_what_changes(system: Running, follow: Any) -> None:
    stream = follow("streamed")
    balance, session, eligibility = (content for _, _, content in stream.next("balance", "session", "eligibility"))
    assert (balance["balance"], session, eligibility["eligible"]) == (0, None, True)  # the first session is free
    give(system, "streamed", "a")
    assert stream.content("balance")["balance"] == 5
    assert stream.content("eligibility")["available"] == 5
    system.post("/v1/sessions", {"id": "streamed-s", "customer": "streamed"}, app=APP)
    assert stream.content("session")["id"] == "streamed-s"
    assert stream.content("eligibility")["reasons"] == ["active_session"]


def test_the_contents_are_those_of_the_api(system: Running, follow: Any) -> None:
    give(system, "compared", "a")
    system.call("POST", "/v1/sessions", {"id": "compared-s", "customer": "compared"}, app=APP)
    events = follow("compared").next("balance", "session", "eligibility")
    paths = ("/v1/customers/compared/balance", "/v1/sessions/compared-s", "/v1/customers/compared/eligibility")
    for (_, _, content), path in zip(events, paths, strict=True):
        shown = system.call("GET", path, app=APP).json()
        for name in ("as_of", "server_time", "cooldown_seconds", "eligible_at"):
            assert (name in shown) == (name in content)
            shown.pop(name, None), content.pop(name, None)
        assert content == shown


def test_a_change_is_seen_by_all_streams_of_its_customer_and_by_no_other(system: Running, follow: Any) -> None:
    mine, too, other = follow("mine"), follow("mine"), follow("other")
    for stream in (mine, too, other):
        stream.next("balance", "session", "eligibility")
    give(system, "mine", "a")
    for stream in (mine, too):
        assert stream.content("balance")["customer"] == "mine"
    give(system, "other", "a")
    assert other.content("balance")["customer"] == "other"


def test_a_client_that_comes_back_is_sent_what_it_missed(system: Running, follow: Any) -> None:
    give(system, "resumed", "a")
    *_, (_, last_id, _) = follow("resumed").next("balance", "session", "eligibility")
    give(system, "resumed", "b")
    missed = follow("resumed", **{"Last-Event-ID": last_id})
    assert missed.content("balance")["balance"] == 10
    *_, (_, last_id, _) = missed.next("eligibility")
    nothing = follow("resumed", **{"Last-Event-ID": last_id})
    give(system, "resumed", "c")
    assert nothing.content("balance")["balance"] == 15
    follow("resumed", **{"Last-Event-ID": "of another server"}).next("balance", "session", "eligibility")


def test_an_app_without_sessions_has_balances_only(system: Running, follow: Any) -> None:
    stream = follow("plain", key="sk_sandbox_ai-services")
    assert stream.content("balance")["unit"] == "credit"
    body = {"id": "plain-a", "customer": "plain", "units": 5, "reason": "test"}
    system.post("/v1/adjustments", body)
    assert stream.content("balance")["balance"] == 5


def test_a_customer_token_follows_its_customer_until_it_expires(system: Running, follow: Any) -> None:
    made = system.call("POST", "/v1/customers/tokened/tokens", {}, app=APP).json()
    url = f"{system.url}/v1/customers/somebody-else/stream"
    assert requests.get(url, headers={"Authorization": f"Bearer {made['token']}"}, timeout=30).status_code == 403
    stream = follow("tokened", key=expiring(system, "tokened", seconds=3))
    stream.next("balance", "session", "eligibility")
    assert stream.is_over()


def test_a_head_request_of_a_stream_ends(system: Running) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = requests.head(f"{system.url}/v1/customers/headed/stream", headers=headers, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")


def test_streams_hold_no_thread(system: Running, follow: Any) -> None:
    streams = [follow(f"many-{number}") for number in range(150)]
    for stream in streams:
        stream.next("balance", "session", "eligibility")
    give(system, "many-149", "a")
    assert streams[149].content("balance")["balance"] == 5


def test_it_stays_open_with_comments(follow: Any) -> None:
    stream = follow("silent")
    stream.next("balance", "session", "eligibility")
    began = time.monotonic()
    assert next(line for line in stream.lines if line).startswith(":")
    assert time.monotonic() - began < 25
