"""The outbox: what was told is delivered, signed, tried again for days, and one endpoint's trouble is no other's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from threading import Barrier
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from jobs import maintenance
from jobs.outbox import endpoints, http, sender
from models import database
from models.errors import Conflict, NotFound
from models.outbox import deliveries, queue
from models.outbox import endpoints as stored_endpoints
from models.outbox.messages import Message, emit, is_due
from settings import ROOT
from tests.support.cast import ADA, BO, CY, app, deliver, event_states
from tests.support.peers.receivers import Receiver, hang, receiving
from tests.support.providers.stripe_events import event, invoice, paid_session
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as it:
        yield it


def endpoint(url: str, now: datetime, slug: str = "ai-services", **more: Any) -> dict[str, Any]:
    return endpoints.create(app(slug), {"url": url, **more}, now=now)[0]


def message(customer: str = ADA, slug: str = "ai-services", **more: Any) -> Message:
    return Message(slug, "balance.low", customer, {"balance": 5}, **more)


def say(*messages: Message, now: datetime) -> None:
    database.transaction(lambda conn: emit(conn, messages or [message()], now=now))


def send(now: datetime) -> int:
    return sender.deliver_due(now=now)


def shown(slug: str = "ai-services", **filters: Any) -> list[dict[str, Any]]:
    return deliveries.list_page(slug, **filters)[0]


def only(slug: str = "ai-services") -> dict[str, Any]:
    (it,) = shown(slug)
    return it


def the_endpoint(slug: str = "ai-services") -> dict[str, Any]:
    ((it,), _) = stored_endpoints.list_page(slug)
    return it


def next_attempt(now: datetime) -> float:
    """Seconds until the next attempt of the only delivery."""
    return float((only()["next_attempt_at"] - now).total_seconds())


# Telling


def test_what_is_told_is_stored_for_every_endpoint_that_wants_it(now: datetime) -> None:
    wants = {"all": None, "low": ["balance.low"], "lots": ["lot.expired", "lot.expiring"]}
    for name, events in wants.items():
        endpoint("https://app.example/hook", now, id=name, events=events)
    say(now=now)
    assert sorted(it["endpoint"] for it in shown()) == ["all", "low"]
    assert len({it["message_id"] for it in shown()}) == 1


def test_what_nobody_wants_is_not_stored(now: datetime) -> None:
    endpoint("https://app.example/hook", now, events=["lot.expired"])
    endpoint("https://app.example/hook", now, slug="songs")
    say(now=now)
    assert database.read("SELECT count(*) FROM outbox_message") == [(0,)]
    assert is_due(now=now) is False


def test_saying_nothing_asks_the_database_nothing(now: datetime) -> None:
    emit(None, [], now=now)  # type: ignore[arg-type]


def test_what_is_rolled_back_is_not_told(now: datetime) -> None:
    endpoint("https://app.example/hook", now)

    def fail(conn: Any) -> None:
        emit(conn, [message()], now=now)
        raise ValueError

    with pytest.raises(ValueError):
        database.transaction(fail)
    assert shown() == []


def test_a_key_is_told_once_in_its_app(now: datetime) -> None:
    for slug in ("ai-services", "songs"):
        endpoint("https://app.example/hook", now, slug=slug)
    for _ in range(2):
        say(message(key="k"), message(key="k"), message(slug="songs", key="k"), now=now)
    assert (len(shown()), len(shown("songs"))) == (1, 1)


def test_an_endpoint_that_is_made_is_heard_at_once_and_one_that_is_deleted_no_more(now: datetime) -> None:
    it = endpoint("https://app.example/hook", now)
    say(now=now)
    endpoints.delete(app(), it["id"], now=now)
    say(now=now)
    assert [(each["state"], each["error"]) for each in shown()] == [("failed", "the endpoint was deleted")]


def test_a_purchase_is_told_once_and_a_dead_event_too(now: datetime) -> None:
    endpoint("https://app.example/hook", now, events=["payment.settled", "event.dead"])
    session = paid_session("ai-services", ADA, "starter")
    deliver("ai-services", event("checkout.session.completed", session, created=now), now=now)
    deliver("ai-services", event("checkout.session.async_payment_succeeded", session, created=now), now=now)
    unknown = paid_session("ai-services", BO, "no-such-pack", number="2")
    deliver("ai-services", event("checkout.session.completed", unknown, created=now), now=now)
    dead, settled = [it["payload"]["data"] for it in shown()]
    assert [it["type"] for it in shown()] == ["event.dead", "payment.settled"]
    assert (settled["customer"], settled["pack"], settled["units"]) == (ADA, "starter", 100)
    assert settled["money"] == {"amount": "10.00", "currency": "usd"}
    assert dead["error"] == event_states("ai-services")[2][1]


def test_a_period_that_is_paid_is_told_once_with_its_grant(now: datetime) -> None:
    endpoint("https://app.example/hook", now, slug="songs", events=["payment.settled", "grant.monthly"])
    terms = {"start": now, "end": now + timedelta(days=31), "number": "0", "reason": "subscription_create"}
    paid = invoice("songs", ADA, "pro", **terms)
    deliver("songs", event("invoice.paid", paid, created=now), now=now)
    deliver("songs", event("invoice.paid", paid, created=now), now=now)
    granted, settled = [it["payload"]["data"] for it in shown("songs")]
    assert [it["type"] for it in shown("songs")] == ["grant.monthly", "payment.settled"]
    assert (settled["plan"], settled["subscription"]) == ("pro", granted["subscription"])
    assert (granted["plan"], granted["cycle"], granted["units"]) == ("pro", 0, app("songs").plans["pro"].units)


def test_a_payment_from_before_there_was_an_endpoint_is_not_told_when_its_event_is_replayed(now: datetime) -> None:
    terms = {"start": now, "end": now + timedelta(days=31), "number": "0", "reason": "subscription_create"}
    deliver("songs", event("invoice.paid", invoice("songs", ADA, "pro", **terms), created=now), now=now)
    endpoint("https://app.example/hook", now, slug="songs")
    deliver("songs", event("invoice.paid", invoice("songs", ADA, "pro", **terms), created=now), now=now)
    assert shown("songs") == []


# Delivering


def test_a_delivery_is_verified_by_the_public_package(now: datetime, receiver: Receiver) -> None:
    it = endpoint(receiver.url, now)
    say(now=now)
    assert is_due(now=now) is True
    assert send(now) == 1
    data = {"app": "ai-services", "customer": ADA, "balance": 5}
    assert receiver.verified(it["secret"]) == {
        "type": "balance.low",
        "timestamp": "2026-03-10T12:00:00Z",
        "data": data,
    }
    assert receiver.came[0][0]["content-type"] == "application/json"
    delivered = only()
    assert (delivered["state"], delivered["attempts"], delivered["status_code"]) == ("delivered", 1, 204)
    assert delivered["message_id"] == receiver.ids[0]
    assert (is_due(now=now), send(now)) == (False, 0)


def test_a_body_that_was_changed_or_another_secret_does_not_verify(now: datetime, receiver: Receiver) -> None:
    it = endpoint(receiver.url, now)
    say(now=now)
    send(now)
    headers, body = receiver.came[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(it["secret"]).verify(body.replace(b"5", b"6"), headers)
    other = endpoint("https://app.example/hook", now)
    with pytest.raises(WebhookVerificationError):
        Webhook(other["secret"]).verify(body, headers)


def test_a_failure_is_tried_again_under_the_same_id_after_longer_and_longer_waits(
    now: datetime, receiver: Receiver
) -> None:
    receiver.answer = 500
    endpoint(receiver.url, now)
    say(now=now)
    for number, wait in enumerate(sender.RETRY_AFTER, 1):
        assert send(now) == 1
        it = only()
        assert (it["state"], it["attempts"], it["status_code"]) == ("pending", number, 500)
        assert wait.total_seconds() * 0.89 < next_attempt(now) < wait.total_seconds() * 1.11 + 1
        assert send(it["next_attempt_at"] - timedelta(seconds=2)) == 0
        now = it["next_attempt_at"]
    assert send(now) == 1
    assert (only()["state"], only()["error"], only()["next_attempt_at"]) == (
        "failed",
        "the endpoint returned 500",
        None,
    )
    assert len(set(receiver.ids)) == 1
    assert timedelta(days=3) < sum(sender.RETRY_AFTER, timedelta(0)) < timedelta(days=4)


def test_the_clock_of_a_retry_is_signed_afresh(now: datetime, receiver: Receiver) -> None:
    receiver.answer = 500
    it = endpoint(receiver.url, now)
    say(now=now)
    sender.deliver_due(now=now, wall=lambda: time.time() - 3600)
    receiver.answer = 204
    send(now + timedelta(days=1))
    with pytest.raises(WebhookVerificationError):
        receiver.verified(it["secret"], 0)
    assert receiver.verified(it["secret"], 1)["type"] == "balance.low"
    assert only()["error"] is None


def test_a_redirect_is_a_failure_and_is_not_followed(now: datetime, receiver: Receiver) -> None:
    def redirect(it: Receiver, request: BaseHTTPRequestHandler) -> None:
        request.send_response(307)
        request.send_header("Location", receiver.url)
        request.end_headers()

    with receiving(redirect) as other:
        endpoint(other.url, now)
        say(now=now)
        send(now)
    assert (only()["state"], only()["status_code"], receiver.came) == ("pending", 307, [])


def test_an_endpoint_that_is_gone_is_disabled_at_once(now: datetime, receiver: Receiver) -> None:
    receiver.answer = 410
    endpoint(receiver.url, now)
    say(now=now)
    send(now)
    assert (the_endpoint()["status"], the_endpoint()["disabled_reason"]) == (
        "disabled",
        "the endpoint returned 410 Gone",
    )
    assert only()["state"] == "failed"
    say(now=now)
    assert len(shown()) == 1


def test_an_endpoint_is_disabled_when_every_delivery_has_failed_for_five_days(
    now: datetime, receiver: Receiver
) -> None:
    receiver.answer = 500
    it = endpoint(receiver.url, now)
    began = now
    while now - began < timedelta(days=5):
        assert the_endpoint()["status"] == "enabled"
        say(now=now)
        send(now)
        now += timedelta(hours=18)
    send(now)
    assert the_endpoint()["status"] == "disabled"
    assert the_endpoint()["disabled_reason"].startswith("every delivery has failed since 2026-03-10T12:00:")
    assert {each["state"] for each in shown()} == {"failed"}
    assert is_due(now=now + timedelta(days=9)) is False
    endpoints.enable(app(), it["id"], now=now)
    receiver.answer = 204
    say(now=now)
    send(now)
    assert shown()[0]["state"] == "delivered"
    assert the_endpoint()["disabled_reason"] is None


def test_one_success_in_five_days_keeps_an_endpoint(now: datetime, receiver: Receiver) -> None:
    endpoint(receiver.url, now)
    for day in range(12):
        receiver.answer = 204 if day % 4 == 3 else 500
        say(now=now)
        send(now)
        now += timedelta(days=1)
    assert the_endpoint()["status"] == "enabled"


def test_a_failure_after_a_long_silence_does_not_disable(now: datetime, receiver: Receiver) -> None:
    receiver.answer = 500
    endpoint(receiver.url, now)
    say(now=now)
    send(now)
    send(now + timedelta(days=30))
    assert (the_endpoint()["status"], the_endpoint()["failing_since"].day) == ("enabled", 9)


def test_while_a_secret_is_rotated_either_verifies_and_after_a_day_the_new_one_alone(
    now: datetime, receiver: Receiver
) -> None:
    old = endpoint(receiver.url, now)
    new = endpoints.rotate(app(), old["id"], now=now)
    assert new["secret"] != old["secret"]
    say(now=now)
    send(now)
    assert receiver.came[0][0]["webhook-signature"].count("v1,") == 2
    for secret in (old["secret"], new["secret"]):
        assert receiver.verified(secret)["type"] == "balance.low"
    say(now=now)
    send(now + timedelta(hours=24))
    assert receiver.verified(new["secret"])
    with pytest.raises(WebhookVerificationError):
        receiver.verified(old["secret"])


def test_a_delivery_is_replayed_under_its_own_id_whatever_became_of_it(now: datetime, receiver: Receiver) -> None:
    endpoint(receiver.url, now)
    say(now=now)
    send(now)
    again = endpoints.replay(app(), only()["id"], now=now)
    assert (again["state"], again["attempts"]) == ("pending", 0)
    send(now)
    assert only()["state"] == "delivered"
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    with pytest.raises(NotFound):
        endpoints.replay(app("songs"), only()["id"], now=now)
    assert only()["state"] == "delivered"


def test_a_delivery_to_a_disabled_or_deleted_endpoint_is_not_replayed(now: datetime, receiver: Receiver) -> None:
    receiver.answer = 410
    it = endpoint(receiver.url, now)
    say(now=now)
    send(now)
    with pytest.raises(Conflict, match="disabled"):
        endpoints.replay(app(), only()["id"], now=now)
    endpoints.delete(app(), it["id"], now=now)
    with pytest.raises(Conflict, match="deleted"):
        endpoints.replay(app(), only()["id"], now=now)


# Trouble


def test_what_a_killed_sender_had_taken_is_sent_again_under_the_same_id(now: datetime, receiver: Receiver) -> None:
    endpoint(receiver.url, now)
    say(now=now)
    program = (
        "from datetime import datetime; from jobs.outbox import sender; from models import database;"
        "from settings import settings; database.bind(settings.database_url);"
        f"sender.deliver_due(now=datetime.fromisoformat({now.isoformat()!r}))"
    )
    environ = {**os.environ, "SCRIP_CRASH_AT": "outbox-before-record"}
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (len(receiver.came), only()["state"]) == (1, "pending")
    assert send(now) == 0
    assert send(now + sender.LEASE + timedelta(seconds=30)) == 1
    assert (only()["state"], only()["attempts"]) == ("delivered", 2)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 2


def test_a_round_that_is_interrupted_writes_what_was_sent_before(now: datetime, receiver: Receiver) -> None:
    endpoint(receiver.url, now)
    say(message(ADA), message(BO), now=now)
    seconds = iter([time.time()])

    def wall() -> float:
        return next(seconds)

    with pytest.raises(StopIteration):
        sender.deliver_due(now=now, wall=wall)
    assert [(it["customer"], it["state"]) for it in shown()] == [(BO, "pending"), (ADA, "delivered")]
    assert len(receiver.came) == 1


def test_a_sender_that_was_away_for_longer_than_its_lease_changes_nothing_unless_it_succeeded(now: datetime) -> None:
    endpoint("https://app.example/hook", now)
    say(now=now)
    options = {"failing": False, "each": 8, "limit": 16}
    later = now + sender.LEASE
    (late,) = queue.claim(now=now, until=later, **options)
    (taken,) = queue.claim(now=later, until=later + sender.LEASE, **options)
    assert (late.id, late.message_id, taken.attempts) == (taken.id, taken.message_id, 2)

    def write(status_code: int) -> None:
        outcome = sender.classify(late, status_code, None, now=later)
        database.transaction(lambda conn: queue.record(conn, [outcome], now=later))

    write(500)
    assert (only()["status_code"], only()["next_attempt_at"]) == (None, later + sender.LEASE)
    write(204)
    assert only()["state"] == "delivered"


def test_one_endpoint_that_hangs_does_not_hold_up_the_others(now: datetime, receiver: Receiver) -> None:
    with receiving(hang) as slow, ThreadPoolExecutor(1) as pool:
        endpoint(slow.url, now, id="slow")
        endpoint(receiver.url, now, id="quick")
        say(*[message() for _ in range(100)], now=now)

        def work() -> int:
            try:
                return send(now)
            finally:
                database.release()

        sending = pool.submit(work)
        wait_until(lambda: len(receiver.came) == 100, 9)
        assert not sending.done()
        assert len(slow.came) <= sender.AT_ONCE_EACH
        assert len(shown(endpoint="quick", state="delivered", limit=200)) >= 100 - sender.AT_ONCE_EACH
        slow.free.set()
        assert sending.result(30) == 200


def test_many_endpoints_that_hang_leave_places_for_one_that_works(now: datetime, receiver: Receiver) -> None:
    with receiving(hang) as slow, ThreadPoolExecutor(1) as pool:
        for number in range(sender.THREADS * 2):
            endpoint(slow.url, now, id=f"slow-{number}")
        database.write("UPDATE endpoint SET failing_since = %s, last_failed_at = %s", [now, now])
        endpoint(receiver.url, now, id="quick")
        say(*[message() for _ in range(20)], now=now)

        def work() -> int:
            try:
                return send(now)
            finally:
                database.release()

        sending = pool.submit(work)
        wait_until(lambda: len(receiver.came) == 20, 9)
        wait_until(lambda: len(slow.came) == sender.THREADS_FOR_FAILING, 9)
        database.write("UPDATE endpoint SET events = '{balance.low}' WHERE external_id <> 'quick'")
        say(Message("ai-services", "lot.expired", ADA, {}), now=now)
        wait_until(lambda: len(receiver.came) == 21, 5)
        slow.free.set()
        assert sending.result(30) == 21 + 20 * sender.THREADS * 2


def test_who_trickles_is_cut_off(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def trickle(it: Receiver, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not it.free.wait(0.05):
            request.wfile.write(b"X: y\r\n")

    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.5)
    with receiving(trickle) as slow:
        endpoint(slow.url, now)
        say(now=now)
        assert send(now) == 1
        assert (only()["state"], only()["error"]) == ("pending", http.TOO_SLOW)


def test_an_answer_that_is_none_is_a_failure_that_can_be_stored(now: datetime) -> None:
    def babble(it: Receiver, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"\x00\xff\n\x1b nonsense " * 100)

    with receiving(babble) as other:
        endpoint(other.url, now)
        say(now=now)
        send(now)
    assert (only()["state"], only()["status_code"]) == ("pending", None)
    assert only()["error"].startswith("no connection: ?")


def test_nobody_there_is_a_failure_that_says_so(now: datetime) -> None:
    endpoint("http://127.0.0.1:1/hook", now)
    say(now=now)
    send(now)
    assert (only()["state"], only()["error"]) == ("pending", "no connection: Connection refused")


def test_senders_at_once_send_each_delivery_once(now: datetime, receiver: Receiver) -> None:
    endpoint(receiver.url, now)
    say(*[message() for _ in range(200)], now=now)

    def work(_: int) -> int:
        try:
            return send(now)
        finally:
            database.release()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 200
    assert len(set(receiver.ids)) == len(receiver.ids) == 200


def test_claims_at_once_take_each_delivery_once(now: datetime) -> None:
    for number in range(4):
        endpoint("https://app.example/hook", now, id=str(number))
    say(*[message() for _ in range(200)], now=now)
    together = Barrier(6)

    def claim(_: int) -> list[int]:
        taken = []
        for _ in range(20):
            together.wait(30)
            until_then = now + sender.LEASE
            taken += queue.claim(now=now, until=until_then, failing=False, each=800, limit=16)
        database.release()
        return [it.id for it in taken]

    with ThreadPoolExecutor(6) as pool:
        taken = [each for many in pool.map(claim, range(6)) for each in many]
    assert len(set(taken)) == len(taken) > 0


def test_what_is_told_to_an_endpoint_as_it_is_deleted_is_given_up(now: datetime) -> None:
    endpoint("https://app.example/hook", now)
    say(now=now)
    database.write("UPDATE endpoint SET state = 'deleted'")
    assert is_due(now=now) is True
    assert send(now) == 0
    assert (only()["state"], only()["error"], is_due(now=now)) == ("failed", queue.NOT_ENABLED, False)


def test_old_messages_are_forgotten_with_their_deliveries_and_pending_ones_kept(
    now: datetime, receiver: Receiver
) -> None:
    endpoint(receiver.url, now)
    say(now=now)
    send(now)
    say(now=now)
    assert maintenance.prune(now=now + timedelta(days=89)).counts["messages"] == 0
    assert maintenance.prune(now=now + timedelta(days=91)).counts["messages"] == 1
    assert [it["state"] for it in shown()] == ["pending"]
    assert database.read("SELECT count(*) FROM outbox_delivery") == [(1,)]


def test_deliveries_are_listed_newest_first_by_what_is_asked_for(now: datetime) -> None:
    endpoint("https://app.example/hook", now, id="a")
    endpoint("https://app.example/hook", now, id="b", events=["lot.expired"])
    expired = Message("ai-services", "lot.expired", BO, {})
    say(message(ADA), expired, message(CY), now=now)
    assert [(it["endpoint"], it["customer"]) for it in shown()] == [("a", CY), ("b", BO), ("a", BO), ("a", ADA)]
    assert [it["customer"] for it in shown(customer=BO, endpoint="b")] == [BO]
    assert [it["customer"] for it in shown(type="balance.low")] == [CY, ADA]
    first, cursor = deliveries.list_page("ai-services", limit=3)
    rest, end = deliveries.list_page("ai-services", limit=3, cursor=cursor)
    assert [it["id"] for it in first + rest] == [it["id"] for it in shown()]
    assert end is None
    assert shown("songs") == []
