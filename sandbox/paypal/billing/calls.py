"""The calls of PayPal's API about plans, subscriptions and their sales."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sandbox.context import current
from sandbox.paypal import requests
from sandbox.paypal.billing import plans, sales, subscriptions
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.paypal.objects import need
from sandbox.store.account import Account
from sandbox.store.store import Thing

Handler = Callable[..., Any]


def _create_plan(account: Account) -> Thing:
    return plans.create(account, requests.body())


def _get_plan(account: Account, id_: str) -> Thing:
    return plans.need(account, id_)


def _create_subscription(account: Account) -> Thing:
    return subscriptions.create(account, requests.body(), current().url)


def _get_subscription(account: Account, id_: str) -> Thing:
    return need(account, SUBSCRIPTION, id_)


def _revise(account: Account, id_: str) -> Thing:
    return subscriptions.revise(account, need(account, SUBSCRIPTION, id_), requests.body())


def _change(do: Callable[[Account, Thing, str], None]) -> Handler:
    """A call that changes the status and returns no body."""

    def handle(account: Account, id_: str) -> None:
        note = str(requests.body().get("reason") or "")[:128]
        do(account, need(account, SUBSCRIPTION, id_), note)

    return handle


def _capture(account: Account, id_: str) -> Thing:
    amount = (requests.body().get("amount") or {}).get("value")
    wanted = Decimal(str(amount)) if amount is not None else None
    sale = subscriptions.pay_outstanding(account, need(account, SUBSCRIPTION, id_), wanted)
    return sales.transaction_of(sale)


def _list_transactions(account: Account, id_: str) -> Thing:
    since, until = requests.time_of("start_time"), requests.time_of("end_time")
    found = subscriptions.transactions(account, need(account, SUBSCRIPTION, id_), since, until)
    return {"transactions": found, "total_items": len(found), "total_pages": 1, "links": []}


def _get_sale(account: Account, id_: str) -> Thing:
    return need(account, sales.SALE, id_)


def _refund_sale(account: Account, id_: str) -> Thing:
    sale = need(account, sales.SALE, id_)
    return sales.response(account, sale, sales.refund(account, sale, requests.body().get("amount")))


def _get_refund(account: Account, id_: str) -> Thing:
    return need(account, sales.SALE_REFUND, id_)


ONE = "/v1/billing/subscriptions/<id_>"
SALE = "/v1/payments/sale/<id_>"
# Method, address, function and the status of success.
CALLS: tuple[tuple[str, str, Handler, int], ...] = (
    ("POST", "/v1/billing/plans", _create_plan, 201),
    ("GET", "/v1/billing/plans/<id_>", _get_plan, 200),
    ("POST", "/v1/billing/subscriptions", _create_subscription, 201),
    ("GET", ONE, _get_subscription, 200),
    ("POST", f"{ONE}/revise", _revise, 200),
    ("POST", f"{ONE}/suspend", _change(subscriptions.suspend), 204),
    ("POST", f"{ONE}/activate", _change(subscriptions.activate), 204),
    ("POST", f"{ONE}/cancel", _change(subscriptions.cancel), 204),
    ("POST", f"{ONE}/capture", _capture, 202),
    ("GET", f"{ONE}/transactions", _list_transactions, 200),
    ("GET", SALE, _get_sale, 200),
    ("POST", f"{SALE}/refund", _refund_sale, 201),
    ("GET", "/v1/payments/refund/<id_>", _get_refund, 200),
)
