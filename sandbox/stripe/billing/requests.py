"""Reads updates of subscriptions from the API's parameters."""

from __future__ import annotations

from typing import Any

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import prices
from sandbox.stripe.billing import changes, items, subscriptions, updates
from sandbox.stripe.billing.changes import ItemChange, Update
from sandbox.stripe.forms import choice, flag, merged_metadata, seconds, whole

# What an update with payment_behavior pending_if_incomplete can change.
PENDING_ALLOWS = (
    *("items", "proration_behavior", "proration_date", "billing_cycle_anchor", "trial_end"),
    *("payment_behavior", "expand"),
)
BILLED = ("items", "billing_cycle_anchor", "trial_end")
FEEDBACK = (
    *("customer_service", "low_quality", "missing_features", "other", "switched_service"),
    *("too_complex", "too_expensive", "unused"),
)


def update(account: Account, subscription: Thing, params: Thing) -> Thing:
    """Update a subscription as the API's parameters say. Raises Refused."""
    subscriptions.expect_not_ended(subscription)
    behavior = choice(params, "payment_behavior", updates.BEHAVIORS, "allow_incomplete")
    if behavior == "pending_if_incomplete":
        _check_pending(params)
    if _is_ending(params):
        _change_end(account, subscription, params)
    if "pause_collection" in params:
        _pause(account, subscription, params["pause_collection"])
    wanted = wanted_of(account, subscription, params, merged_metadata(subscription["metadata"], params))
    if wanted is not None:
        return updates.update(account, subscription, wanted, behavior)
    if "metadata" in params:
        subscriptions.change(account, subscription, metadata=merged_metadata(subscription["metadata"], params))
    return subscription


def wanted_of(account: Account, subscription: Thing, params: Thing, named: Thing | None = None) -> Update | None:
    """The update of items, anchor and trial that the parameters want; None if they name none of these."""
    if not any(name in params for name in BILLED):
        choice(params, "proration_behavior", changes.PRORATIONS, changes.DEFAULT)
        return None
    anchor = choice(params, "billing_cycle_anchor", ("now", "unchanged"), "unchanged")
    return Update(
        items=_items(account, subscription, params.get("items")),
        proration=choice(params, "proration_behavior", changes.PRORATIONS, changes.DEFAULT),
        prorated_at=_prorated_at(account, subscription, params),
        resets_anchor=anchor == "now",
        trial_end=_trial_end(account, subscription, params),
        metadata=named,
    )


def _prorated_at(account: Account, subscription: Thing, params: Thing) -> int | None:
    if "proration_date" not in params:
        return None
    at = whole(params, "proration_date")
    first = items.first_of(subscription)
    if not first["current_period_start"] <= at <= first["current_period_end"]:
        raise Refused("The proration date must be within the current period.", param="proration_date")
    return at


def _trial_end(account: Account, subscription: Thing, params: Thing) -> int | None:
    if "trial_end" not in params:
        return None
    if params["trial_end"] == "now" and subscription["status"] != "trialing":
        return None  # nothing to end
    at = seconds(params, "trial_end", account.now)
    if at < account.now:
        raise Refused("The trial end date must be in the future, or now.", param="trial_end")
    return at


def _items(account: Account, subscription: Thing, given: object) -> tuple[ItemChange, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise Refused("Invalid array", param="items")
    return tuple(_item(account, subscription, item, f"items[{number}]") for number, item in enumerate(given))


def _item(account: Account, subscription: Thing, given: Thing, param: str) -> ItemChange:
    present = _present(subscription, given, param)
    is_named = "price" in given or "price_data" in given
    if not (present or is_named):
        raise Refused(
            "Each item needs an id, a price or price_data.", code="parameter_missing", param=f"{param}[price]"
        )
    price = prices.chosen(account, given, param) if is_named else (present or {})["price"]
    meta = merged_metadata(present["metadata"] if present else {}, given)
    is_deleted = flag(given, "deleted")
    if is_deleted and not present:
        raise Refused("An item to delete needs its id.", param=f"{param}[id]")
    quantity = whole(given, "quantity", present["quantity"] if present else 1, 1)
    return ItemChange(present["id"] if present else None, price, quantity, is_deleted, meta, param)


def _present(subscription: Thing, given: Thing, param: str) -> Thing | None:
    """The item that the parameters name by its id, or None for an item to add. Raises Refused."""
    if "id" not in given:
        return None
    item = {item["id"]: item for item in items.items_of(subscription)}.get(str(given["id"]))
    if item is None:
        message = f"No such subscription item: '{given['id']}'"
        raise Refused(message, status=404, code="resource_missing", param=f"{param}[id]")
    return item


def _check_pending(params: Thing) -> None:
    for name in params:
        if name not in PENDING_ALLOWS:
            message = f"You cannot set {name} when payment_behavior is pending_if_incomplete."
            raise Refused(message, param=name)


# --- the end, and pauses


def _is_ending(params: Thing) -> bool:
    return any(name in params for name in ("cancel_at_period_end", "cancel_at", "cancellation_details"))


def _change_end(account: Account, subscription: Thing, params: Thing) -> None:
    details = details_of(params)
    is_end = "cancel_at_period_end" in params or "cancel_at" in params
    if is_end and subscription["schedule"]:
        message = (
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
        raise Refused(message)
    if "cancel_at_period_end" in params and params.get("cancel_at"):
        raise Refused("You may only specify one of cancel_at_period_end and cancel_at.", param="cancel_at")
    if "cancel_at_period_end" in params:
        is_canceled = flag(params, "cancel_at_period_end")
        subscriptions.cancel_at_period_end(account, subscription, is_canceled, details)
    elif "cancel_at" in params:
        subscriptions.cancel_at(account, subscription, _cancel_at(account, subscription, params), details)
    elif details:
        present = subscription["cancellation_details"]
        subscriptions.change(account, subscription, cancellation_details={**present, **details})


def _cancel_at(account: Account, subscription: Thing, params: Thing) -> int | None:
    given = params["cancel_at"]
    if given == "":
        return None
    if given in ("min_period_end", "max_period_end"):
        return items.next_end(subscription) if given == "min_period_end" else items.last_end(subscription)
    at = whole(params, "cancel_at")
    if at <= account.now:
        raise Refused("cancel_at must be in the future.", param="cancel_at")
    return at


def details_of(params: Thing) -> Thing:
    """The comment and the feedback of `cancellation_details`. Raises Refused."""
    given = params.get("cancellation_details") or {}
    if not isinstance(given, dict):
        raise Refused("Invalid object", param="cancellation_details")
    details: dict[str, Any] = {}
    if "comment" in given:
        details["comment"] = given["comment"] or None
    if "feedback" in given:
        details["feedback"] = choice(given, "feedback", FEEDBACK)
    return details


def _pause(account: Account, subscription: Thing, given: object) -> None:
    if not isinstance(given, dict):
        subscriptions.pause(account, subscription, None)
        return
    resumes_at = whole(given, "resumes_at") if "resumes_at" in given else None
    if resumes_at is not None and resumes_at <= account.now:
        raise Refused("resumes_at must be in the future.", param="pause_collection[resumes_at]")
    subscriptions.pause(account, subscription, str(given.get("behavior", "")), resumes_at)
