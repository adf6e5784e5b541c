"""Clients that are slow, send too much or nonsense, and a web server that stops: what others notice of it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import BadStatusLine, HTTPResponse
from typing import Any

import psycopg
import pytest
import requests

from tests.support.running import Running
from tests.support.waiting import wait_until

HEAD = b"Host: localhost\r\nAuthorization: Bearer sk_sandbox_ai-services\r\n"
POST = b"POST /v1/charges HTTP/1.1\r\n" + HEAD
MIB = 1024 * 1024
SLOW = 200


@pytest.fixture
def connect(rough: Running) -> Iterator[Any]:
    """Opens connections to the server, which are closed after the test."""
    with ExitStack() as stack:

        def open_one(data: bytes = b"") -> socket.socket:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", rough.port), timeout=30))
            client.sendall(data)
            return client

        yield open_one


def read(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """(Status, headers, body) of one response; 0 if the connection was closed without one."""
    answer = HTTPResponse(client)
    try:
        answer.begin()
    except BadStatusLine:
        return 0, {}, b""
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def fund(rough: Running, customer: str, units: int = 1000) -> None:
    body = {"id": f"gift-{customer}", "customer": customer, "units": units, "reason": "test"}
    rough.post("/v1/adjustments", body)


def charge(rough: Running, customer: str, name: str) -> int:
    body = {"id": f"{customer}-{name}", "customer": customer, "units": 1, "reason": "call"}
    return int(rough.call("POST", "/v1/charges", body).status_code)


@contextmanager
def locked(rough: Running, customer: str) -> Iterator[psycopg.Connection[Any]]:
    """The account's row is locked: whatever changes its balance waits."""
    with psycopg.connect(rough.database_url()) as conn:
        conn.execute("SELECT 1 FROM account WHERE customer = %s FOR UPDATE", [customer])
        yield conn


def waiting(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    assert row
    return int(row[0])


def test_clients_that_trickle_heads_and_bodies_hold_up_nobody(rough: Running, connect: Any) -> None:
    fund(rough, "patient")
    heads = [connect(b"GET /v1/catalog HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") for _ in range(SLOW)]
    slow = [connect(POST + b"Content-Length: 100\r\n\r\n{") for _ in range(SLOW)]
    for number in range(20):
        for client in (*heads, *slow):
            client.sendall(b" ")
        assert charge(rough, "patient", str(number)) == 201
        assert rough.call("GET", "/healthz").json() == {"status": "ok"}


def test_a_body_that_stops_is_given_up_and_one_that_is_cut_off_stores_nothing(rough: Running, connect: Any) -> None:
    fund(rough, "stops")
    body = b'{"id": "stops-1", "customer": "stops", "units": 1, "reason": "call"}'
    gone = connect(POST + b"Content-Length: %d\r\n\r\n" % (len(body) + 5) + body)
    gone.close()
    status, headers, answer = read(connect(POST + b"Content-Length: %d\r\n\r\n" % (len(body) + 5) + body))
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(answer)["type"] == "/problems/request-timeout"
    assert rough.balance("stops") == 1000


@pytest.mark.parametrize("length", [MIB + 1, 10**12])
def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_sent(length: int, connect: Any) -> None:
    status, headers, answer = read(connect(POST + b"Content-Length: %d\r\n\r\n" % length))
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(answer)["type"] == "/problems/too-large"


def test_a_body_that_is_too_large_is_refused_and_the_client_that_sends_it_all_sees_why(connect: Any) -> None:
    client = connect(POST + b"Content-Length: %d\r\n\r\n" % (3 * MIB))
    client.sendall(b" " * 3 * MIB)
    assert read(client)[0] == 413


def test_a_body_in_chunks_has_the_same_limit(rough: Running, connect: Any) -> None:
    fund(rough, "chunks")
    body = b'{"id":"chunks-1","customer":"chunks","units":1,"reason":"call"}'
    for size, status in ((MIB, 201), (MIB + 1, 413)):
        parts = [body, *[b" " * 65_536] * (MIB // 65_536)]
        whole = b"".join(parts)[: size - len(body)]
        chunks = [whole[: MIB // 2], whole[MIB // 2 :], b" " * (size - len(whole))]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\n\r\n"
        assert read(connect(POST + b"Transfer-Encoding: chunked\r\n\r\n" + sent))[0] == status


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00 GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nnot a number\r\n",
        b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_hurts_nobody(request_: bytes, rough: Running, connect: Any) -> None:
    client = connect()
    try:
        client.sendall(request_)
        status = read(client)[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 0
    assert status in (0, 400, 408, 414, 431)
    assert rough.call("GET", "/healthz").status_code == 200


def test_headers_do_not_change_what_a_path_means(connect: Any) -> None:
    for header in (b"SCRIPT_NAME: /v1", b"Script-Name: /v1", b"Path-Info: /nothing", b"X-Forwarded-Prefix: /v1"):
        status, _, answer = read(connect(b"GET /v1/catalog HTTP/1.1\r\n" + HEAD + header + b"\r\n\r\n"))
        assert (status, json.loads(answer)["app"]) == (200, "ai-services"), header


def test_headers_with_an_underscore_do_not_stand_for_others(connect: Any) -> None:
    status, _, _ = read(connect(b"GET /v1/catalog HTTP/1.1\r\nHost: a\r\nAuthorization_: x\r\n\r\n"))
    assert status == 401
    head = b"GET /v1/catalog HTTP/1.1\r\nHost: localhost\r\nHTTP_AUTHORIZATION: Bearer sk_sandbox_ai-services\r\n"
    assert read(connect(head + b"AUTHORIZATION_: x\r\n\r\n"))[0] == 401


def test_a_head_request_has_the_headers_and_no_body(rough: Running) -> None:
    for path in ("/healthz", "/v1/catalog"):
        headers = {"Authorization": "Bearer sk_sandbox_ai-services"}
        answer = requests.head(rough.url + path, headers=headers, timeout=30)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0


def test_it_is_alive_while_all_its_threads_wait(rough: Running) -> None:
    fund(rough, "blocked")
    threads = 2 * int(rough.env.get("SCRIP_WEB_THREADS", "64"))
    answers: list[int] = []
    senders = [
        threading.Thread(target=lambda number=number: answers.append(charge(rough, "blocked", str(number))))
        for number in range(threads)
    ]
    with locked(rough, "blocked") as conn:
        for sender in senders:
            sender.start()
        wait_until(lambda: waiting(conn) >= 16, 30)
        for _ in range(50):
            assert requests.get(f"{rough.url}/healthz", timeout=30).status_code == 200
        assert answers == []
    for sender in senders:
        sender.join()
    assert answers == [201] * threads
    assert rough.balance("blocked") == 1000 - threads


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGHUP])
def test_a_web_server_that_stops_or_reloads_answers_what_it_has_received(
    stop_signal: signal.Signals, rough: Running
) -> None:
    customer = f"stopping-{stop_signal.name}"
    fund(rough, customer)
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(charge(rough, customer, "1")))
    web = rough.processes("web.asgi")
    masters = [process for process in web if process.parent() not in web]
    with locked(rough, customer) as conn:
        sender.start()
        wait_until(lambda: waiting(conn) == 1, 30)
        (master,) = masters
        master.send_signal(stop_signal)
        sender.join(1)
        assert answers == []
    sender.join()
    assert answers == [201]
    if stop_signal is signal.SIGTERM:
        master.wait(30)
    wait_until(rough.is_ready, 60)
    assert rough.balance(customer) == 999


def test_open_streams_do_not_hold_up_a_stop(rough: Running) -> None:
    headers = {"Authorization": "Bearer sk_sandbox_ai-services"}
    url = f"{rough.url}/v1/customers/streamed/stream"
    with requests.get(url, headers=headers, stream=True, timeout=60) as stream:
        lines = stream.iter_lines(chunk_size=1)
        assert next(lines) == b"event: balance"
        web = rough.processes("web.asgi")
        (master,) = [process for process in web if process.parent() not in web]
        master.send_signal(signal.SIGTERM)
        began = time.monotonic()
        try:
            list(lines)
        except requests.RequestException:
            pass
        assert time.monotonic() - began < 8, "the stream was open until the process was killed"
        master.wait(30)
    wait_until(rough.is_ready, 60)
