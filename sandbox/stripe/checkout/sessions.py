"""Stripe's Checkout Sessions, as the API creates them. `completion` is what happens on the checkout page."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import prices
from sandbox.stripe.forms import choice, flag, metadata, whole

LIFE_SECONDS = 24 * 3600
SHORTEST_SECONDS = 1800
LONGEST_REFERENCE = 200
# Parameters of one mode only.
ONLY_IN = {
    "payment": ("payment_intent_data", "invoice_creation", "customer_creation"),
    "subscription": ("subscription_data", "payment_method_collection"),
}
LOCALES = tuple(
    "auto bg cs da de el en en-GB es es-419 et fi fil fr fr-CA hr hu id it ja ko lt lv ms mt nb nl pl pt pt-BR ro ru"
    " sk sl sv th tr vi zh zh-HK zh-TW".split()
)


def create(account: Account, params: Thing, url: str) -> Thing:
    """Create a session from the API's parameters; its page is below `url`. Raises Refused."""
    mode = params.get("mode")
    if mode not in ("payment", "subscription"):
        raise Refused(f"Invalid mode: must be payment or subscription, not {mode}", param="mode")
    _check_mode(params, mode)
    _check_customer(account, params, mode)
    sold = [_line(account, given, mode, number) for number, given in enumerate(_lines(params))]
    _check_lines(sold, mode)
    id_ = new_id("cs_test")
    return account.save(
        {
            **_session(account, id_, sold),
            **_chosen(account, params),
            "mode": mode,
            "url": f"{url}/checkout/{id_}",
            "_lines": sold,
        }
    )


def _check_mode(params: Thing, mode: str) -> None:
    """Raises Refused for parameters of the other mode."""
    for name in ONLY_IN["subscription" if mode == "payment" else "payment"]:
        if name in params:
            raise Refused(f"You can not pass `{name}` in `{mode}` mode.", param=name)


def _check_customer(account: Account, params: Thing, mode: str) -> None:
    named = [name for name in ("customer", "customer_email") if params.get(name)]
    if len(named) > 1:
        raise Refused("You may only specify one of these parameters: customer, customer_email.", param="customer")
    if params.get("customer"):
        account.need("customer", params["customer"], "customer")
        if "customer_creation" in params:
            message = "You may only specify one of these parameters: customer, customer_creation."
            raise Refused(message, param="customer_creation")
    elif "customer_update" in params:
        raise Refused("`customer_update` can only be used with `customer`.", param="customer_update")
    if len(str(params.get("client_reference_id") or "")) > LONGEST_REFERENCE:
        message = f"client_reference_id has at most {LONGEST_REFERENCE} characters."
        raise Refused(message, param="client_reference_id")


def _check_lines(sold: list[Thing], mode: str) -> None:
    recurring = [line for line in sold if line["price"]["type"] == "recurring"]
    if mode == "subscription" and not recurring:
        message = "You must provide at least one recurring price in `subscription` mode."
        raise Refused(message, param="line_items[0][price]")
    if len({line["currency"] for line in sold}) > 1:
        raise Refused("All line items must have the same currency.", param="line_items")


def _session(account: Account, id_: str, sold: list[Thing]) -> Thing:
    """An open session for the lines."""
    amount = sum(line["amount_total"] for line in sold)
    return {
        "id": id_,
        "object": "checkout.session",
        "amount_subtotal": amount,
        "amount_total": amount,
        "created": account.now,
        "currency": sold[0]["currency"],
        "customer_details": None,
        "invoice": None,
        "livemode": False,
        "payment_intent": None,
        "payment_link": None,
        "payment_status": "unpaid",
        "setup_intent": None,
        "status": "open",
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }


def _chosen(account: Account, params: Thing) -> Thing:
    """The fields of a session that the API's parameters set. Raises Refused."""
    subscribed = params.get("subscription_data") or {}
    is_taxed = flag(params.get("automatic_tax") or {}, "enabled")
    by_default = None if params["mode"] == "subscription" or params.get("customer") else "if_required"
    return {
        "allow_promotion_codes": flag(params, "allow_promotion_codes"),
        "automatic_tax": {
            "enabled": is_taxed,
            "liability": {"type": "self"} if is_taxed else None,
            "provider": "stripe" if is_taxed else None,
            "status": "complete" if is_taxed else None,
        },
        "cancel_url": web_address(params, "cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "customer": params.get("customer"),
        "customer_creation": choice(params, "customer_creation", ("always", "if_required"), by_default or "")
        if by_default or "customer_creation" in params
        else None,
        "customer_email": params.get("customer_email"),
        "expires_at": _expires_at(account, params),
        "invoice_creation": _invoice_creation(params),
        "locale": choice(params, "locale", LOCALES) if params.get("locale") else None,
        "metadata": metadata(params),
        "payment_method_collection": choice(params, "payment_method_collection", ("always", "if_required"), "always"),
        "payment_method_types": ["card"],
        "success_url": web_address(params, "success_url"),
        "_payment_metadata": metadata(params, "payment_intent_data"),
        "_subscription_metadata": metadata(params, "subscription_data"),
        "_trial_days": whole(subscribed, "trial_period_days", 0, 1 if "trial_period_days" in subscribed else 0),
        "_at_trial_end": choice(
            (subscribed.get("trial_settings") or {}).get("end_behavior") or {},
            *("missing_payment_method", ("cancel", "create_invoice", "pause"), "create_invoice"),
        ),
    }


def _expires_at(account: Account, params: Thing) -> int:
    """When the session expires: after a day, or at a time from 30 minutes to a day later. Raises Refused."""
    at = whole(params, "expires_at", account.now + LIFE_SECONDS)
    if not account.now + SHORTEST_SECONDS <= at <= account.now + LIFE_SECONDS:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise Refused(message, param="expires_at")
    return at


def _invoice_creation(params: Thing) -> Thing | None:
    if params["mode"] == "subscription":
        return None
    given = params.get("invoice_creation") or {}
    data = given.get("invoice_data") or {}
    empty = {"account_tax_ids": None, "custom_fields": None, "footer": None, "issuer": None, "rendering_options": None}
    shown = {**empty, "description": data.get("description"), "metadata": metadata(data)}
    return {"enabled": flag(given, "enabled"), "invoice_data": shown}


def _lines(params: Thing) -> list[Thing]:
    lines = params.get("line_items")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
        raise Refused("You must pass line_items.", code="parameter_missing", param="line_items")
    return lines


def _line(account: Account, given: Thing, mode: str, number: int) -> Thing:
    param = f"line_items[{number}]"
    quantity = whole(given, "quantity", 1, 1)
    price = prices.chosen(account, given, param)
    if mode == "payment" and price["type"] == "recurring":
        raise Refused(f"A {price['type']} price does not fit mode {mode}.", param=f"{param}[price]")
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": price["_name"],
        "price": price,
        "quantity": quantity,
    }


def web_address(params: Thing, name: str) -> str | None:
    """An HTTP or HTTPS address to redirect the browser to, or None. Raises Refused."""
    address = params.get(name)
    if address is None:
        return None
    if (
        not isinstance(address, str)
        or urlsplit(address).scheme not in ("http", "https")
        or not urlsplit(address).netloc
    ):
        raise Refused("Not a valid URL", code="url_invalid", param=name)
    return address


def describe(line: Thing) -> str:
    """What a line sells; with the quantity if it is more than one."""
    return str(line["description"]) if line["quantity"] == 1 else f"{line['quantity']} × {line['description']}"


def line_items(session: Thing) -> list[Thing]:
    """The session's line items."""
    return list(session["_lines"])
