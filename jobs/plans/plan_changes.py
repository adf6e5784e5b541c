"""What a change of a subscription means: which item gets which price and quantity, and what that costs and grants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.providers.stripe.billing import changes, prices
from jobs.providers.stripe.billing.changes import Item
from jobs.providers.stripe.billing.prices import Price
from jobs.providers.stripe.objects import Object, metadata, time_of
from models import money
from models.catalog.apps import App, Plan
from models.errors import Conflict, Invalid, ProviderRefused
from models.plans import listing

MOST_SEATS = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """`item`: what Stripe is to set. `units_before`, `units`: of one month, of all items."""

    plan: Plan
    quantity: int
    item: Item
    interval: tuple[str, int]
    units_before: int
    units: int
    is_same: bool

    @property
    def is_upwards(self) -> bool:
        """Whether the subscription grants more units afterwards."""
        return self.units > self.units_before


def check_plan(app: App, plan: str) -> Plan:
    """The plan of the catalog. Raises Invalid."""
    found = app.plans.get(plan)
    if found is None:
        raise Invalid([("plan", f"unknown plan {plan!r}; the app has {', '.join(app.plans) or 'none'}")])
    return found


def change(app: App, subscription: Object, plan: str, quantity: int | None) -> Change:
    """The change to the plan, of the item that has it or of the only plan.

    Raises:
        Invalid: the plan has no price that fits the subscription.
        Conflict: the subscription has no plan of the catalog, or several others.
        ProviderAway.
    """
    target = check_plan(app, plan)
    sold = _plans_of(app, subscription)
    item, present = _chosen(sold, target)
    count = quantity or int(item.get("quantity") or 1)
    price = prices.read(item["price"])
    if price.interval is None:
        raise Conflict("the subscription has a price without an interval")
    new = price if present.key == target.key else _price(app, target, price)
    before = sum(one.units * int(it.get("quantity") or 1) for it, one in sold)
    return Change(
        plan=target,
        quantity=count,
        item={"id": item["id"], "price": new.id, "quantity": count},
        interval=price.interval,
        units_before=before,
        units=before - present.units * int(item.get("quantity") or 1) + target.units * count,
        is_same=(new.id, count) == (price.id, int(item.get("quantity") or 1)),
    )


def _plans_of(app: App, subscription: Object) -> list[tuple[Object, Plan]]:
    """The items that are plans: by their prices, or the first one if only the metadata name the plan."""
    items = changes.items_of(subscription)
    found = [(item, app.plan_by_stripe_price(item["price"]["id"])) for item in items]
    named = app.plans.get(str(metadata(subscription).get("plan")))
    if items and named and not any(plan for _, plan in found):
        return [(items[0], named)]
    return [(item, plan) for item, plan in found if plan]


def _chosen(sold: list[tuple[Object, Plan]], target: Plan) -> tuple[Object, Plan]:
    same = [one for one in sold if one[1].key == target.key]
    if len(same) == 1:
        return same[0]
    if len(sold) == 1:
        return sold[0]
    if not sold:
        raise Conflict("the subscription has no plan of the catalog")
    raise Conflict(f"the subscription has {len(sold)} items of plans: change it at the provider")


def _price(app: App, target: Plan, present: Price) -> Price:
    """The plan's price with the same interval and currency as the present one. Raises Invalid."""
    for id_ in target.prices:
        try:
            price = prices.price(app, id_)
        except ProviderRefused:
            continue  # of another account, or deleted
        if (price.interval, price.currency) == (present.interval, present.currency):
            return price
    unit, count = present.interval or ("", 1)
    every = unit if count == 1 else f"{count} {unit}s"
    reason = f"has no price at Stripe by the {every} in {present.currency}: add one to its stripe_prices"
    raise Invalid([("plan", f"{target.key!r} {reason}")])


def preview(app: App, row: Any, subscription: Object, wanted: Change, *, now: datetime) -> dict[str, Any]:
    """Money and units now and at the renewal.

    Raises:
        ProviderAway, ProviderRefused.
    """
    renewal = changes.preview(app, subscription, [wanted.item], "none")
    currency = str(renewal["currency"])
    due = 0
    if wanted.is_upwards and subscription["status"] != "trialing":  # a trial costs nothing, of whatever plan
        due = max(0, int(changes.preview(app, subscription, [wanted.item], "always_invoice")["amount_due"]))
    return {
        "plan": wanted.plan.key,
        "quantity": wanted.quantity,
        "now": {"money": money.as_json(due, currency), "units": _units_now(row, subscription, wanted, now)},
        "renewal": {
            "money": money.as_json(max(0, int(renewal["amount_due"])), currency),
            "units": wanted.units,
            "at": _period_end(subscription),
        },
    }


def _units_now(row: Any, subscription: Object, wanted: Change, now: datetime) -> int:
    """The units of the rest of the running month, as a paid change grants them; none in a trial."""
    start, end = listing.running_cycle(row, now)
    if not wanted.is_upwards or subscription["status"] == "trialing" or start is None or end is None:
        return 0
    more = wanted.units - wanted.units_before
    if wanted.plan.on_upgrade == "full":
        return more
    left = max(0, int((end - now).total_seconds()))
    return more * left // max(1, int((end - start).total_seconds()))


def _period_end(subscription: Object) -> datetime | None:
    ends = [
        time_of(it.get("current_period_end") or subscription.get("current_period_end"))
        for it in changes.items_of(subscription)
    ]
    return min(filter(None, ends), default=None)
