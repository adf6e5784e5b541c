"""Stripe's `expand`: ids in a response are replaced by their objects, `data.customer` in a list too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing

# The names of fields whose objects have another kind, and those that hold a payment intent's id since basil.
KINDS = {
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "schedule": "subscription_schedule",
}
DEEPEST = 4


def _listed(url: str, data: list[Thing]) -> Thing:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def _parts(kind: str, field: str, url: str) -> Callable[[Account, Thing], Thing]:
    """The objects of a kind whose field names the object, the newest first."""

    def find(account: Account, thing: Thing) -> Thing:
        found = account.store.parts(account.name, kind, field, thing["id"])
        return _listed(f"{url}{thing['id']}", found[::-1])

    return find


# Lists that an object contains only if they are expanded, by the object's kind and the field.
LISTS: dict[tuple[str, str], Callable[[Account, Thing], Thing]] = {
    ("checkout.session", "line_items"): lambda account, session: _listed(
        f"/v1/checkout/sessions/{session['id']}/line_items", list(session["_lines"])
    ),
    ("charge", "refunds"): _parts("refund", "charge", "/v1/refunds?charge="),
    ("customer", "subscriptions"): _parts("subscription", "customer", "/v1/subscriptions?customer="),
    ("invoice", "payments"): _parts("invoice_payment", "invoice", "/v1/invoice_payments?invoice="),
}


def expand(account: Account, thing: Thing, paths: object) -> Thing:
    """The object with the fields of the paths expanded. Raises Refused for a path that cannot be expanded."""
    if not isinstance(paths, list) or not paths:
        return thing
    expanded = copy.deepcopy(thing)
    for path in paths:
        steps = str(path).split(".")
        if len(steps) > DEEPEST:
            raise Refused("You cannot expand more than 4 levels of a property.", param="expand")
        if not _expand(account, expanded, steps):
            raise Refused(f"This property cannot be expanded ({path}).", param="expand")
    return expanded


def _expand(account: Account, place: Any, steps: list[str]) -> bool:
    """Expand the field below a place. Returns False if there is no such field."""
    if isinstance(place, list):
        return all(_expand(account, part, steps) for part in place)
    if not isinstance(place, dict):
        return False
    name, *rest = steps
    contained = LISTS.get((str(place.get("object")), name))
    if contained:
        place[name] = contained(account, place)
    if name not in place:
        return False
    value = place[name]
    if isinstance(value, str):
        found = account.get(KINDS.get(name, name), value)
        if found is None:
            return False
        place[name] = found
    return not rest or place[name] is None or _expand(account, place[name], rest)
