"""A thin client on `requests` for the calls of PayPal's REST API that Scrip needs.

    order_id, url = client.client(app).create_order("clash-ai:c-1", custom_id=..., amount_minor=999, ...)

Each call makes one attempt. Writing calls send a `PayPal-Request-Id` that depends only on their subject, so every call
can be repeated. Calls return PayPal's objects as plain dicts. Every call raises

    ProviderAway     no connection, no response in time, 429, 5xx, or the same call is in progress
    ProviderRefused  PayPal rejected the call: `status` is the HTTP status, `code` the issue (`ORDER_NOT_APPROVED`)

Sources: Orders v2, Payments v2, Disputes v1, Webhooks v1 of https://developer.paypal.com/api/rest/.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

import orjson

from jobs.providers.paypal.fields import objects
from jobs.providers.paypal.http import Account, Caller, Object, link_of, text_of, time_of
from models import money
from models.catalog.apps import App
from models.errors import ProviderRefused
from settings import settings

BASE_URLS = {"live": "https://api-m.paypal.com", "sandbox": "https://api-m.sandbox.paypal.com"}
PAGE = 50
# PayPal keeps events for 30 days.
OLDEST_EVENT = timedelta(days=30)


def environment_of(app: App) -> str:
    """PayPal's environment of the app's account: `live` or `sandbox`."""
    return app.paypal.environment or settings.paypal_env


def has_real_account(app: App) -> bool:
    """Whether the app has credentials for PayPal itself: its own, or those of the settings."""
    return _credentials(app) is not None


def account_of(app: App) -> Account:
    """The app's account: its own, else the settings', else (in the sandbox) the one at the sandbox provider.

    Raises:
        ProviderRefused: the app has no account.
    """
    given = _credentials(app)
    if given:
        environment = environment_of(app)
        return Account(*given, environment=environment, base_url=BASE_URLS[environment])
    if settings.sandbox and settings.sandbox_url:
        base_url = f"{settings.sandbox_url.rstrip('/')}/paypal"
        return Account(f"sandbox_{app.slug}", "sandbox", environment="sandbox", base_url=base_url)
    raise ProviderRefused(f"{app.slug} has no PayPal account: set PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET")


def client(app: App) -> PayPal:
    """The client of the app's account: one per process and account, because it caches the token.

    Raises:
        ProviderRefused: the app has no account.
    """
    account = account_of(app)
    with _lock:
        return _clients.setdefault(account, PayPal(account))


class PayPal(Caller):
    """The client of one account. Thread-safe."""

    def create_order(
        self,
        key: str,
        *,
        custom_id: str,
        description: str,
        amount_minor: int,
        currency: str,
        success_url: str,
        cancel_url: str,
    ) -> tuple[str, str]:
        """Create an order to be captured. Returns its id and the URL at which the buyer approves it.

        `key` identifies the checkout within the account (`clash-ai:c-1`): the same key returns the same order.
        `amount_minor` is the total. PayPal appends `token=<order id>&PayerID=...` to the URLs when it redirects the
        buyer. Scrip captures the order when PayPal's event reports the approval.
        """
        unit = {
            "custom_id": custom_id,
            "description": description[:127],
            "amount": _amount(amount_minor, currency),
        }
        context = {
            "return_url": success_url,
            "cancel_url": cancel_url,
            "user_action": "PAY_NOW",
            "shipping_preference": "NO_SHIPPING",
        }
        body = {
            "intent": "CAPTURE",
            "purchase_units": [unit],
            "payment_source": {"paypal": {"experience_context": context}},
        }
        order = self.write("/v2/checkout/orders", body, key=f"order:{key}")
        return text_of(order, "id"), link_of(order, "payer-action", "approve")

    def get_order(self, order_id: str) -> Object:
        """The current order. If there is none, the `code` of the refusal is RESOURCE_NOT_FOUND."""
        return self.call("GET", f"/v2/checkout/orders/{quote(order_id, safe='')}")

    def capture_order(self, order_id: str) -> Object:
        """Capture the payment of an approved order. Returns the order. Repeated calls capture it once.

        `captures_of(order)` are the captures; the status of each one says whether the money has arrived.
        """
        path = f"/v2/checkout/orders/{quote(order_id, safe='')}"
        try:
            return self.write(f"{path}/capture", {}, key=f"capture:{order_id}")
        except ProviderRefused as refused:
            if refused.code != "ORDER_ALREADY_CAPTURED":
                raise
            return self.get_order(order_id)

    def get_capture(self, capture_id: str) -> Object:
        """The current capture."""
        return self.call("GET", f"/v2/payments/captures/{quote(capture_id, safe='')}")

    def get_refund(self, refund_id: str) -> Object:
        """The current refund."""
        return self.call("GET", f"/v2/payments/refunds/{quote(refund_id, safe='')}")

    def refund_capture(
        self, capture_id: str, *, key: str, amount_minor: int | None = None, currency: str | None = None, note: str = ""
    ) -> Object:
        """Refund a capture: `amount_minor`, or all that is not refunded yet. Returns the refund.

        `key` identifies the refund within the account: the same key refunds once.
        """
        body: Object = {"note_to_payer": note[:255]} if note else {}
        if amount_minor is not None:
            assert currency, "an amount has a currency"
            body["amount"] = _amount(amount_minor, currency)
        return self.write(f"/v2/payments/captures/{quote(capture_id, safe='')}/refund", body, key=f"refund:{key}")

    def create_subscription(self, key: str, body: Object) -> tuple[str, str]:
        """Create a subscription. Returns its id and the URL at which the buyer approves it. `key` as for orders."""
        made = self.write("/v1/billing/subscriptions", body, key=f"subscription:{key}")
        return text_of(made, "id"), link_of(made, "approve")

    def get_subscription(self, subscription_id: str) -> Object:
        """The current subscription."""
        return self.call("GET", f"/v1/billing/subscriptions/{quote(subscription_id, safe='')}")

    def list_transactions(self, subscription_id: str, since: datetime, until: datetime) -> Iterator[Object]:
        """The payments of a subscription from `since` to `until`."""
        path = f"/v1/billing/subscriptions/{quote(subscription_id, safe='')}/transactions"
        yield from self.pages(path, {"start_time": time_of(since), "end_time": time_of(until)}, "transactions")

    def get_sale(self, sale_id: str) -> Object:
        """The current sale: a payment of a subscription."""
        return self.call("GET", f"/v1/payments/sale/{quote(sale_id, safe='')}")

    def get_sale_refund(self, refund_id: str) -> Object:
        """The current refund of a sale."""
        return self.call("GET", f"/v1/payments/refund/{quote(refund_id, safe='')}")

    def refund_sale(self, sale_id: str, *, key: str, amount: Object | None = None, note: str = "") -> Object:
        """Refund a sale: `amount` (of `sale_amount`), or all that is not refunded yet. `key` as for captures."""
        body = {**({"amount": amount} if amount else {}), **({"description": note[:127]} if note else {})}
        return self.write(f"/v1/payments/sale/{quote(sale_id, safe='')}/refund", body, key=f"refund:{key}")

    def list_events(self, since: datetime, until: datetime) -> Iterator[Object]:
        """The webhook events of the account from `since` to `until`, delivered or not; PayPal keeps 30 days of them."""
        times = {"start_time": time_of(max(since, until - OLDEST_EVENT)), "end_time": time_of(until)}
        yield from self.pages("/v1/notifications/webhooks-events", {**times, "page_size": str(PAGE)}, "events")

    def list_disputes(self, since: datetime) -> Iterator[Object]:
        """The disputes that changed since the time, each fetched, because PayPal's list omits their transactions."""
        query = {"update_time_after": time_of(since), "page_size": str(PAGE)}
        for found in self.pages("/v1/customer/disputes", query, "items"):
            yield self.call("GET", f"/v1/customer/disputes/{quote(text_of(found, 'dispute_id'), safe='')}")

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str], *, webhook_id: str) -> bool:
        """Whether PayPal confirms that it signed `raw`. The bytes are sent unchanged: serializing again may alter them.

        `headers` are by lower-case name. `raw` must be a JSON object.
        """
        names = {
            "transmission_id": "paypal-transmission-id",
            "transmission_time": "paypal-transmission-time",
            "transmission_sig": "paypal-transmission-sig",
            "cert_url": "paypal-cert-url",
            "auth_algo": "paypal-auth-algo",
        }
        transmission = {name: headers[header] for name, header in names.items()}
        head = orjson.dumps({**transmission, "webhook_id": webhook_id})
        body = head[:-1] + b',"webhook_event":' + raw + b"}"
        response = self.call("POST", "/v1/notifications/verify-webhook-signature", body=body)
        return response.get("verification_status") == "SUCCESS"


_clients: dict[Account, PayPal] = {}
_lock = threading.Lock()


def captures_of(order: Object) -> list[Object]:
    """The captures of an order. A capture without a `custom_id` gets that of its purchase unit.

    The only capture of a unit also gets the `breakdown` of the unit's amount.
    """
    found = []
    for unit in objects(order.get("purchase_units")):
        payments = unit.get("payments")
        captures = payments.get("captures") if isinstance(payments, dict) else None
        named = unit.get("custom_id")
        captured = [{**capture, "custom_id": capture.get("custom_id") or named} for capture in objects(captures)]
        amount = unit.get("amount")
        if len(captured) == 1 and isinstance(amount, dict) and amount.get("breakdown") is not None:
            captured[0]["breakdown"] = amount["breakdown"]
        found += captured
    return found


def sale_amount(minor: int, currency: str) -> Object:
    """An amount of Payments v1.

    Raises:
        ProviderRefused: PayPal has no such amount.
    """
    amount = _amount(minor, currency)
    return {"total": amount["value"], "currency": amount["currency_code"]}


def _amount(minor: int, currency: str) -> dict[str, str]:
    try:
        return {"currency_code": currency.upper(), "value": money.paypal_value(minor, currency)}
    except ValueError as reason:
        raise ProviderRefused(str(reason), code="INVALID_AMOUNT") from None


def _credentials(app: App) -> tuple[str, str] | None:
    client_id = app.paypal.client_id or settings.paypal_client_id
    secret = app.paypal.client_secret or settings.paypal_client_secret
    return (client_id, secret) if client_id and secret else None
