"""PayPal's subscriptions: created by the API, approved on the page, revised, suspended, activated and canceled."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from decimal import Decimal

from sandbox.paypal.billing import cycles, plans, sales
from sandbox.paypal.billing.cycles import emit, save, set_status
from sandbox.paypal.objects import Unprocessable, link, new_id
from sandbox.paypal.requests import seconds, web_address
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing

LONGEST_CUSTOM_ID = 127
MOST = 10**6
CREATES = ("plan_id", "custom_id", "quantity", "start_time", "application_context", "subscriber", "shipping_amount")
REVISES = ("plan_id", "quantity", "application_context")
DETAILS = ("_return_url", "_cancel_url")


def create(account: Account, body: Thing, url: str) -> Thing:
    """Create a subscription from the API's body; its approval page is below `url`. Raises Refused."""
    _check_fields(body, CREATES)
    plan = plans.need(account, body.get("plan_id"))
    custom_id = body.get("custom_id")
    if custom_id is not None and not (isinstance(custom_id, str) and 1 <= len(custom_id) <= LONGEST_CUSTOM_ID):
        message = f"custom_id must have 1 to {LONGEST_CUSTOM_ID} characters."
        raise Refused(message, code="INVALID_STRING_LENGTH")
    currency = plans.currency_of(plan)
    id_ = f"I-{secrets.token_hex(6).upper()}"
    subscription: Thing = {
        "id": id_,
        "plan_id": plan["id"],
        "status": "APPROVAL_PENDING",
        "status_update_time": written(account.moment),
        "start_time": _start_time(account, body),
        "quantity": _quantity(body, "1"),
        "plan_overridden": False,
        "subscriber": body.get("subscriber") or {},
        "billing_info": {
            "outstanding_balance": {"currency_code": currency, "value": sales.text(Decimal(0), currency)},
            "failed_payments_count": 0,
        },
        "create_time": written(account.moment),
        "links": _links(id_, url, "approve"),
        "_cycle": 0,
        "_next_at": None,
        "_sold": plan["name"],
        "_token": f"BA-{new_id()}",
        "_url": url,
        **_context(body),
    }
    if custom_id:
        subscription["custom_id"] = custom_id
    save(account, subscription)
    emit(account, subscription, "CREATED")
    return subscription


def _check_fields(body: Thing, accepted: tuple[str, ...]) -> None:
    for name in body:
        if name not in accepted:
            raise Refused(f"The sandbox does not implement the field {name[:50]}.", code="INVALID_PARAMETER_VALUE")


def _quantity(body: Thing, default: str) -> str:
    text = body.get("quantity", default)
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise Refused("quantity must be a whole number, as a string.", code="INVALID_PARAMETER_SYNTAX")
    return text


def _start_time(account: Account, body: Thing) -> str:
    if body.get("start_time") is None:
        return written(account.moment)
    try:
        at = seconds(body["start_time"])
    except (ValueError, AttributeError):
        raise Refused("start_time must be an ISO 8601 time.", code="INVALID_PARAMETER_SYNTAX") from None
    if at < account.now:
        raise Unprocessable("START_DATE_INVALID", "The start time must be in the future.")
    return written(datetime.fromtimestamp(at, timezone.utc))


def _context(body: Thing) -> Thing:
    context = body.get("application_context") or {}
    addresses = (web_address(context.get("return_url")), web_address(context.get("cancel_url")))
    return dict(zip(DETAILS, addresses, strict=True))


def _links(id_: str, url: str, *more: str) -> list[Thing]:
    approve = [link(f"{url}/paypal/subscribe/{id_}", "approve")] if "approve" in more else []
    path = f"{url}/paypal/v1/billing/subscriptions/{id_}"
    return [*approve, link(path, "edit", "PATCH"), link(path, "self")]


# --- the buyer's approval


def approve(account: Account, subscription: Thing) -> Thing:
    """Approve the subscription, or its revision. Raises Refused.

    The first cycle starts at once, or at the start time.
    """
    if subscription.get("_revision"):
        return _apply_revision(account, subscription)
    _expect(subscription, "APPROVAL_PENDING")
    start = max(seconds(subscription["start_time"]), account.now)
    payer = {"payer_id": new_id()[:13], "email_address": "buyer@sandbox.test"}
    subscription.update(
        start_time=written(datetime.fromtimestamp(start, timezone.utc)),
        subscriber={**payer, **subscription["subscriber"]},
        links=_links(subscription["id"], subscription["_url"]),
    )
    set_status(account, subscription, "ACTIVE")
    emit(account, subscription, "ACTIVATED")
    fee = Decimal(plans.need(account, subscription["plan_id"])["payment_preferences"]["setup_fee"]["value"])
    if fee:
        cycles.pay(account, subscription, fee)
    if start <= account.now:
        cycles.step(account, subscription)
    return subscription


def revise(account: Account, subscription: Thing, body: Thing) -> Thing:
    """Ask for another plan or quantity. They apply from the next cycle on, once the buyer approves. Raises Refused."""
    _check_fields(body, REVISES)
    _expect(subscription, "ACTIVE")
    plan = plans.need(account, body.get("plan_id", subscription["plan_id"]))
    if plans.currency_of(plan) != plans.currency_of(plans.need(account, subscription["plan_id"])):
        raise Unprocessable("CURRENCY_MISMATCH", "The currency of the plan differs from the subscription's.")
    quantity = _quantity(body, subscription["quantity"])
    subscription["_revision"] = {"plan_id": plan["id"], "quantity": quantity}
    subscription.update({name: value for name, value in _context(body).items() if value})
    save(account, subscription)
    links = _links(subscription["id"], subscription["_url"], "approve")
    return {"plan_id": plan["id"], "quantity": quantity, "plan_overridden": False, "links": links}


def _apply_revision(account: Account, subscription: Thing) -> Thing:
    _expect(subscription, "ACTIVE")
    started = cycles.starts_at(
        plans.need(account, subscription["plan_id"]), seconds(subscription["start_time"]), subscription["_cycle"]
    )
    subscription.update(subscription.pop("_revision"))
    plan = plans.need(account, subscription["plan_id"])
    subscription["_sold"] = plan["name"]
    cycles.refresh(account, subscription)
    # The period that was paid runs to its end, whatever the interval of the new plan is.
    if subscription["_next_at"] != started:
        subscription.update(start_time=written(datetime.fromtimestamp(started, timezone.utc)), _cycle=0)
        cycles.refresh(account, subscription)
    save(account, subscription)
    emit(account, subscription, "UPDATED")
    return subscription


# --- the life of a subscription


def suspend(account: Account, subscription: Thing, note: str = "") -> None:
    """Suspend the subscription: no payments are taken. Raises Unprocessable."""
    _expect(subscription, "ACTIVE")
    set_status(account, subscription, "SUSPENDED", note)
    emit(account, subscription, "SUSPENDED")


def activate(account: Account, subscription: Thing, note: str = "") -> None:
    """Activate a suspended subscription. The cycles that began during the suspension are not paid."""
    _expect(subscription, "SUSPENDED")
    plan, start = plans.need(account, subscription["plan_id"]), seconds(subscription["start_time"])
    while cycles.cycle_of(plan, subscription["_cycle"]):
        if cycles.starts_at(plan, start, subscription["_cycle"]) > account.now:
            break
        subscription["_cycle"] += 1
    subscription["billing_info"]["failed_payments_count"] = 0
    set_status(account, subscription, "ACTIVE", note)
    emit(account, subscription, "RE-ACTIVATED")


def cancel(account: Account, subscription: Thing, note: str = "") -> None:
    """Cancel the subscription. Raises Unprocessable."""
    _expect(subscription, "ACTIVE", "SUSPENDED")
    subscription.pop("_revision", None)
    set_status(account, subscription, "CANCELLED", note)
    emit(account, subscription, "CANCELLED")


def fail_next(account: Account, subscription: Thing) -> None:
    """Let the next payment fail."""
    subscription["_fail_next"] = True
    save(account, subscription)


def pay_outstanding(account: Account, subscription: Thing, amount: Decimal | None = None) -> Thing:
    """Take what failed payments left unpaid. Raises Unprocessable."""
    _expect(subscription, "ACTIVE", "SUSPENDED")
    unpaid = cycles.outstanding(subscription)
    if not unpaid:
        raise Unprocessable("ZERO_OUTSTANDING_BALANCE", "Current outstanding balance should be greater than zero.")
    if amount is not None and amount != unpaid:
        raise Unprocessable("INVALID_OUTSTANDING_AMOUNT", f"The sandbox takes all that is outstanding: {unpaid}.")
    return cycles.pay(account, subscription, unpaid)


def transactions(account: Account, subscription: Thing, since: int, until: int) -> list[Thing]:
    """The payments from `since` to `until`, the oldest first."""
    found = account.store.parts(account.name, sales.SALE, "billing_agreement_id", subscription["id"])
    return [sales.transaction_of(sale) for sale in found if since <= sale["_created"] <= until]


def _expect(subscription: Thing, *states: str) -> None:
    if subscription["status"] not in states:
        message = f"Invalid subscription status for this action: the subscription is {subscription['status']}."
        raise Unprocessable("SUBSCRIPTION_STATUS_INVALID", message)
