"""Credit notes: before payment they reduce what is due, after it they return money."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.billing.bills import SEAT, decline_next, events, invoices, subscribe, types_since
from tests.sandbox.test_stripe import APP, pass_time


def unpaid(provider, v1):
    subscription = subscribe(provider, v1)
    decline_next(provider, APP, subscription)
    pass_time(provider, days=32)
    return invoices(v1)[-1]


def test_a_credit_note_reduces_what_is_due(provider, v1):
    invoice = unpaid(provider, v1)
    before = events(v1)
    note = v1.credit_notes.create({"invoice": invoice.id, "amount": 500, "reason": "order_change", "memo": "sorry"})
    assert isinstance(note, stripe.CreditNote)
    assert (note.type, note.amount, note.pre_payment_amount, note.post_payment_amount) == ("pre_payment", 500, 500, 0)
    left = v1.invoices.retrieve(invoice.id)
    assert (left.total, left.amount_due, left.amount_remaining) == (SEAT, SEAT - 500, SEAT - 500)
    assert left.pre_payment_credit_notes_amount == 500
    assert types_since(v1, before) == ["credit_note.created", "invoice.updated"]
    assert v1.invoices.pay(invoice.id).amount_paid == SEAT - 500
    assert v1.charges.list().data[0].amount == SEAT - 500


def test_a_credit_note_over_all_of_it_pays_the_invoice(provider, v1):
    invoice = unpaid(provider, v1)
    v1.credit_notes.create({"invoice": invoice.id, "amount": SEAT})
    paid = v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 0)
    assert v1.subscriptions.list().data[0].status == "active"


def test_after_payment_a_credit_note_refunds_and_names_the_refund(provider, v1):
    subscribe(provider, v1)
    (invoice,) = invoices(v1)
    note = v1.credit_notes.create({"invoice": invoice.id, "amount": 700, "refund_amount": 700})
    (part,) = note.refunds
    assert (note.type, note.post_payment_amount, part.amount_refunded) == ("post_payment", 700, 700)
    assert v1.refunds.retrieve(part.refund).amount == 700
    assert v1.charges.list().data[0].amount_refunded == 700
    assert v1.invoices.retrieve(invoice.id).post_payment_credit_notes_amount == 700
    types = [event["type"] for event in events(v1)]
    assert types.index("refund.created") < types.index("credit_note.created")


def test_after_payment_a_credit_note_may_name_a_refund_that_was_made(provider, v1):
    subscribe(provider, v1)
    (invoice,) = invoices(v1)
    made = v1.refunds.create({"charge": v1.charges.list().data[0].id, "amount": 300})
    note = v1.credit_notes.create(
        {"invoice": invoice.id, "amount": 300, "refunds": [{"refund": made.id, "amount_refunded": 300}]}
    )
    assert [(it.refund, it.amount_refunded) for it in note.refunds] == [(made.id, 300)]
    assert len(v1.refunds.list().data) == 1


def test_after_payment_a_credit_note_may_be_the_customers_balance(provider, v1):
    subscription = subscribe(provider, v1)
    v1.credit_notes.create({"invoice": invoices(v1)[0].id, "amount": 900, "credit_amount": 900})
    assert v1.customers.retrieve(subscription.customer).balance == -900
    pass_time(provider, days=32)
    assert invoices(v1)[-1].amount_paid == SEAT - 900


def test_lines_are_credited_by_amount_or_quantity(provider, v1):
    invoice = unpaid(provider, v1)
    (line,) = invoice.lines.data
    wanted = {"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 250}
    note = v1.credit_notes.create({"invoice": invoice.id, "lines": [wanted]})
    assert [(it.invoice_line_item, it.amount) for it in note.lines.data] == [(line.id, 250)]
    assert [it.id for it in v1.credit_notes.list({"invoice": invoice.id}).data] == [note.id]
    assert v1.credit_notes.retrieve(note.id).amount == 250


def test_before_basil_a_credit_note_has_one_refund(provider, v1):
    provider.control(APP, shape="old")
    subscribe(provider, v1)
    note = v1.credit_notes.create({"invoice": invoices(v1)[0].id, "amount": 700, "refund_amount": 700}).to_dict()
    assert note["refund"].startswith("re_")
    assert "refunds" not in note


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"amount": 0},
        {"amount": SEAT + 1},
        {"amount": 100, "refund_amount": 100},
        {"amount": 100, "reason": "mood"},
        {"lines": [{"type": "invoice_line_item", "invoice_line_item": "il_none"}]},
    ],
)
def test_credit_notes_that_stripe_would_refuse_change_nothing(provider, v1, wrong):
    invoice = unpaid(provider, v1)
    before = events(v1)
    with pytest.raises(stripe.InvalidRequestError):
        v1.credit_notes.create({"invoice": invoice.id, **wrong})
    assert events(v1) == before


def test_after_payment_the_parts_must_be_the_amount(provider, v1):
    subscribe(provider, v1)
    (invoice,) = invoices(v1)
    for wrong in ({}, {"refund_amount": 50}, {"refund_amount": 60, "credit_amount": 60}):
        with pytest.raises(stripe.InvalidRequestError, match="must equal"):
            v1.credit_notes.create({"invoice": invoice.id, "amount": 100, **wrong})
