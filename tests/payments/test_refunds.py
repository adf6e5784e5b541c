"""Refunds from our side: asked for once, told by the provider's webhook, refused where it was sold so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs.inbox import events
from jobs.payments import refunds as refund_payments
from jobs.providers.paypal import client as paypal_client
from jobs.providers.stripe import client as stripe_client
from jobs.reconciliation import run
from models import clock, database
from models.access import keys
from models.errors import Conflict, Invalid, NotFound, ProviderAway
from runtime import crashpoints
from tests.support.cast import ADA, BO, app, balance, entries
from tests.support.providers.sandboxes import Provider
from tests.support.providers.shop import begin, bought, open_shop, repack
from tests.support.web_calls import KEY, OTHER_KEY, bearer, fields, problem, send

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


@pytest.fixture
def now() -> datetime:
    """The sandbox's own time: its provider goes by it."""
    return clock.now().replace(microsecond=0)


@pytest.fixture
def provider(tmp_path: Path, db: str) -> Iterator[Provider]:
    with open_shop(tmp_path) as running:
        yield running


def hear(slug: str = APP) -> None:
    """All that the provider has told by now arrives."""
    for _ in run.chunks(now=clock.now(), lookback=timedelta(days=2), app=slug):
        pass


def paid(provider: Provider, now: datetime, slug: str = APP, **more: Any) -> int:
    """A paid pack or plan that we know of; returns our payment."""
    bought(provider, now=now, slug=slug, **more)
    hear(slug)
    ((payment,),) = database.read("SELECT max(id) FROM payment")
    return int(payment)


def ask(payment: int, now: datetime, slug: str = APP, **body: Any) -> tuple[dict[str, Any], bool]:
    return refund_payments.refund(app(slug), payment, {"id": "r-1", "reason": "it did not help", **body}, now=now)


def refunds(provider: Provider, slug: str = APP) -> list[dict[str, Any]]:
    return [it.to_dict(for_json=True) for it in provider.stripe(slug).v1.refunds.list().data]


def test_a_refund_is_asked_for_and_the_units_go_back_with_its_webhook(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    answer, is_new = ask(payment, now)
    assert is_new
    (refund,) = refunds(provider)
    assert answer == {
        "id": "r-1",
        "payment": payment,
        "money": {"amount": "10.00", "currency": "usd"},
        "state": "succeeded",
        "reference": refund["id"],
    }
    assert refund["metadata"]["refund"] == "r-1"
    assert balance(ADA) == 100, "nothing is taken back before the provider tells of it"
    hear()
    assert balance(ADA) == 0
    assert database.read("SELECT state FROM payment") == [("refunded",)]


def test_a_part_takes_back_its_part(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    ask(payment, now, amount="2.50")
    hear()
    assert entries(ADA) == [("purchase", 100), ("clawback", -25)]
    ask(payment, now, id="r-2")
    hear()
    assert balance(ADA) == 0
    assert sorted(it["amount"] for it in refunds(provider)) == [250, 750]


def test_the_same_request_again_is_the_same_refund(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    first, _ = ask(payment, now, amount="2.50")
    assert ask(payment, now, amount="2.50") == (first, False)
    hear()
    assert ask(payment, now, amount="2.50") == (first, False)
    assert len(refunds(provider)) == 1


@pytest.mark.parametrize("change", [{"amount": "3.00"}, {"reason": "another"}, {"amount": None}])
def test_other_content_under_the_same_id_is_a_conflict(
    change: dict[str, Any], provider: Provider, now: datetime
) -> None:
    payment = paid(provider, now)
    ask(payment, now, amount="2.50")
    with pytest.raises(Conflict):
        ask(payment, now, **{"amount": "2.50", **change})
    assert len(refunds(provider)) == 1


@pytest.mark.parametrize("point", ["refund-stored", "refund-asked"])
def test_after_a_crash_the_same_request_refunds_once(
    point: str, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == point:
            raise Killed

    payment = paid(provider, now)
    monkeypatch.setattr(refund_payments, "crashpoint", kill)
    with pytest.raises(Killed):
        ask(payment, now)
    monkeypatch.setattr(refund_payments, "crashpoint", crashpoints.crashpoint)
    hear()  # the webhook may well be here before the second try
    answer, is_new = ask(payment, now)
    assert (is_new, answer["money"]) == (True, {"amount": "10.00", "currency": "usd"})
    assert len(refunds(provider)) == 1


def test_a_pack_sold_as_not_refundable_is_not_refunded_by_us(provider: Provider, now: datetime) -> None:
    repack(APP, "starter", refundable=False)
    payment = paid(provider, now)
    repack(APP, "starter", refundable=True)
    with pytest.raises(Conflict, match="not refundable"):
        ask(payment, now)
    assert refunds(provider) == []


def test_what_was_sold_as_refundable_stays_so(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    repack(APP, "starter", refundable=False)
    assert ask(payment, now)[1] is True


@pytest.mark.parametrize("amount", ["10.01", "1000000.00"])
def test_beyond_what_was_paid_is_a_conflict(amount: str, provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    with pytest.raises(Conflict, match="left to refund"):
        ask(payment, now, amount=amount)


def test_beyond_what_is_left_is_a_conflict_even_if_only_the_provider_knows(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    ask(payment, now, amount="8.00")
    with pytest.raises(Conflict, match="Stripe"):
        ask(payment, now, id="r-2", amount="8.00")
    assert database.read("SELECT external_id FROM refund_request") == [("r-1",)]
    assert ask(payment, now, id="r-2", amount="2.00")[1] is True


def test_a_payment_that_has_not_come_is_not_refunded(provider: Provider, now: datetime) -> None:
    session = begin(now=now)["url"].rpartition("/")[2]
    provider.pay(session, "later")
    hear()
    ((payment,),) = database.read("SELECT id FROM payment")
    with pytest.raises(Conflict, match="pending"):
        ask(payment, now)


@pytest.mark.parametrize("amount", ["", "0", "0.00", "-1.00", "1.001", "1,00", "1e2", "NaN", "ten"])
def test_an_amount_that_is_none_is_refused(amount: str, provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    with pytest.raises(Invalid) as refusal:
        ask(payment, now, amount=amount)
    assert refusal.value.errors[0][0] == "amount"


def test_another_apps_payment_does_not_exist(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    with pytest.raises(NotFound):
        ask(payment, now, slug="songs")


def test_a_plans_payment_is_found_by_its_invoice(provider: Provider, now: datetime) -> None:
    payment = paid(provider, now, slug="songs", plan="pro")
    assert balance(ADA, "songs") == 1000
    database.write("UPDATE payment SET aliases = '{}', reference = (SELECT x FROM unnest(aliases || reference) x"
                 " WHERE x LIKE 'in_%%')")  # fmt: skip
    ask(payment, now, slug="songs")
    assert len(refunds(provider, "songs")) == 1


def captured(provider: Provider, now: datetime) -> int:
    """A payment of two sessions by PayPal."""
    answer = begin(now=now, slug="echomind", pack="session", quantity=2)
    requests.post(answer["url"], data={"how": "COMPLETED"}, allow_redirects=False, timeout=30)
    hear("echomind")
    hear("echomind")
    ((payment,),) = database.read("SELECT id FROM payment")
    return int(payment)


def test_a_capture_of_paypal_is_refunded_there(provider: Provider, now: datetime) -> None:
    payment = captured(provider, now)
    ((capture,),) = database.read("SELECT reference FROM payment")
    told, _ = ask(payment, now, slug="echomind", amount="5.99")
    assert told["money"] == {"amount": "5.99", "currency": "usd"}
    assert paypal_client.client(app("echomind")).get_capture(capture)["status"] == "PARTIALLY_REFUNDED"
    hear("echomind")
    while events.apply_pending(now=now):
        pass
    assert balance(ADA, "echomind") == 1


@pytest.mark.parametrize(
    ("theirs", "ours"), [("requires_action", "pending"), ("canceled", "failed"), ("succeeded", "succeeded")]
)
def test_stripes_words_for_a_refunds_state_become_ours(
    theirs: str, ours: str, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = paid(provider, now)
    made = {"id": "re_1", "status": theirs, "amount": 1000}
    monkeypatch.setattr(stripe_client, "call", lambda *_: made)
    assert ask(payment, now)[0]["state"] == ours


@pytest.mark.parametrize(
    ("theirs", "ours"), [("COMPLETED", "succeeded"), ("PENDING", "pending"), ("CANCELLED", "failed"), (None, "pending")]
)
def test_paypals_words_for_a_refunds_state_become_ours(
    theirs: str | None, ours: str, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = captured(provider, now)
    monkeypatch.setattr(paypal_client.PayPal, "refund_capture", lambda *_, **__: {"id": "R1", "status": theirs})
    assert ask(payment, now, slug="echomind")[0]["state"] == ours


# --- the operation log


def log(client: Any, **filters: str) -> list[dict[str, Any]]:
    answer = client.get("/v1/operations", query_string={"operation": "PAYMENT_REVERSAL", **filters}, headers=KEY)
    lines: list[dict[str, Any]] = answer.json["operations"]
    return [line for line in lines if not line["id"].startswith("event:")]


def test_a_refund_is_in_the_operation_log_with_who_asked_and_why(client, provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    key = keys.create(APP, ["admin"], "support desk", now=now)
    body = {"id": "r-1", "amount": "5.00", "reason": "it did not help"}
    answer = send(client, f"/v1/payments/{payment}/refund", body, key=bearer(key)).json
    success, started = log(client, customer=ADA)
    assert (started["status"], success["status"]) == ("STARTED", "SUCCESS")
    asked = {
        "key": "payment-refund:r-1",
        "id": "r-1",
        "payment": payment,
        "amount_minor": 500,
        "reason": "it did not help",
        "actor": "support desk",
    }
    assert started["details"] == asked
    done = {"state": "succeeded", "money": answer["money"], "reference": answer["reference"]}
    assert success["details"] == {**asked, **done}
    send(client, f"/v1/payments/{payment}/refund", body, key=bearer(key))
    assert len(log(client)) == 2, "the same request again asks for nothing"
    assert log(client, customer=BO) == []


@pytest.mark.parametrize(("name", "actor"), [("", "key 1"), ("nightly job", "nightly job")])
def test_a_key_without_a_name_is_named_by_its_number(
    name: str, actor: str, client, provider: Provider, now: datetime
) -> None:
    payment = paid(provider, now)
    key = keys.create(APP, ["admin"], name, now=now)
    send(client, f"/v1/payments/{payment}/refund", {"id": "r-1", "reason": "too much", "amount": "99"}, key=bearer(key))
    assert {line["details"]["actor"] for line in log(client)} == {actor}


def test_a_refund_that_got_no_answer_is_started_and_its_attempt_is_an_error(
    client, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ProviderAway("no answer")

    payment = paid(provider, now)
    with monkeypatch.context() as patched:
        patched.setitem(refund_payments.REFUNDERS, "stripe", away)
        with pytest.raises(ProviderAway):
            ask(payment, now)
    assert sorted(line["status"] for line in log(client)) == ["ERROR", "STARTED", "STARTED"]
    ask(payment, now)
    assert sorted(line["status"] for line in log(client)) == ["ERROR", "STARTED", "STARTED", "SUCCESS"]
    assert {line["details"]["key"] for line in log(client)} == {"payment-refund:r-1"}


def test_a_refund_that_the_provider_could_not_make_is_an_error(
    client, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = paid(provider, now)
    monkeypatch.setitem(refund_payments.REFUNDERS, "stripe", lambda *_: ("re_1", "failed", 1000))
    ask(payment, now)
    failed, started = log(client)
    assert (started["status"], failed["status"]) == ("STARTED", "ERROR")
    assert failed["details"]["reference"] == "re_1"
    assert "failed" in failed["error"]["message"]


# --- over HTTP


def test_over_http_it_is_202_and_then_200(client, provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    body = {"id": "r-1", "amount": "5.00", "reason": "it did not help"}
    answer = send(client, f"/v1/payments/{payment}/refund", body)
    assert answer.status_code == 202
    again = send(client, f"/v1/payments/{payment}/refund", body)
    assert (again.status_code, again.json) == (200, answer.json)
    assert problem(send(client, f"/v1/payments/{payment}/refund", {**body, "amount": "6.00"}), 409) == "conflict"
    assert problem(send(client, f"/v1/payments/{payment}/refund", body, key=OTHER_KEY), 404) == "not-found"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"amount": 5}, ["amount"]),
        ({"amount": "1.001"}, ["amount"]),
        ({"reason": ""}, ["reason"]),
        ({"id": "a/b"}, ["id"]),
    ],
    ids=str,
)
def test_bad_content_is_named(client, provider: Provider, now: datetime, change: Any, named: list[str]) -> None:
    payment = paid(provider, now)
    body = {"id": "r-1", "reason": "it did not help", **change}
    assert fields(send(client, f"/v1/payments/{payment}/refund", body)) == named
    assert refunds(provider) == []


def test_a_provider_that_is_away_is_503_and_the_same_again_goes_on(
    client, provider: Provider, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ProviderAway("no answer")

    payment = paid(provider, now)
    body = {"id": "r-1", "reason": "it did not help"}
    with monkeypatch.context() as patched:
        patched.setitem(refund_payments.REFUNDERS, "stripe", away)
        assert problem(send(client, f"/v1/payments/{payment}/refund", body), 503) == "provider-away"
    assert send(client, f"/v1/payments/{payment}/refund", body).status_code == 202


def test_a_refused_refund_is_in_the_operation_log(client, provider: Provider, now: datetime) -> None:
    payment = paid(provider, now)
    send(client, f"/v1/payments/{payment}/refund", {"id": "r-1", "amount": "99.00", "reason": "too much"})
    lines = client.get("/v1/operations?status=ERROR", headers=KEY).json["operations"]
    assert [(line["customer"], line["details"]["amount"]) for line in lines] == [(ADA, "99.00")]
