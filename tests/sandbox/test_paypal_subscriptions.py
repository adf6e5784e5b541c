"""PayPal's subscriptions in the sandbox: plans, approval, cycles, failures, revisions, sales and their refunds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from models import clock, cycles
from models.catalog import catalog
from sandbox.ticking import tick
from tests.sandbox.test_delivery import Scrip
from tests.support.folders import data_folder
from tests.support.providers.sandboxes import Provider, running_provider
from tests.support.waiting import wait_until

APP = "songs"
TOKEN = {"Authorization": f"Bearer A21-sandbox_{APP}"}
CUSTOM = "customer=ada&plan=pro"
ONE = "/v1/billing/subscriptions"
DOLLARS = "29.00"


@pytest.fixture(autouse=True)
def plans(monkeypatch) -> None:
    """The catalog has two plans with a plan at PayPal, and one without."""
    app = next(it for it in catalog.current() if it.slug == APP)
    pro = replace(app.plans["pro"], paypal_plan="P-PRO")
    larger = replace(pro, key="max", price_minor=9900, paypal_plan="P-MAX")
    plain = replace(pro, key="plain", paypal_plan=None)
    monkeypatch.setattr(catalog, "current", lambda: (replace(app, plans={"pro": pro, "max": larger, "plain": plain}),))


@pytest.fixture
def provider(db: str) -> Iterator[Provider]:
    with data_folder() as folder, running_provider(folder) as running:
        yield running


def call(provider: Provider, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    return requests.request(method, f"{provider.url}/paypal{path}", json=body, headers={**TOKEN, **headers}, timeout=9)


def create(provider: Provider, status: int = 201, **more: Any) -> dict[str, Any]:
    body = {
        "plan_id": "P-PRO",
        "custom_id": CUSTOM,
        "application_context": {"return_url": "https://shop.test/thanks?c=1", "cancel_url": "https://shop.test/"},
        **more,
    }
    answer = call(provider, "POST", ONE, body)
    assert answer.status_code == status, answer.text
    made: dict[str, Any] = answer.json()
    return made


def get(provider: Provider, made: dict[str, Any]) -> dict[str, Any]:
    answer = call(provider, "GET", f"{ONE}/{made['id']}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def press(provider: Provider, id_: str, how: str = "approve") -> requests.Response:
    url = f"{provider.url}/paypal/subscribe/{id_}"
    assert requests.get(url, timeout=9).status_code == 200
    return requests.post(url, data={"how": how}, allow_redirects=False, timeout=9)


def active(provider: Provider, **more: Any) -> dict[str, Any]:
    made = create(provider, **more)
    assert press(provider, made["id"]).status_code == 303
    return get(provider, made)


def events(provider: Provider) -> list[dict[str, Any]]:
    return [json.loads(body) for (body,) in provider.sandbox.store.rows("SELECT body FROM event ORDER BY number")]


def types(provider: Provider) -> list[str]:
    return [event["event_type"] for event in events(provider)]


def sales(provider: Provider) -> list[dict[str, Any]]:
    return [event["resource"] for event in events(provider) if event["event_type"] == "PAYMENT.SALE.COMPLETED"]


def pass_time(provider: Provider, **by: float) -> None:
    clock.advance(timedelta(**by))
    tick(provider.sandbox)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def act(provider: Provider, made: dict[str, Any], what: str, status: int = 204) -> requests.Response:
    answer = call(provider, "POST", f"{ONE}/{made['id']}/{what}", {"reason": "test"})
    assert answer.status_code == status, answer.text
    return answer


# --- plans


def test_the_plans_of_the_catalog_are_plans_at_paypal(provider):
    plan = call(provider, "GET", "/v1/billing/plans/P-PRO").json()
    (cycle,) = plan["billing_cycles"]
    assert (plan["id"], plan["status"]) == ("P-PRO", "ACTIVE")
    assert cycle["frequency"] == {"interval_unit": "MONTH", "interval_count": 1}
    assert (cycle["tenure_type"], cycle["total_cycles"]) == ("REGULAR", 0)
    assert cycle["pricing_scheme"]["fixed_price"] == {"value": DOLLARS, "currency_code": "USD"}
    assert call(provider, "GET", "/v1/billing/plans/P-NONE").status_code == 404


# --- approval


def test_a_subscription_waits_for_approval_and_is_then_active_and_paid(provider):
    made = create(provider)
    assert (made["status"], made["plan_id"], made["custom_id"], made["quantity"]) == (
        *("APPROVAL_PENDING", "P-PRO", CUSTOM),
        "1",
    )
    (approve,) = [link["href"] for link in made["links"] if link["rel"] == "approve"]
    assert approve == f"{provider.url}/paypal/subscribe/{made['id']}"
    assert "29.00 USD every month" in requests.get(approve, timeout=9).text
    back = press(provider, made["id"]).headers["Location"]
    assert back.startswith(f"https://shop.test/thanks?c=1&subscription_id={made['id']}&ba_token=BA-")
    now = get(provider, made)
    assert now["status"] == "ACTIVE"
    assert now["subscriber"]["email_address"]
    (execution,) = now["billing_info"]["cycle_executions"]
    assert (execution["cycles_completed"], execution["total_cycles"]) == (1, 0)
    assert now["billing_info"]["last_payment"]["amount"] == {"value": DOLLARS, "currency_code": "USD"}
    assert moment(now["billing_info"]["next_billing_time"]) == cycles.cycle_start(moment(now["start_time"]), 1)
    assert types(provider) == [
        *("BILLING.SUBSCRIPTION.CREATED", "BILLING.SUBSCRIPTION.ACTIVATED", "PAYMENT.SALE.COMPLETED"),
    ]
    (sale,) = sales(provider)
    assert (sale["billing_agreement_id"], sale["custom"], sale["state"]) == (made["id"], CUSTOM, "completed")
    assert (sale["amount"]["total"], sale["amount"]["currency"]) == (DOLLARS, "USD")
    assert events(provider)[-1]["resource_type"] == "sale"
    assert '"_' not in json.dumps(events(provider))


def test_a_subscription_is_approved_once(provider):
    made = active(provider)
    assert press(provider, made["id"]).status_code == 422
    assert len(sales(provider)) == 1


def test_a_buyer_who_leaves_or_whose_payment_is_declined_has_nothing(provider):
    made = create(provider)
    assert press(provider, made["id"], "cancel").headers["Location"].startswith("https://shop.test/?subscription_id=")
    assert press(provider, made["id"], "decline").headers["Location"].endswith("?said=declined")
    page = requests.get(f"{provider.url}/paypal/subscribe/{made['id']}?said=declined", timeout=9).text
    assert "The payment was declined." in page
    assert get(provider, made)["status"] == "APPROVAL_PENDING"
    assert types(provider) == ["BILLING.SUBSCRIPTION.CREATED"]


def test_seats_multiply_the_price(provider):
    active(provider, quantity="3")
    assert sales(provider)[0]["amount"]["total"] == "87.00"


def test_a_later_start_is_paid_at_that_time(provider):
    start = (clock.now() + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = active(provider, start_time=start)
    assert (made["status"], made["start_time"], sales(provider)) == ("ACTIVE", start, [])
    pass_time(provider, days=11)
    assert sales(provider)[0]["create_time"] == start


def test_a_request_id_creates_one_subscription(provider):
    body = {"plan_id": "P-PRO"}
    first, second = (call(provider, "POST", ONE, body, **{"PayPal-Request-Id": "s-1"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert types(provider) == ["BILLING.SUBSCRIPTION.CREATED"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"plan_id": "P-NONE"}, 404),
        ({"plan_id": None}, 404),
        ({"quantity": 3}, 400),
        ({"quantity": "0"}, 400),
        ({"custom_id": "x" * 128}, 400),
        ({"start_time": "yesterday"}, 400),
        ({"start_time": "2020-01-01T00:00:00Z"}, 422),
        ({"application_context": {"return_url": "javascript:alert(1)"}}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_what_paypal_would_refuse_is_refused(provider, wrong, status):
    create(provider, status, **wrong)
    assert events(provider) == []


def test_an_unknown_subscription_is_a_404(provider):
    for path in ("", "/transactions?start_time=2026-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z"):
        assert call(provider, "GET", f"{ONE}/I-NONE{path}").status_code == 404
    assert requests.get(f"{provider.url}/paypal/subscribe/I-NONE", timeout=9).status_code == 404


# --- cycles


def test_cycles_follow_the_start_by_the_calendar(provider):
    made = active(provider)
    pass_time(provider, days=100)
    start = moment(made["start_time"])
    times = [moment(sale["create_time"]) for sale in sales(provider)]
    assert times == [cycles.cycle_start(start, number) for number in range(4)]
    found = get(provider, made)["billing_info"]
    assert found["cycle_executions"][0]["cycles_completed"] == 4
    assert moment(found["next_billing_time"]) == cycles.cycle_start(start, 4)


def test_a_trial_comes_before_the_regular_cycles(provider):
    price = {"pricing_scheme": {"fixed_price": {"value": "10.00", "currency_code": "USD"}}}
    trial = {"tenure_type": "TRIAL", "sequence": 1, "total_cycles": 1}
    regular = {"tenure_type": "REGULAR", "sequence": 2, "total_cycles": 2, **price}
    week, month = ({"frequency": {"interval_unit": unit, "interval_count": 1}} for unit in ("WEEK", "MONTH"))
    plan = call(
        *(provider, "POST", "/v1/billing/plans"),
        {"product_id": "PROD-1", "name": "Trial", "billing_cycles": [{**trial, **week}, {**regular, **month}]},
    ).json()
    made = active(provider, plan_id=plan["id"])
    assert sales(provider) == []
    assert [it["cycles_completed"] for it in made["billing_info"]["cycle_executions"]] == [1, 0]
    pass_time(provider, days=8)
    assert moment(sales(provider)[0]["create_time"]) == moment(made["start_time"]) + timedelta(days=7)
    pass_time(provider, days=70)
    assert len(sales(provider)) == 2
    assert get(provider, made)["status"] == "EXPIRED"
    assert types(provider)[-1] == "BILLING.SUBSCRIPTION.EXPIRED"


def test_a_setup_fee_is_a_sale_of_its_own(provider):
    price = {"fixed_price": {"value": "10.00", "currency_code": "USD"}}
    month = {"interval_unit": "MONTH", "interval_count": 1}
    cycle = {"tenure_type": "REGULAR", "sequence": 1, "pricing_scheme": price, "frequency": month}
    fee = {"setup_fee": {"value": "5.00", "currency_code": "USD"}}
    plan = call(
        *(provider, "POST", "/v1/billing/plans"),
        {"name": "Fee", "billing_cycles": [cycle], "payment_preferences": fee},
    ).json()
    active(provider, plan_id=plan["id"])
    assert [sale["amount"]["total"] for sale in sales(provider)] == ["5.00", "10.00"]


def test_a_failed_payment_is_taken_with_the_next_one(provider):
    made = active(provider)
    provider.control(APP, action="paypal-fail-next", id=made["id"])
    pass_time(provider, days=32)
    assert types(provider)[-1] == "BILLING.SUBSCRIPTION.PAYMENT.FAILED"
    info = events(provider)[-1]["resource"]["billing_info"]
    assert (info["failed_payments_count"], info["outstanding_balance"]["value"]) == (1, DOLLARS)
    assert info["last_failed_payment"]["amount"]["value"] == DOLLARS
    pass_time(provider, days=31)
    assert [sale["amount"]["total"] for sale in sales(provider)] == [DOLLARS, "58.00"]
    assert get(provider, made)["billing_info"]["outstanding_balance"]["value"] == "0.00"


def test_the_outstanding_balance_can_be_taken_before_that(provider):
    made = active(provider)
    provider.control(APP, action="paypal-fail-next", id=made["id"])
    pass_time(provider, days=32)
    body = {"note": "x", "capture_type": "OUTSTANDING_BALANCE", "amount": {"currency_code": "USD", "value": DOLLARS}}
    assert call(provider, "POST", f"{ONE}/{made['id']}/capture", body).status_code == 202
    assert call(provider, "POST", f"{ONE}/{made['id']}/capture", body).status_code == 422
    assert [sale["amount"]["total"] for sale in sales(provider)] == [DOLLARS, DOLLARS]


def test_three_failures_suspend(provider):
    made = active(provider)
    for _ in range(3):
        provider.control(APP, action="paypal-fail-next", id=made["id"])
        pass_time(provider, days=31)
    assert get(provider, made)["status"] == "SUSPENDED"
    assert types(provider)[-2:] == ["BILLING.SUBSCRIPTION.PAYMENT.FAILED", "BILLING.SUBSCRIPTION.SUSPENDED"]


# --- suspended, activated, canceled


def test_a_suspension_skips_the_payments_of_its_time(provider):
    made = active(provider)
    act(provider, made, "suspend")
    assert "next_billing_time" not in get(provider, made)["billing_info"]
    act(provider, made, "suspend", 422)
    pass_time(provider, days=40)
    act(provider, made, "activate")
    assert types(provider)[-2:] == ["BILLING.SUBSCRIPTION.SUSPENDED", "BILLING.SUBSCRIPTION.RE-ACTIVATED"]
    assert len(sales(provider)) == 1
    pass_time(provider, days=30)
    assert moment(sales(provider)[1]["create_time"]) == cycles.cycle_start(moment(made["start_time"]), 2)


def test_a_cancellation_is_final(provider):
    made = active(provider)
    act(provider, made, "cancel")
    for what in ("cancel", "activate", "suspend"):
        assert act(provider, made, what, 422).json()["details"][0]["issue"] == "SUBSCRIPTION_STATUS_INVALID"
    pass_time(provider, days=40)
    assert (get(provider, made)["status"], len(sales(provider))) == ("CANCELLED", 1)
    assert events(provider)[-1]["resource"]["status_change_note"] == "test"


# --- revisions


def revise(provider: Provider, made: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = call(provider, "POST", f"{ONE}/{made['id']}/revise", body)
    assert answer.status_code == 200, answer.text
    revised: dict[str, Any] = answer.json()
    return revised


def test_a_revision_counts_from_the_next_cycle_once_it_is_approved(provider):
    made = active(provider)
    revised = revise(provider, made, plan_id="P-MAX")
    assert [link["href"] for link in revised["links"] if link["rel"] == "approve"]
    assert get(provider, made)["plan_id"] == "P-PRO"
    page = requests.get(f"{provider.url}/paypal/subscribe/{made['id']}", timeout=9).text
    assert ("99.00 USD every month" in page, "Agree to the change" in page) == (True, True)
    press(provider, made["id"])
    assert (get(provider, made)["plan_id"], len(sales(provider))) == ("P-MAX", 1)
    assert types(provider)[-1] == "BILLING.SUBSCRIPTION.UPDATED"
    pass_time(provider, days=32)
    assert [sale["amount"]["total"] for sale in sales(provider)] == [DOLLARS, "99.00"]
    assert moment(sales(provider)[1]["create_time"]) == cycles.cycle_start(moment(made["start_time"]), 1)


def test_a_revision_that_is_not_approved_changes_nothing(provider):
    made = active(provider)
    revise(provider, made, quantity="5")
    pass_time(provider, days=32)
    assert [sale["amount"]["total"] for sale in sales(provider)] == [DOLLARS, DOLLARS]
    assert call(provider, "POST", f"{ONE}/{made['id']}/revise", {"plan_id": "P-NONE"}).status_code == 404


# --- sales


def test_a_sale_is_refunded_in_parts(provider):
    active(provider)
    (sale,) = sales(provider)
    path = f"/v1/payments/sale/{sale['id']}"
    part = call(provider, "POST", f"{path}/refund", {"amount": {"total": "9.00", "currency": "USD"}})
    assert (part.status_code, part.json()["amount"]["total"]) == (201, "9.00")
    assert call(provider, "GET", path).json()["state"] == "partially_refunded"
    rest = call(provider, "POST", f"{path}/refund", {}).json()
    assert rest["total_refunded_amount"] == {"value": DOLLARS, "currency": "USD"}
    assert call(provider, "GET", path).json()["state"] == "refunded"
    assert call(provider, "POST", f"{path}/refund", {}).status_code == 422
    event = events(provider)[-1]
    assert event["event_type"] == "PAYMENT.SALE.REFUNDED"
    assert (event["resource"]["sale_id"], event["resource"]["amount"]["total"]) == (sale["id"], "-20.00")
    refund = call(provider, "GET", f"/v1/payments/refund/{rest['id']}").json()
    assert refund["sale_id"] == sale["id"]


def test_a_sale_is_reversed(provider):
    active(provider)
    (sale,) = sales(provider)
    provider.control(APP, action="sale-reverse", id=sale["id"])
    event = events(provider)[-1]
    assert (event["event_type"], event["resource"]["amount"]["total"]) == ("PAYMENT.SALE.REVERSED", f"-{DOLLARS}")
    (link,) = [link["href"] for link in event["resource"]["links"] if link["rel"] == "sale"]
    assert link.endswith(sale["id"])
    assert call(provider, "GET", f"/v1/payments/sale/{sale['id']}").json()["state"] == "reversed"


@pytest.mark.parametrize(
    ("amount", "status"),
    [({"total": "30.00", "currency": "USD"}, 422), ({"total": "1.00", "currency": "EUR"}, 422), ({"total": "x"}, 400)],
)
def test_refunds_that_paypal_would_refuse_are_refused(provider, amount, status):
    active(provider)
    path = f"/v1/payments/sale/{sales(provider)[0]['id']}/refund"
    assert call(provider, "POST", path, {"amount": amount}).status_code == status
    assert "PAYMENT.SALE.REFUNDED" not in types(provider)


def test_transactions_are_listed_by_time(provider):
    made = active(provider)
    pass_time(provider, days=32)
    start = moment(made["start_time"])

    def listed(since: datetime, until: datetime) -> list[dict[str, Any]]:
        query = f"start_time={since:%Y-%m-%dT%H:%M:%SZ}&end_time={until:%Y-%m-%dT%H:%M:%SZ}"
        found: list[dict[str, Any]] = call(provider, "GET", f"{ONE}/{made['id']}/transactions?{query}").json()[
            "transactions"
        ]
        return found

    both = listed(start, start + timedelta(days=40))
    assert [it["id"] for it in both] == [sale["id"] for sale in sales(provider)]
    assert both[0]["amount_with_breakdown"]["gross_amount"] == {"currency_code": "USD", "value": DOLLARS}
    assert [it["id"] for it in listed(start, start + timedelta(days=1))] == [both[0]["id"]]
    assert call(provider, "GET", f"{ONE}/{made['id']}/transactions").status_code == 400


# --- events as a receiver gets them, and the portal


def test_the_events_are_signed_and_arrive(db):
    receiver = Scrip()
    with data_folder() as folder, running_provider(folder, receiver.url) as provider:
        active(provider)
        wait_until(lambda: len(receiver.got) == 3)
        path, headers, body = receiver.got[-1]
        assert path == f"/webhooks/paypal/{APP}"
        verified = {
            name.lower().removeprefix("paypal-").replace("-", "_"): value
            for name, value in headers.items()
            if name.lower().startswith("paypal-")
        }
        head = json.dumps({**verified, "webhook_id": "WH-SANDBOX"})[:-1].encode()
        answer = requests.post(
            f"{provider.url}/paypal/v1/notifications/verify-webhook-signature",
            data=head + b',"webhook_event":' + body + b"}",
            headers=TOKEN,
            timeout=9,
        )
        assert answer.json() == {"verification_status": "SUCCESS"}
        assert json.loads(body)["event_type"] == "PAYMENT.SALE.COMPLETED"
    receiver.server.shutdown()
    receiver.server.server_close()


def test_the_sellers_portal_shows_subscriptions_and_their_payments(provider):
    made = active(provider)
    page = requests.get(f"{provider.url}/portal/{APP}?customer=ada", timeout=9).text
    for text in (made["id"], sales(provider)[0]["id"], "29.00 USD", 'value="paypal-suspend"', 'value="sale-reverse"'):
        assert text in page
    form = {"action": "paypal-suspend", "id": made["id"]}
    requests.post(f"{provider.url}/portal/{APP}", data=form, timeout=9)
    assert get(provider, made)["status"] == "SUSPENDED"
    assert made["id"] not in requests.get(f"{provider.url}/portal/{APP}?customer=bo", timeout=9).text
