"""PayPal's REST API, the few calls of it that Scrip needs: a thin client on `requests`.

    order, url = paypal_client.client(app).create_order("c-1", custom_id=..., description=..., amount_minor=999, ...)

One call is one attempt; what writes carries a `PayPal-Request-Id` that is fixed by what is written, so that any call
can be made again. Answers are PayPal's objects as plain dicts. Every call raises

    ProviderAway     no connection, no answer in time, 429, 5xx, or a call for the same thing is under way
    ProviderRefused  PayPal says no: `status` is the HTTP status, `code` the issue (`ORDER_NOT_APPROVED`)

Sources: Orders v2, Payments v2, Disputes v1, Webhooks v1 of https://developer.paypal.com/api/rest/.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

import orjson

from jobs.providers.paypal.fields import objects
from jobs.providers.paypal.http import Account, Caller, Object, link_of, time_of, word_of
from models import money
from models.catalog.apps import App
from models.errors import ProviderRefused
from settings import settings

BASE_URLS = {"live": "https://api-m.paypal.com", "sandbox": "https://api-m.sandbox.paypal.com"}
LONGEST_CUSTOM_ID = 127
PAGE = 50
# PayPal keeps events for 30 days.
OLDEST_EVENT = timedelta(days=30)


def environment_of(app: App) -> str:
    """`live` or `sandbox`: which of PayPal's two worlds the app's account is in."""
    return app.paypal.environment or settings.paypal_env


def has_real_account(app: App) -> bool:
    """Whether the app has credentials for PayPal itself: its own, or those of the settings."""
    return _credentials(app) is not None


def account_of(app: App) -> Account:
    """The app's account: its own, else the settings', else (in the sandbox) the one at the sandbox provider.

    Raises:
        ProviderRefused: there is none.
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
    """The client of the app's account, one a process and account: it keeps the token.

    Raises:
        ProviderRefused: the app has no account.
    """
    account = account_of(app)
    with _lock:
        return _clients.setdefault(account, PayPal(account))


def write_custom_id(*, app: str, customer: str, pack: str, checkout: str) -> str:
    """The `custom_id` that tells a capture's receiver what was bought, in at most 127 characters.

    `customer=<url-encoded>&pack=<key>&checkout=<id>&app=<slug>`, or as much of it as fits: the
    checkout, or the app alone, which leaves the order's id to find the checkout by.
    """
    bought = {"customer": customer, "pack": pack}
    named = {"checkout": checkout, "app": app}
    for parts in ({**bought, **named}, named, {**bought, "app": app}):
        written = urlencode(parts, quote_via=quote, safe="")
        if len(written) <= LONGEST_CUSTOM_ID:
            return written
    return urlencode({"app": app})


class PayPal(Caller):
    """One account's client. May be used by several threads at once."""

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

        `key` names the checkout among all of the account's (`clash-ai:c-1`): the same key gives the same order again.
        `amount_minor` is the total. PayPal appends `token=<order id>&PayerID=...` to the URLs when it sends the buyer
        back; then, or when told by its event, the order is captured.
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
        return word_of(order, "id"), link_of(order, "payer-action", "approve")

    def get_order(self, order_id: str) -> Object:
        """The order as PayPal has it now. `code` of the refusal is RESOURCE_NOT_FOUND where it has none."""
        return self.call("GET", f"/v2/checkout/orders/{quote(order_id, safe='')}")

    def capture_order(self, order_id: str) -> Object:
        """Take the money of an approved order, once, whoever asks and however often. Returns the order.

        Its captures are in `captures_of(order)`; the status of each says whether the money has come.
        """
        path = f"/v2/checkout/orders/{quote(order_id, safe='')}"
        try:
            return self.write(f"{path}/capture", {}, key=f"capture:{order_id}")
        except ProviderRefused as refused:
            if refused.code != "ORDER_ALREADY_CAPTURED":
                raise
            return self.get_order(order_id)

    def get_capture(self, capture_id: str) -> Object:
        """The capture as PayPal has it now."""
        return self.call("GET", f"/v2/payments/captures/{quote(capture_id, safe='')}")

    def get_refund(self, refund_id: str) -> Object:
        """The refund as PayPal has it now."""
        return self.call("GET", f"/v2/payments/refunds/{quote(refund_id, safe='')}")

    def refund_capture(
        self, capture_id: str, *, key: str, amount_minor: int | None = None, currency: str | None = None, note: str = ""
    ) -> Object:
        """Refund a capture, all that is left of it unless an amount is given. Returns the refund.

        `key` names the refund among all of the account's: the same key refunds once.
        """
        body: Object = {"note_to_payer": note[:255]} if note else {}
        if amount_minor is not None:
            assert currency, "an amount has a currency"
            body["amount"] = _amount(amount_minor, currency)
        return self.write(f"/v2/payments/captures/{quote(capture_id, safe='')}/refund", body, key=f"refund:{key}")

    def list_events(self, since: datetime, until: datetime) -> Iterator[Object]:
        """The webhook events of the account from `since` to `until`, delivered or not; PayPal keeps 30 days of them."""
        times = {"start_time": time_of(max(since, until - OLDEST_EVENT)), "end_time": time_of(until)}
        yield from self.pages("/v1/notifications/webhooks-events", {**times, "page_size": str(PAGE)}, "events")

    def list_disputes(self, since: datetime) -> Iterator[Object]:
        """The disputes that changed since then, whole: PayPal's list has them without their transactions."""
        query = {"update_time_after": time_of(since), "page_size": str(PAGE)}
        for found in self.pages("/v1/customer/disputes", query, "items"):
            yield self.call("GET", f"/v1/customer/disputes/{quote(word_of(found, 'dispute_id'), safe='')}")

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str], *, webhook_id: str) -> bool:
        """Ask PayPal whether it signed `raw`. The bytes go in as they are: what is written anew may differ.

        `headers` by lower-case name. `raw` has to be a JSON object.
        """
        names = {
            "transmission_id": "paypal-transmission-id",
            "transmission_time": "paypal-transmission-time",
            "transmission_sig": "paypal-transmission-sig",
            "cert_url": "paypal-cert-url",
            "auth_algo": "paypal-auth-algo",
        }
        told = {name: headers[header] for name, header in names.items()}
        head = orjson.dumps({**told, "webhook_id": webhook_id})
        body = head[:-1] + b',"webhook_event":' + raw + b"}"
        answer = self.call("POST", "/v1/notifications/verify-webhook-signature", body=body)
        return answer.get("verification_status") == "SUCCESS"


_clients: dict[Account, PayPal] = {}
_lock = threading.Lock()


def captures_of(order: Object) -> list[Object]:
    """The captures of an order, each with its purchase unit's `custom_id` where it has none of its own."""
    found = []
    for unit in objects(order.get("purchase_units")):
        payments = unit.get("payments")
        captures = payments.get("captures") if isinstance(payments, dict) else None
        named = unit.get("custom_id")
        found += [{**capture, "custom_id": capture.get("custom_id") or named} for capture in objects(captures)]
    return found


def _amount(minor: int, currency: str) -> dict[str, str]:
    try:
        return {"currency_code": currency.upper(), "value": money.paypal_value(minor, currency)}
    except ValueError as reason:
        raise ProviderRefused(str(reason), code="INVALID_AMOUNT") from None


def _credentials(app: App) -> tuple[str, str] | None:
    client_id = app.paypal.client_id or settings.paypal_client_id
    secret = app.paypal.client_secret or settings.paypal_client_secret
    return (client_id, secret) if client_id and secret else None
