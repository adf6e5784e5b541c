"""The events of a subscription's life as a receiver gets them, signed, and files of an earlier version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from sandbox.store.store import Store
from settings import SANDBOX_WEBHOOK_SECRET
from tests.sandbox.billing.bills import decline_next, items, line, seats, subscribe
from tests.sandbox.test_delivery import Scrip
from tests.sandbox.test_stripe import APP, pass_time
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider
from tests.support.waiting import wait_until

UPGRADE = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}


@pytest.fixture
def receiver() -> Iterator[Scrip]:
    scrip = Scrip()
    yield scrip
    scrip.server.shutdown()
    scrip.server.server_close()


@pytest.fixture
def sent(db: str, receiver: Scrip) -> Iterator[Provider]:
    """A sandbox that sends its events to the receiver."""
    with data_folder() as folder, running_provider(folder, receiver.url) as running:
        yield running


@pytest.mark.parametrize("shape", ["new", "old"])
def test_an_upgrade_arrives_signed_in_order_and_in_the_accounts_shape(sent, receiver, shape):
    v1 = sent.stripe(APP, max_network_retries=0).v1
    sent.control(APP, shape=shape)
    subscription = subscribe(sent, v1, line(quantity=2))
    wait_until(lambda: len(receiver.got) == 10)
    seats(v1, subscription, 3, **UPGRADE)
    wait_until(lambda: len(receiver.got) == 18)
    for path, headers, body in receiver.got:
        assert path == f"/webhooks/stripe/{APP}"
        assert stripe.WebhookSignature.verify_header(
            body.decode(), headers["Stripe-Signature"], SANDBOX_WEBHOOK_SECRET, 300
        )
    assert receiver.types()[10:] == [
        *("invoice.created", "invoice.finalized", "customer.subscription.updated"),
        *("payment_intent.succeeded", "charge.succeeded"),
        *("invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid"),
    ]
    by_type: dict[str, Any] = {json.loads(body)["type"]: json.loads(body)["data"] for _, _, body in receiver.got}
    updated = by_type["customer.subscription.updated"]
    assert updated["previous_attributes"]["items"]["data"][0]["quantity"] == 2
    invoice = by_type["invoice.paid"]["object"]
    named = invoice["subscription"] if shape == "old" else invoice["parent"]["subscription_details"]["subscription"]
    assert named == subscription.id
    back, rest = invoice["lines"]["data"]
    proration = back["proration"] if shape == "old" else back["parent"]["subscription_item_details"]["proration"]
    assert (proration, back["quantity"], rest["quantity"]) == (True, 2, 3)


def test_a_declined_upgrade_arrives_as_open_bill_and_pending_update(sent, receiver):
    v1 = sent.stripe(APP, max_network_retries=0).v1
    subscription = subscribe(sent, v1)
    decline_next(sent, APP, subscription)
    seats(v1, subscription, 3, **UPGRADE)
    wait_until(lambda: receiver.types()[-1:] == ["customer.subscription.updated"])
    bodies = [json.loads(body) for _, _, body in receiver.got]
    failed = next(body for body in bodies if body["type"] == "invoice.payment_failed")["data"]["object"]
    assert (failed["status"], failed["hosted_invoice_url"]) == ("open", f"{sent.url}/invoice/{failed['id']}")
    pending = bodies[-1]["data"]["object"]["pending_update"]
    assert pending["subscription_items"][0]["quantity"] == 3
    assert bodies[-1]["data"]["previous_attributes"]["pending_update"] is None


# --- files of an earlier version


OLD = ("pending_update", "schedule", "trial_settings", "_has_card")


def test_a_file_of_an_earlier_version_is_upgraded_once(db):
    with data_folder() as folder:
        with running_provider(folder) as first:
            v1 = first.stripe(APP).v1
            subscription = subscribe(first, v1)
        store = Store(folder / "sandbox.db")
        stored = store.find(APP, "subscription", subscription.id) or {}
        (item,) = stored["items"]["data"]
        stored = {**{name: value for name, value in stored.items() if name not in OLD}, "_next": item.pop("_next")}
        store.save(APP, "subscription", stored, stored["created"])
        store.rows("PRAGMA user_version = 0")
        store.close()
        with running_provider(folder) as second:
            pass_time(second, days=32)
            v1 = second.stripe(APP).v1
            renewed = v1.subscriptions.retrieve(subscription.id)
            assert items(renewed)[0].current_period_start == items(subscription)[0].current_period_end
            assert len(v1.invoices.list().data) == 2
            assert second.sandbox.store.rows("PRAGMA user_version") == [(1,)]


def test_an_object_that_cannot_be_processed_does_not_hold_up_the_others(provider, v1):
    broken, whole = subscribe(provider, v1), subscribe(provider, v1)
    stored = provider.sandbox.store.find(APP, "subscription", broken.id) or {}
    del stored["billing_cycle_anchor"]
    provider.sandbox.store.save(APP, "subscription", stored, stored["created"])
    with pytest.raises(KeyError):
        pass_time(provider, days=32)
    assert len(v1.invoices.list({"subscription": whole.id}).data) == 2
