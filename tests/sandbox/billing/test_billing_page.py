"""The billing page, Stripe's customer portal: what a customer sees and can do, and the page of an open invoice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests
import stripe

from models.catalog import catalog
from tests.sandbox.billing.bills import decline_next, events, invoices, items, line, subscribe
from tests.sandbox.test_stripe import APP, pass_time

HOME = "https://shop.test/account"


@pytest.fixture(autouse=True)
def plans(monkeypatch) -> None:
    """The catalog has two plans: `pro`, also by the year, and `max`."""
    app = next(it for it in catalog.current() if it.slug == APP)
    pro = replace(app.plans["pro"], stripe_price="price_pro", stripe_prices=("price_pro_year",), paypal_plan="P-PRO")
    larger = replace(pro, key="max", units=5000, price_minor=9900, stripe_price="price_max", stripe_prices=())
    monkeypatch.setattr(catalog, "current", lambda: (replace(app, plans={"pro": pro, "max": larger}),))


def pro(quantity: int = 1):
    return {"price": "price_pro", "quantity": quantity}


def opened(v1, customer, return_url=HOME):
    return v1.billing_portal.sessions.create({"customer": customer, "return_url": return_url}).url


def read(url):
    answer = requests.get(url, timeout=9)
    assert answer.status_code == 200
    return answer.text


def press(url, action, subscription, **fields):
    """A button of the page. Returns the status before the redirect, and the page that follows."""
    form = {"action": action, "subscription": subscription.id, **fields}
    answer = requests.post(url, data=form, timeout=9)
    return (answer.history or [answer])[0].status_code, answer.text


def wish(subscription, price, quantity):
    return {"item": items(subscription)[0].id, "price": price, "quantity": str(quantity)}


def test_a_session_leads_to_the_page_of_its_customer_and_back(provider, v1):
    subscription = subscribe(provider, v1, pro(2))
    session = v1.billing_portal.sessions.create({"customer": subscription.customer, "return_url": HOME})
    assert isinstance(session, stripe.billing_portal.Session)
    assert (session.url, session.return_url) == (f"{provider.url}/billing/{session.id}", HOME)
    page = read(session.url)
    for text in ("2 seats", "29.00 USD every month per seat", "Next bill: 58.00 USD on", "UTC", f'href="{HOME}"'):
        assert text in page
    for text in ("pro: 29.00 USD every month", "pro: 348.00 USD every year", "max: 99.00 USD every month"):
        assert text in page
    assert page.count("SANDBOX-") == 1
    assert "<script" not in page


def test_a_customer_without_anything_reads_so(v1):
    customer = v1.customers.create({"email": "ada@a.test"})
    page = read(opened(v1, customer.id))
    assert "You have no subscription." in page
    assert "No invoices yet." in page
    assert "ada@a.test" in page


def test_a_session_of_an_unknown_customer_or_a_bad_address_is_refused(v1):
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        v1.billing_portal.sessions.create({"customer": "cus_none"})
    customer = v1.customers.create({}).id
    with pytest.raises(stripe.InvalidRequestError, match="Not a valid URL"):
        v1.billing_portal.sessions.create({"customer": customer, "return_url": "javascript:alert(1)"})


def test_an_unknown_page_is_a_404(provider):
    for path in ("/billing/bps_none", "/invoice/in_none"):
        assert requests.get(provider.url + path, timeout=9).status_code == 404


def test_a_larger_plan_is_billed_at_once(provider, v1):
    subscription = subscribe(provider, v1, pro())
    url = opened(v1, subscription.customer)
    status, page = press(url, "change", subscription, **wish(subscription, "price_max", 3))
    assert (status, "3 seats" in page) == (303, True)
    changed = v1.subscriptions.retrieve(subscription.id)
    assert (items(changed)[0].price.id, items(changed)[0].quantity, changed.metadata["plan"]) == ("price_max", 3, "max")
    assert invoices(v1)[-1].amount_paid == pytest.approx(3 * 9900 - 2900, abs=2)


def test_a_declined_change_waits_and_its_invoice_can_be_paid_from_the_page(provider, v1):
    subscription = subscribe(provider, v1, pro())
    decline_next(provider, APP, subscription)
    url = opened(v1, subscription.customer)
    _, page = press(url, "change", subscription, **wish(subscription, "price_max", 1))
    invoice = invoices(v1)[-1]
    assert "The card was declined. Your change takes effect when the invoice" in page
    link = f"/invoice/{invoice.id}?session={url.rpartition('/')[2]}"
    assert page.count(link) >= 2
    assert items(v1.subscriptions.retrieve(subscription.id))[0].price.id == "price_pro"
    answer = requests.post(provider.url + link, data={"how": "decline"}, timeout=9)
    assert (answer.status_code, "Your card was declined." in answer.text) == (402, True)
    assert events(v1)[-1]["type"] == "invoice.payment_failed"
    answer = requests.post(provider.url + link, data={"how": "pay"}, timeout=9)
    assert answer.url.partition("#")[0] == url
    assert items(v1.subscriptions.retrieve(subscription.id))[0].price.id == "price_max"
    assert "This invoice is paid." in read(invoice.hosted_invoice_url)


def test_a_smaller_plan_at_the_periods_end_can_be_undone(provider, v1):
    subscription = subscribe(provider, v1, {"price": "price_max", "quantity": 1})
    url = opened(v1, subscription.customer)
    _, page = press(url, "change-later", subscription, **wish(subscription, "price_pro", 2))
    assert "to 2 seats at 29.00 USD every month." in page
    _, page = press(url, "keep-plan", subscription)
    assert "to 2 seats at 29.00 USD every month." not in page
    press(url, "change-later", subscription, **wish(subscription, "price_pro", 2))
    pass_time(provider, days=32)
    changed = v1.subscriptions.retrieve(subscription.id)
    assert (items(changed)[0].price.id, items(changed)[0].quantity, changed.metadata["plan"]) == ("price_pro", 2, "pro")
    assert invoices(v1)[-1].amount_paid == 2 * 2900


def test_a_subscription_is_canceled_kept_and_canceled_at_once(provider, v1):
    subscription = subscribe(provider, v1, pro())
    url = opened(v1, subscription.customer)
    _, page = press(url, "cancel", subscription)
    assert "There is no further bill." in page
    assert v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    _, page = press(url, "keep", subscription)
    assert "Next bill: 29.00 USD" in page
    _, page = press(url, "cancel-now", subscription)
    assert ("ended on" in page, "You have no subscription." in page) == (True, True)
    assert v1.subscriptions.retrieve(subscription.id).status == "canceled"


def test_a_pause_is_resumed(provider, v1):
    subscription = subscribe(provider, v1, pro())
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    url = opened(v1, subscription.customer)
    assert "Paused: there are no bills until it is resumed." in read(url)
    _, page = press(url, "resume", subscription)
    assert "Next bill: 29.00 USD" in page


def test_an_unpaid_bill_is_paid_from_the_page(provider, v1):
    subscription = subscribe(provider, v1, pro())
    decline_next(provider, APP, subscription)
    pass_time(provider, days=32)
    url = opened(v1, subscription.customer)
    page = read(url)
    assert ("Bills to pay" in page, "The last bill is not paid." in page) == (True, True)
    invoice = invoices(v1)[-1]
    requests.post(f"{provider.url}/invoice/{invoice.id}?session={url.rpartition('/')[2]}", data={}, timeout=9)
    assert v1.invoices.retrieve(invoice.id).status == "paid"
    assert "Bills to pay" not in read(url)


@pytest.mark.parametrize("seats", ["0", "-1", "1.5", "", "many", "10001", "9" * 30])
def test_seats_that_are_wrong_are_named_beside_the_field(provider, v1, seats):
    subscription = subscribe(provider, v1, pro())
    url = opened(v1, subscription.customer)
    status, page = press(url, "change", subscription, **wish(subscription, "price_max", seats))
    assert (status, "Seats must be a whole number from 1 to 10,000." in page) == (400, True)
    assert f'aria-describedby="quantity-error-{items(subscription)[0].id}"' in page
    assert '<option value="price_max" selected>' in page, "what was chosen is kept"
    assert len(invoices(v1)) == 1


def test_a_plan_that_is_not_offered_is_named_beside_the_field(provider, v1):
    subscription = subscribe(provider, v1, pro())
    url = opened(v1, subscription.customer)
    status, page = press(url, "change", subscription, **wish(subscription, "price_none", 1))
    assert (status, "Select one of the plans." in page) == (400, True)


def test_a_customer_changes_only_their_own_subscriptions(provider, v1):
    own, other = subscribe(provider, v1, pro()), subscribe(provider, v1, pro())
    url = opened(v1, own.customer)
    assert other.id not in read(url)
    status, _ = press(url, "cancel-now", other)
    assert (status, v1.subscriptions.retrieve(other.id).status) == (404, "active")
    assert press(url, "explode", own)[0] == 400


def test_names_and_addresses_are_escaped(provider, v1):
    customer = v1.customers.create({"email": "<b>@a.test", "name": "<script>alert(1)</script>"})
    page = read(opened(v1, customer.id, 'https://a.test/?a=1&b="<'))
    assert "<b>@" not in page
    assert "<script" not in page


def test_the_sellers_portal_opens_the_page_of_a_customer(provider, v1):
    subscription = subscribe(provider, v1, pro())
    assert "billing page" in read(f"{provider.url}/portal/{APP}")
    form = {"customer": subscription.customer}
    answer = requests.post(f"{provider.url}/portal/{APP}/billing", data=form, timeout=9)
    assert answer.url.startswith(f"{provider.url}/billing/bps_")
    assert f'href="{provider.url}/portal/{APP}"' in answer.text
    assert requests.post(f"{provider.url}/portal/{APP}/billing", data={"customer": "x"}, timeout=9).status_code == 404


def test_subscriptions_at_paypal_are_shown_and_canceled_there(provider, v1):
    body = {"plan_id": "P-PRO", "custom_id": "customer=ada&plan=pro"}
    head = {"Authorization": f"Bearer A21-sandbox_{APP}"}
    path = f"{provider.url}/paypal/v1/billing/subscriptions"
    made = requests.post(path, json=body, headers=head, timeout=9).json()
    requests.post(f"{provider.url}/paypal/subscribe/{made['id']}", data={"how": "approve"}, timeout=9)
    ada = v1.customers.create({"metadata": {"customer": "ada"}})
    url = opened(v1, ada.id)
    page = read(url)
    assert ("through PayPal" in page, "Next payment on" in page, "You have no subscription." in page) == (
        True,
        True,
        False,
    )
    form = {"action": "paypal-cancel", "subscription": made["id"]}
    other = opened(v1, v1.customers.create({"metadata": {"customer": "bo"}}).id)
    assert requests.post(other, data=form, timeout=9).status_code == 404
    assert "cancelled" in requests.post(url, data=form, timeout=9).text
    assert requests.get(f"{path}/{made['id']}", headers=head, timeout=9).json()["status"] == "CANCELLED"


def test_several_items_change_one_by_one(provider, v1):
    extra = line(700)
    subscription = subscribe(provider, v1, pro(), extra)
    url = opened(v1, subscription.customer)
    press(url, "change", subscription, **wish(subscription, "price_pro", 4))
    changed = v1.subscriptions.retrieve(subscription.id)
    assert [it.quantity for it in items(changed)] == [4, 1]
