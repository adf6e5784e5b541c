"""Stripe's subscription schedules: created from a subscription, their phases, and their release.

A schedule changes the items of its subscription when a phase starts. If all periods end at that time, the new items
are billed by the renewal; else they are prorated as the phase's `proration_behavior` says.
"""

from __future__ import annotations

import copy

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe.billing import changes, items, phases, subscriptions, updates
from sandbox.stripe.billing.changes import ItemChange, Update
from sandbox.stripe.billing.items import items_of
from sandbox.stripe.forms import choice, merged_metadata

ENDS = ("release", "cancel")


def create(account: Account, subscription: Thing) -> Thing:
    """Create a schedule from a subscription: one phase, its present period. Raises Refused."""
    subscriptions.expect_not_ended(subscription)
    if subscription["schedule"]:
        message = (
            f"You cannot migrate a subscription that is already attached to a schedule: {subscription['schedule']}"
        )
        raise Refused(message, param="from_subscription")
    first = items.first_of(subscription)
    present = [phases.item(item["price"]["id"], item["quantity"]) for item in items_of(subscription)]
    phase = phases.new(subscription, present, first["current_period_start"], first["current_period_end"], {})
    schedule = _schedule(account, subscription, phase)
    account.emit("subscription_schedule.created", account.save(schedule))
    _attach(account, subscription, schedule["id"], phase["end_date"])
    return schedule


def _schedule(account: Account, subscription: Thing, phase: Thing) -> Thing:
    return {
        "id": new_id("sub_sched"),
        "object": "subscription_schedule",
        "application": None,
        "canceled_at": None,
        "completed_at": None,
        "created": account.now,
        "current_phase": {"start_date": phase["start_date"], "end_date": phase["end_date"]},
        "customer": subscription["customer"],
        "default_settings": {
            "billing_cycle_anchor": "automatic",
            "collection_method": "charge_automatically",
            "invoice_settings": {"issuer": {"type": "self"}},
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "phases": [phase],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }


def update(account: Account, schedule: Thing, params: Thing) -> Thing:
    """Update a schedule; its phases must begin with the present one. Raises Refused."""
    _expect_active(schedule)
    before, subscription = copy.deepcopy(schedule), account.need("subscription", schedule["subscription"])
    schedule["end_behavior"] = choice(params, "end_behavior", ENDS, schedule["end_behavior"])
    schedule["metadata"] = merged_metadata(schedule["metadata"], params)
    if "phases" in params:
        schedule["phases"] = phases.read(account, schedule, subscription, params["phases"])
        present = schedule["phases"][0]
        schedule["current_phase"] = {"start_date": present["start_date"], "end_date": present["end_date"]}
    account.emit_if_changed("subscription_schedule.updated", account.save(schedule), before)
    if "phases" in params:
        subscription["_phase_ends"] = schedule["current_phase"]["end_date"]
        account.save(subscription)
        proration = choice(params, "proration_behavior", changes.PRORATIONS, changes.DEFAULT)
        _change_items(account, subscription, schedule["phases"][0], proration)
    return schedule


# --- the phases, one after another


def enter_next_phase(account: Account, subscription: Thing) -> None:
    """Enter the phase after the present one, which has ended; after the last one, the schedule ends."""
    schedule = account.need("subscription_schedule", subscription["schedule"])
    before = copy.deepcopy(schedule)
    following = [phase for phase in schedule["phases"] if phase["start_date"] >= subscription["_phase_ends"]]
    if not following:
        _finish(account, schedule, subscription)
        return
    phase = following[0]
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    account.emit("subscription_schedule.updated", account.save(schedule), before)
    subscription["_phase_ends"] = phase["end_date"]
    account.save(subscription)
    _change_items(account, subscription, phase, phase["proration_behavior"])


def _change_items(account: Account, subscription: Thing, phase: Thing, proration: str) -> None:
    """Change the subscription to the items and the metadata of a phase."""
    wanted = _wanted(account, subscription, phase)
    named = {**subscription["metadata"], **phase["metadata"]}
    if all(item["current_period_end"] <= account.now for item in items_of(subscription)):
        _replace_ended(account, subscription, phase, named)
    elif wanted or named != subscription["metadata"]:
        asked = Update(items=wanted, proration=proration, metadata=named)
        updates.update(account, subscription, asked)


def _wanted(account: Account, subscription: Thing, phase: Thing) -> tuple[ItemChange, ...]:
    """The changes that lead to the items of a phase. Another price is another item, as at Stripe."""
    present = {item["price"]["id"]: item for item in items_of(subscription)}
    wanted = []
    for sold in phase["items"]:
        item = present.pop(sold["price"], None)
        if item is None or item["quantity"] != sold["quantity"]:
            price = account.need("price", sold["price"])
            wanted.append(ItemChange(item["id"] if item else None, price, sold["quantity"]))
    removed = [ItemChange(item["id"], item["price"], 0, is_deleted=True) for item in present.values()]
    return (*wanted, *removed)


def _replace_ended(account: Account, subscription: Thing, phase: Thing, named: Thing) -> None:
    """Replace the items at the end of their periods. The renewal, which follows, bills them and emits the event."""
    subscription["_before"] = copy.deepcopy(subscription)
    _replace(account, subscription, phase)
    subscription["metadata"] = named
    account.save(subscription)


def _replace(account: Account, subscription: Thing, phase: Thing) -> None:
    present = {item["price"]["id"]: item for item in items_of(subscription)}
    replaced, at = [], items.next_end(subscription)
    for sold in phase["items"]:
        price = account.need("price", sold["price"])
        item = present.get(sold["price"]) or items.new(account, subscription["id"], price, sold["quantity"])
        item.update(quantity=sold["quantity"], current_period_end=at)
        replaced.append(item)
    if any(_misses_anchor(subscription, item, at) for item in replaced):
        subscription["billing_cycle_anchor"] = at
    for item in replaced:
        item["_next"] = items.number_at(subscription["billing_cycle_anchor"], item["price"], at)
    subscription["items"] = items.listed(subscription["id"], replaced)


def at_next_renewal(account: Account, subscription: Thing) -> Thing:
    """A copy of the subscription with the items that its next renewal bills: those of a phase that starts then."""
    future, at = copy.deepcopy(subscription), items.next_end(subscription)
    if subscription.get("_phase_ends") == at == items.last_end(subscription):
        schedule = account.need("subscription_schedule", subscription["schedule"])
        for phase in (phase for phase in schedule["phases"] if phase["start_date"] == at):
            _replace(account, future, phase)
    return future


def _misses_anchor(subscription: Thing, item: Thing, at: int) -> bool:
    """Whether no period of the item starts at the time, counted from the present anchor."""
    anchor = subscription["billing_cycle_anchor"]
    return items.period_start(anchor, item["price"], items.number_at(anchor, item["price"], at)) != at


# --- the end of a schedule


def release(account: Account, schedule: Thing) -> Thing:
    """Release the schedule: its subscription continues without it. Raises Refused."""
    _expect_active(schedule)
    subscription = account.need("subscription", schedule["subscription"])
    schedule.update(
        status="released",
        released_at=account.now,
        released_subscription=subscription["id"],
        subscription=None,
        current_phase=None,
    )
    account.emit("subscription_schedule.released", account.save(schedule))
    _attach(account, subscription, None, None)
    return schedule


def _finish(account: Account, schedule: Thing, subscription: Thing) -> None:
    if schedule["end_behavior"] == "release":
        release(account, schedule)
        return
    schedule.update(status="completed", completed_at=account.now, current_phase=None)
    account.emit("subscription_schedule.completed", account.save(schedule))
    subscription["_phase_ends"] = None
    subscriptions.end(account, subscription)


def cancel_of(account: Account, subscription: Thing) -> None:
    """Cancel the schedule of a subscription that ends now, if it has one."""
    if subscription["schedule"]:
        schedule = account.need("subscription_schedule", subscription["schedule"])
        schedule.update(status="canceled", canceled_at=account.now, current_phase=None)
        account.emit("subscription_schedule.canceled", account.save(schedule))
        subscription["_phase_ends"] = None


def _attach(account: Account, subscription: Thing, schedule: str | None, phase_ends: int | None) -> None:
    subscription["_phase_ends"] = phase_ends
    subscriptions.change(account, subscription, schedule=schedule)


def _expect_active(schedule: Thing) -> None:
    if schedule["status"] != "active":
        message = f"You cannot change a subscription schedule that is {schedule['status']}."
        raise Refused(message)
