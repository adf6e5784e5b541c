"""What the billing page shows of a customer: subscriptions with what they can change to, and invoices."""

from __future__ import annotations

from sandbox import formatting
from sandbox.pages import paypal_cards
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import prices
from sandbox.stripe.billing import invoices, items, previews
from sandbox.stripe.billing.items import interval_of, items_of

MOST_INVOICES = 24


def of_customer(account: Account, customer: Thing) -> Thing:
    """The customer's `subscriptions`, those at `paypal`, `ended` ones, `unpaid` and all `invoices`, newest first."""
    found = account.store.parts(account.name, "subscription", "customer", customer["id"])[::-1]
    billed = account.store.parts(account.name, "invoice", "customer", customer["id"])[::-1]
    return {
        "subscriptions": [_subscription(account, each) for each in found if each["status"] != "canceled"],
        "ended": [_ended(each) for each in found if each["status"] == "canceled"],
        "paypal": [_paypal(each) for each in _of_paypal(account, _names(customer, found))],
        "unpaid": [each for each in billed if each["status"] in invoices.UNPAID],
        "invoices": billed[:MOST_INVOICES],
    }


def _names(customer: Thing, found: list[Thing]) -> set[str]:
    """Scrip's names of the customer: in the metadata of the customer and of the subscriptions."""
    named = [thing["metadata"].get("customer") for thing in (customer, *found)]
    return {name for name in named if name}


def _of_paypal(account: Account, names: set[str]) -> list[Thing]:
    """The subscriptions at PayPal whose `custom_id` names the customer."""
    return [each for each in account.each(SUBSCRIPTION) if paypal_cards.customer_of_custom_id(each) in names]


def _paypal(subscription: Thing) -> Thing:
    at = subscription["billing_info"].get("next_billing_time")
    return {
        "id": subscription["id"],
        "name": subscription["_sold"],
        "quantity": int(subscription["quantity"]),
        "state": formatting.state(subscription["status"]),
        "next": f"Next payment on {formatting.iso_moment(at)}." if at else "",
        "can_cancel": subscription["status"] in ("ACTIVE", "SUSPENDED"),
        "can_suspend": subscription["status"] == "ACTIVE",
        "can_activate": subscription["status"] == "SUSPENDED",
    }


def _subscription(account: Account, subscription: Thing) -> Thing:
    return {
        "id": subscription["id"],
        "state": _state(subscription),
        "items": [_item(account, subscription, item) for item in items_of(subscription)],
        "next": _next(account, subscription),
        "notes": _notes(account, subscription),
        "pending": _pending(account, subscription),
        "is_ending": subscription["cancel_at"] is not None,
        "is_scheduled": bool(subscription["schedule"]),
        "is_paused": subscription["status"] == "paused" or bool(subscription["pause_collection"]),
    }


def _state(subscription: Thing) -> str:
    if subscription["pause_collection"]:
        return "paused"
    return {"trialing": "trial"}.get(subscription["status"], formatting.state(subscription["status"]))


def _item(account: Account, subscription: Thing, item: Thing) -> Thing:
    return {
        "id": item["id"],
        "name": item["price"]["_name"],
        "price": _how_much(item["price"]),
        "price_id": item["price"]["id"],
        "quantity": item["quantity"],
        "offers": [
            (price["id"], f"{key}: {_how_much(price)} per seat")
            for key, price in prices.offers(account, subscription, item)
        ],
    }


def _how_much(price: Thing) -> str:
    return f"{formatting.price(price['unit_amount'], price['currency'])} {formatting.every(*interval_of(price))}"


def _next(account: Account, subscription: Thing) -> str:
    """The next bill with its time, or why there is none."""
    if subscription["cancel_at"]:
        return f"Ends on {formatting.moment(subscription['cancel_at'])}. There is no further bill."
    if subscription["pause_collection"] or subscription["status"] == "paused":
        return "Paused: there are no bills until it is resumed."
    try:
        bill = previews.create(account, subscription, None)
    except Refused:
        return ""
    at = formatting.moment(bill["period_end"])
    return f"Next bill: {formatting.price(bill['amount_due'], bill['currency'])} on {at}."


def _notes(account: Account, subscription: Thing) -> list[str]:
    notes = []
    if subscription["status"] == "trialing":
        notes.append(f"The trial ends on {formatting.moment(subscription['trial_end'])}.")
    if subscription["schedule"]:
        schedule = account.need("subscription_schedule", subscription["schedule"])
        notes += [_phase(account, phase) for phase in schedule["phases"] if phase["start_date"] > account.now]
    if subscription["status"] == "past_due":
        notes.append("The last bill is not paid. Pay it below.")
    return notes


def _phase(account: Account, phase: Thing) -> str:
    sold = ", ".join(
        f"{formatting.count(item['quantity'], 'seat')} at {_how_much(account.need('price', item['price']))}"
        for item in phase["items"]
    )
    return f"Changes on {formatting.moment(phase['start_date'])} to {sold}."


def _pending(account: Account, subscription: Thing) -> Thing | None:
    """The change that waits for its payment: the invoice to pay, and until when."""
    if not subscription["pending_update"]:
        return None
    invoice = account.need("invoice", subscription["_pending"]["invoice"])
    return {
        "invoice": invoice["id"],
        "price": formatting.price(invoice["amount_remaining"], invoice["currency"]),
        "until": formatting.moment(subscription["pending_update"]["expires_at"]),
    }


def _ended(subscription: Thing) -> str:
    sold = ", ".join(item["price"]["_name"] for item in items.items_of(subscription))
    return f"{sold}: ended on {formatting.moment(subscription['ended_at'])}"
