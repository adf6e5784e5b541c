"""The portal's cards: one per object, with its parts and its actions."""

from __future__ import annotations

from collections.abc import Callable

from sandbox import formatting
from sandbox.control.actions import offered
from sandbox.pages import paypal_cards
from sandbox.store.account import Account
from sandbox.store.store import Thing
from sandbox.stripe import disputes, prices
from sandbox.stripe.billing import invoices as stripe_invoices
from sandbox.stripe.billing import items
from sandbox.stripe.billing.items import first_of, items_of

SUBSCRIPTION_OF_INVOICE = "parent.subscription_details.subscription"


def of(account: Account, kind: str, thing: Thing) -> Thing:
    """An object's card: `title`, `customer`, `sold`, `state`, `notes`, `parts`, `why_not`, `actions`, `id`, `kind`.

    `billed_to`: the customer at Stripe, who has a billing page. `parts` are cards; `why_not` says why it cannot be
    refunded. `plans` and `prices`: what a subscription can change to, as (key or id, description).
    """
    shown = CARDS[kind](account, thing)
    parts = [of(account, *part) for part in shown.get("parts", [])]
    empty: Thing = {
        "billed_to": None,
        "customer": None,
        "sold": None,
        "notes": [],
        "why_not": "",
        "prices": [],
        "plans": [],
    }
    return {**empty, **shown, "parts": parts, "id": thing["id"], "kind": kind, "actions": offered(kind, thing)}


def _parts(account: Account, kind: str, field: str, id_: str) -> list[tuple[str, Thing]]:
    return [(kind, part) for part in account.store.parts(account.name, kind, field, id_)]


def _when(thing: Thing) -> str:
    return formatting.moment(thing["created"])


# --- Stripe


def _transfer(account: Account, session: Thing) -> Thing:
    return {
        "title": f"{formatting.price(session['amount_total'], session['currency'])} by bank transfer",
        "customer": _buyer(account, session),
        "sold": session["_lines"][0]["description"],
        "state": "on its way",
        "notes": ["Stripe", f"arrives on {formatting.moment(session['_settles_at'])}"],
    }


def _buyer(account: Account, session: Thing) -> str | None:
    return session["metadata"].get("customer") or session["client_reference_id"]


def _charge(account: Account, charge: Thing) -> Thing:
    failure = [charge["failure_message"]] if charge["failure_message"] else []
    return {
        "title": formatting.price(charge["amount"], charge["currency"]),
        "customer": _payer(account, charge),
        "sold": charge.get("_sold"),
        "state": _state_of_charge(charge),
        "notes": ["Stripe", _when(charge), *_months(account, charge), *failure],
        "parts": [
            *_parts(account, "refund", "charge", charge["id"]),
            *_parts(account, "dispute", "charge", charge["id"]),
        ],
        "why_not": disputes.why_not_refundable(charge),
    }


def _invoice_of(account: Account, charge: Thing) -> Thing | None:
    return account.get("invoice", charge["_invoice"]) if charge.get("_invoice") else None


def _months(account: Account, charge: Thing) -> list[str]:
    invoice = _invoice_of(account, charge)
    return [_period(invoice)] if invoice else []


def _period(invoice: Thing) -> str:
    """The period that a subscription's invoice is for."""
    period = invoice["lines"]["data"][-1]["period"]
    return f"for {formatting.day(period['start'])} to {formatting.day(period['end'])}"


def customer_of(account: Account, kind: str, thing: Thing) -> str | None:
    """Scrip's customer of a payment or a subscription, or None."""
    return CUSTOMERS[kind](account, thing)


def _payer(account: Account, charge: Thing) -> str | None:
    """The customer in the metadata of the charge, or of its invoice's subscription."""
    invoice = _invoice_of(account, charge)
    details = (invoice["parent"] or {}).get("subscription_details") if invoice else None
    metadata = details["metadata"] if details else charge["metadata"]
    return metadata.get("customer")


def _state_of_charge(charge: Thing) -> str:
    if charge["status"] != "succeeded":
        return str(charge["status"])
    if disputes.is_charged_back(charge):
        return "charged back"
    if charge["amount_refunded"]:
        left = charge["amount"] - charge["amount_refunded"]
        return f"partially refunded, {formatting.price(left, charge['currency'])} left" if left else "refunded"
    return "paid"


def _refund(account: Account, refund: Thing) -> Thing:
    return {
        "title": f"Refund of {formatting.price(refund['amount'], refund['currency'])}",
        "state": refund["status"],
        "notes": [_when(refund)],
    }


def _dispute(account: Account, dispute: Thing) -> Thing:
    kind = "Inquiry" if dispute["status"].startswith("warning") else "Dispute"
    return {
        "title": f"{kind} about {formatting.price(dispute['amount'], dispute['currency'])}",
        "state": DISPUTES.get(dispute["status"], dispute["status"]),
        "notes": [_when(dispute)],
    }


DISPUTES = {disputes.INQUIRY: "open", disputes.INQUIRY_CLOSED: "closed", disputes.OPEN: "open"}


def _subscription(account: Account, subscription: Thing) -> Thing:
    item = first_of(subscription)
    invoices = account.store.parts(account.name, "invoice", SUBSCRIPTION_OF_INVOICE, subscription["id"])
    return {
        "title": " + ".join(_how_much(item["price"], item["quantity"]) for item in items_of(subscription)),
        "customer": _subscriber(account, subscription),
        "sold": ", ".join(_sold(item) for item in items_of(subscription)),
        "state": "paused"
        if subscription["pause_collection"] and subscription["status"] != "canceled"
        else formatting.state(subscription["status"]),
        "notes": ["Stripe", *_future(subscription)],
        "parts": [("invoice", invoice) for invoice in invoices if _is_unpaid(invoice)],
        "billed_to": subscription["customer"],
        "prices": [
            (price["id"], f"{price['_name']}: {_how_much(price, item['quantity'])}")
            for price in prices.others(account, item["price"])
        ],
        "plans": [
            (key, f"{key}, {price['_name']}: {_how_much(price, item['quantity'])}")
            for key, price in prices.other_plans(account, subscription)
        ],
    }


def _sold(item: Thing) -> str:
    name: str = item["price"]["_name"]
    return name if item["quantity"] == 1 else f"{item['quantity']} × {name}"


def _subscriber(account: Account, subscription: Thing) -> str | None:
    customer: str | None = subscription["metadata"].get("customer")
    return customer


def _is_unpaid(invoice: Thing) -> bool:
    return invoice["status"] in stripe_invoices.UNPAID


def _how_much(price: Thing, quantity: int) -> str:
    recurring = price["recurring"]
    each = formatting.price(price["unit_amount"] * quantity, price["currency"])
    return f"{each} {formatting.every(recurring['interval'], recurring['interval_count'])}"


def _future(subscription: Thing) -> list[str]:
    """When the subscription renews or ends."""
    ends_at = formatting.moment(items.next_end(subscription))
    if subscription["status"] == "canceled":
        return [f"ended on {formatting.moment(subscription['ended_at'])}"]
    if subscription["cancel_at"]:
        return [f"ends on {formatting.moment(subscription['cancel_at'])}"]
    declined = ["the next card payment will be declined"] if subscription.get("_fail_next") else []
    return [f"renews on {ends_at}", *declined]


def _invoice(account: Account, invoice: Thing) -> Thing:
    return {
        "title": f"Unpaid invoice of {formatting.price(invoice['amount_due'], invoice['currency'])}",
        "state": invoice["status"],
        "notes": [_when(invoice), _period(invoice)],
    }


CARDS: dict[str, Callable[[Account, Thing], Thing]] = {
    "checkout.session": _transfer,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "subscription": _subscription,
    "invoice": _invoice,
    **paypal_cards.CARDS,
}

CUSTOMERS: dict[str, Callable[[Account, Thing], str | None]] = {
    "checkout.session": _buyer,
    "charge": _payer,
    "subscription": _subscriber,
    **paypal_cards.CUSTOMERS,
}
