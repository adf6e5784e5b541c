"""The phases of Stripe's subscription schedules, as the API's parameters give them."""

from __future__ import annotations

from sandbox import intervals
from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import prices
from sandbox.stripe.billing import changes
from sandbox.stripe.forms import choice, metadata, seconds, whole

NO_VALUES = ("billing_cycle_anchor", "collection_method", "description", "invoice_settings", "trial_end")


def item(price: str, quantity: int) -> Thing:
    """An item of a phase."""
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }


def new(subscription: Thing, sold: list[Thing], start: int, end: int, given: Thing) -> Thing:
    """A phase. `given`: the API's parameters of its metadata and proration. Raises Refused."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "currency": subscription["currency"],
        "discounts": [],
        "end_date": end,
        "items": sold,
        "metadata": metadata(given),
        "proration_behavior": choice(given, "proration_behavior", changes.PRORATIONS, changes.DEFAULT),
        "start_date": start,
        **dict.fromkeys(NO_VALUES),
    }


def read(account: Account, schedule: Thing, subscription: Thing, given: object) -> list[Thing]:
    """The phases of an update of the schedule; the first one is the present one. Raises Refused."""
    if not isinstance(given, list) or not given or not all(isinstance(phase, dict) for phase in given):
        raise Refused("You must pass at least one phase.", param="phases")
    start = schedule["current_phase"]["start_date"]
    found: list[Thing] = []
    for number, phase in enumerate(given):
        at = seconds(phase, "start_date", account.now, start)
        if at != start:
            message = (
                "The first phase must start with the current phase, and each other phase when the one before ends."
            )
            raise Refused(message, param=f"phases[{number}][start_date]")
        sold = _items(account, subscription, phase.get("items"), number)
        end = _end(account, phase, sold, start, number)
        found.append(new(subscription, sold, start, end, phase))
        start = end
    return found


def _items(account: Account, subscription: Thing, given: object, number: int) -> list[Thing]:
    if not isinstance(given, list) or not given or not all(isinstance(line, dict) for line in given):
        raise Refused("A phase must have at least one item.", param=f"phases[{number}][items]")
    found = []
    for place, line in enumerate(given):
        price = prices.chosen(account, line, f"phases[{number}][items][{place}]")
        if price["type"] != "recurring" or price["currency"] != subscription["currency"]:
            message = "The price of a phase must be recurring, in the currency of the subscription."
            raise Refused(message, param=f"phases[{number}][items][{place}][price]")
        found.append(item(price["id"], whole(line, "quantity", 1, 1)))
    return found


def _end(account: Account, phase: Thing, sold: list[Thing], start: int, number: int) -> int:
    """The end of a phase: its `end_date`, or after its `duration`, by default one interval of its first price."""
    if "end_date" in phase and "duration" in phase:
        raise Refused("You may only specify one of end_date and duration.", param=f"phases[{number}][end_date]")
    if "end_date" in phase:
        end = seconds(phase, "end_date", account.now)
        if end <= start or end < account.now:
            raise Refused("A phase must end after its start, and in the future.", param=f"phases[{number}][end_date]")
        return end
    lasts = phase.get("duration") or account.need("price", sold[0]["price"])["recurring"]
    interval = choice(lasts, "interval", prices.INTERVALS)
    count = whole({"interval_count": str(lasts.get("interval_count", 1))}, "interval_count", 1, 1)
    return intervals.add(start, interval, count)
