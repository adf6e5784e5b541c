"""The sandbox's disputes: what has been charged back cannot be refunded as well, as at Stripe and at PayPal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe

from tests.sandbox.test_stripe import APP, bought, charge_of, told
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider

REFUNDS = ("Refund", "Refund that stays pending", "Refund that fails")


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        yield running


@pytest.fixture
def v1(provider: Provider) -> Any:
    return provider.stripe(APP, max_network_retries=0).v1


@pytest.fixture
def charge(provider: Provider, v1: Any) -> stripe.Charge:
    return charge_of(v1, bought(provider, v1))


def act(provider: Provider, action: str, id_: str, **more: str) -> dict[str, Any]:
    done: dict[str, Any] = provider.control(APP, action=action, id=id_, **more)["done"]
    return done


def refusal_of_refund(v1: Any, **named: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.refunds.create(named)
    return refusal.value


def buttons(provider: Provider) -> str:
    page = requests.get(f"{provider.url}/portal/{APP}", timeout=9)
    assert page.status_code == 200
    return page.text


def test_a_charge_with_an_open_dispute_cannot_be_refunded(provider, v1, charge):
    dispute = act(provider, "dispute", charge.id)
    assert not v1.disputes.retrieve(dispute["id"]).is_charge_refundable
    for named in ({"charge": charge.id}, {"payment_intent": charge.payment_intent, "amount": 1}):
        refusal = refusal_of_refund(v1, **named)
        assert (refusal.http_status, refusal.code) == (400, "charge_disputed")
        assert "charged back" in str(refusal.user_message)
    assert v1.refunds.list().data == []
    assert "refund.created" not in told(v1)


def test_nor_can_it_by_the_portal_or_a_program(provider, v1, charge):
    assert all(f">{label}</button>" in buttons(provider) for label in REFUNDS)
    act(provider, "dispute", charge.id)
    shown = buttons(provider)
    assert not any(f">{label}</button>" in shown for label in REFUNDS)
    assert "Not refundable while the dispute is open" in shown
    asked = {"app": APP, "action": "refund", "id": charge.id}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert (answer.status_code, "charged back" in answer.json()["error"]) == (400, True)


def test_a_dispute_that_is_won_lets_the_charge_be_refunded(provider, v1, charge):
    dispute = act(provider, "dispute", charge.id)
    act(provider, "win", dispute["id"])
    assert v1.disputes.retrieve(dispute["id"]).is_charge_refundable
    assert v1.refunds.create({"charge": charge.id}).status == "succeeded"


def test_a_dispute_that_is_lost_has_given_the_money_back_already(provider, v1, charge):
    act(provider, "lose", act(provider, "dispute", charge.id)["id"])
    assert refusal_of_refund(v1, charge=charge.id).code == "charge_disputed"
    assert "the dispute was lost" in buttons(provider)


def test_an_inquiry_lets_the_charge_be_refunded_and_a_whole_refund_ends_it(provider, v1, charge):
    inquiry = act(provider, "inquiry", charge.id)
    assert v1.disputes.retrieve(inquiry["id"]).is_charge_refundable
    v1.refunds.create({"charge": charge.id, "amount": 100})
    assert v1.disputes.retrieve(inquiry["id"]).status == "warning_needs_response"
    v1.refunds.create({"charge": charge.id})
    assert v1.disputes.retrieve(inquiry["id"]).status == "warning_closed"
    assert told(v1)[-1] == "charge.dispute.closed"


def test_an_inquiry_that_became_a_dispute_stands_in_the_way_of_a_refund(provider, v1, charge):
    act(provider, "escalate", act(provider, "inquiry", charge.id)["id"])
    assert refusal_of_refund(v1, charge=charge.id).code == "charge_disputed"


def test_a_dispute_is_about_what_has_not_been_refunded(provider, v1, charge):
    v1.refunds.create({"charge": charge.id, "amount": 100})
    assert act(provider, "dispute", charge.id)["amount"] == 399


@pytest.mark.parametrize("amount", ["5.00", "0", "-1"])
def test_a_dispute_is_about_money_that_was_paid(provider, charge, amount):
    asked = {"app": APP, "action": "dispute", "id": charge.id, "amount": amount}
    assert requests.post(f"{provider.url}/control", json=asked, timeout=9).status_code == 400


def test_a_charge_has_one_open_dispute_at_most(provider, v1, charge):
    act(provider, "dispute", charge.id)
    asked = {"app": APP, "action": "dispute", "id": charge.id}
    assert requests.post(f"{provider.url}/control", json=asked, timeout=9).status_code == 400
    assert len(v1.disputes.list().data) == 1


def test_what_is_refunded_whole_cannot_be_disputed(provider, v1, charge):
    v1.refunds.create({"charge": charge.id})
    for action in ("dispute", "inquiry"):
        asked = {"app": APP, "action": action, "id": charge.id}
        answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
        assert (answer.status_code, "it is fully refunded" in answer.json()["error"]) == (400, True)
    assert "Open a dispute" not in buttons(provider)
    assert v1.disputes.list().data == []


def test_a_dispute_is_about_no_more_than_what_is_left(provider, v1, charge):
    v1.refunds.create({"charge": charge.id, "amount": 100})
    asked = {"app": APP, "action": "dispute", "id": charge.id, "amount": "4.00"}
    answer = requests.post(f"{provider.url}/control", json=asked, timeout=9)
    assert (answer.status_code, "what is left of the charge (3.99 USD)" in answer.json()["error"]) == (400, True)
    assert act(provider, "dispute", charge.id, amount="3.99")["amount"] == 399


def test_an_inquiry_that_becomes_a_dispute_takes_what_has_not_been_refunded_meanwhile(provider, v1, charge):
    inquiry = act(provider, "inquiry", charge.id)
    v1.refunds.create({"charge": charge.id, "amount": 100})
    dispute = act(provider, "escalate", inquiry["id"])
    assert (dispute["amount"], dispute["balance_transactions"][0]["amount"]) == (399, -399)
