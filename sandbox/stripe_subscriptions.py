"""Stripe's subscriptions: begun by a checkout, renewed by the sandbox's clock, with the events of each."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from models import cycles
from sandbox import stripe_invoices
from sandbox.account import Account, Refused, new_id
from sandbox.store import Thing
from sandbox.stripe_invoices import item_of

RUNNING = ("active", "trialing", "past_due")


def begin(account: Account, session: Thing) -> Thing:
    """The subscription that a paid session buys, with its first invoice."""
    customer = _customer(account, session)
    trial_seconds = session["_trial_days"] * 86400
    anchor = account.now + trial_seconds
    it = _new(account, session, customer["id"], anchor, bool(trial_seconds))
    account.save(it)
    account.tell("customer.subscription.created", it)
    session.update(customer=customer["id"], subscription=it["id"])
    amount = 0 if trial_seconds else session["amount_total"]
    invoice = stripe_invoices.create(account, it, "subscription_create", amount)
    stripe_invoices.pay(account, invoice)
    session["invoice"] = invoice["id"]
    return it


def _customer(account: Account, session: Thing) -> Thing:
    if session["customer"]:
        return account.need("customer", session["customer"])
    return new_customer(account, {"email": session["customer_details"]["email"]})


def new_customer(account: Account, params: Thing) -> Thing:
    """A customer as Stripe knows them."""
    customer = {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.now,
        "currency": None,
        "delinquent": False,
        "description": params.get("description"),
        "email": params.get("email"),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": params.get("metadata") or {},
        "name": params.get("name"),
        "phone": None,
        "shipping": None,
    }
    account.tell("customer.created", account.save(customer))
    return customer


def _new(account: Account, session: Thing, customer: str, anchor: int, trial: bool) -> Thing:
    line = session["_lines"][0]
    id_ = new_id("sub")
    first = (account.now, anchor) if trial else (account.now, _start(anchor, line["price"], 1))
    item = {
        "id": new_id("si"),
        "object": "subscription_item",
        "created": account.now,
        "current_period_start": first[0],
        "current_period_end": first[1],
        "discounts": [],
        "metadata": {},
        "price": line["price"],
        "quantity": line["quantity"],
        "subscription": id_,
        "tax_rates": [],
    }
    return {
        "id": id_,
        "object": "subscription",
        "automatic_tax": {"enabled": False, "disabled_reason": None, "liability": None},
        "billing_cycle_anchor": anchor,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": account.now,
        "currency": session["currency"],
        "customer": customer,
        "days_until_due": None,
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "ended_at": None,
        "items": {
            "object": "list",
            "data": [item],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={id_}",
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": session["_subscription_metadata"],
        "pause_collection": None,
        "schedule": None,
        "start_date": account.now,
        "status": "trialing" if trial else "active",
        "trial_end": anchor if trial else None,
        "trial_start": account.now if trial else None,
        "_next": 0 if trial else 1,
    }


def _start(anchor: int, price: Thing, number: int) -> int:
    """When period `number` starts: the anchor plus so many intervals, to the end of a shorter month."""
    first, interval = datetime.fromtimestamp(anchor, timezone.utc), price["recurring"]["interval"]
    count = number * price["recurring"]["interval_count"]
    if interval in ("month", "year"):
        return int(cycles.cycle_start(first, count * (12 if interval == "year" else 1)).timestamp())
    return int((first + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())


# --- the life of a subscription


def pay_open_invoice(account: Account, invoice: Thing) -> Thing:
    """The buyer pays what was open: the subscription is active again."""
    stripe_invoices.pay(account, invoice)
    it = account.need("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if it["status"] == "past_due":
        _change(account, it, status="active")
    return invoice


def is_due(it: Thing, now: int) -> bool:
    """Whether a period of a running subscription has ended by `now`."""
    return it["status"] in RUNNING and item_of(it)["current_period_end"] <= now


def renew(account: Account, it: Thing) -> None:
    """One period has ended: end the subscription, or bill the next period."""
    if it["cancel_at_period_end"]:
        end(account, it)
        return
    _enter_next_period(it)
    price, quantity = item_of(it)["price"], item_of(it)["quantity"]
    was_trial = it["status"] == "trialing"
    if was_trial:
        it["status"] = "active"
    invoice = stripe_invoices.create(account, it, "subscription_cycle", price["unit_amount"] * quantity)
    if it["pause_collection"]:
        invoice["status"] = "void"
        account.tell("invoice.voided", account.save(invoice))
        account.tell("customer.subscription.updated", account.save(it), {"latest_invoice": None})
    elif it.pop("_fail_next", False):
        it["status"] = "past_due"
        stripe_invoices.fail(account, invoice)
        account.tell("customer.subscription.updated", account.save(it), {"status": "active"})
    else:
        it["status"] = "active"
        previous = {"status": "trialing"} if was_trial else {"latest_invoice": None}
        account.tell("customer.subscription.updated", account.save(it), previous)
        stripe_invoices.pay(account, invoice)


def _enter_next_period(it: Thing) -> None:
    item, anchor, number = item_of(it), it["billing_cycle_anchor"], it["_next"]
    item["current_period_start"] = _start(anchor, item["price"], number)
    item["current_period_end"] = _start(anchor, item["price"], number + 1)
    it["_next"] = number + 1


def end(account: Account, it: Thing) -> Thing:
    """The subscription is over, now."""
    if it["status"] == "canceled":
        raise Refused(f"No such subscription: '{it['id']}'", status=404, code="resource_missing", param="id")
    at = item_of(it)["current_period_end"] if it["cancel_at_period_end"] else account.now
    it.update(status="canceled", ended_at=min(at, account.now), canceled_at=it["canceled_at"] or account.now)
    it["cancellation_details"]["reason"] = "cancellation_requested"
    account.tell("customer.subscription.deleted", account.save(it))
    return it


def cancel_at_period_end(account: Account, it: Thing, wanted: bool = True) -> Thing:
    """End it with the period, or change one's mind."""
    ends_at = item_of(it)["current_period_end"] if wanted else None
    canceled_at = account.now if wanted else None
    return _change(account, it, cancel_at_period_end=wanted, cancel_at=ends_at, canceled_at=canceled_at)


def pause(account: Account, it: Thing, behavior: str | None = "void") -> Thing:
    """Bill nothing for a while; None bills again."""
    return _change(account, it, pause_collection=behavior and {"behavior": behavior, "resumes_at": None})


def fail_next(account: Account, it: Thing) -> Thing:
    """The next renewal's card will be declined."""
    it["_fail_next"] = True
    return account.save(it)


def change_price(account: Account, it: Thing, price: Thing, quantity: int) -> Thing:
    """Another price from now on, in the same period; nothing is prorated."""
    if price["type"] != "recurring":
        raise Refused("The price is not a recurring one.", param="items[0][price]")
    item = item_of(it)
    previous = {"items": {"data": [dict(item)]}}
    item.update(price=price, quantity=quantity)
    account.tell("customer.subscription.updated", account.save(it), previous)
    return it


def _change(account: Account, it: Thing, **changes: object) -> Thing:
    if it["status"] == "canceled":
        raise Refused("A canceled subscription can only update its cancellation_details.")
    previous = {name: it[name] for name in changes if it[name] != changes[name]}
    it.update(changes)
    account.save(it)
    if previous:
        account.tell("customer.subscription.updated", it, previous)
    return it
