"""Stripe's lists, the newest first: `limit`, `starting_after`, `ending_before`, `created`, and filters by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import request

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import parameters
from sandbox.stripe.forms import whole

MOST = 100
ENDED = ("canceled", "incomplete_expired")
Handler = Callable[..., Thing]
# A call of the API: method, address, function, and the parameters that it accepts (see `parameters`).
Call = tuple[str, str, Handler, str]


def getter(kind: str) -> Handler:
    """The function of a call that returns an object by its id."""
    return lambda account, params, id_: account.need(kind, id_)


def lister(rule: str, kind: str, *filters: str, also: str = "") -> Call:
    """The call that lists the objects of a kind. `also`: further parameters, which a filter of `FITS` reads."""
    accepted = " ".join((parameters.LIST, *filters, also))
    return "GET", rule, lambda account, params: things(account, kind, params, filters, request.path), accepted


def things(account: Account, kind: str, params: Thing, filters: tuple[str, ...], url: str) -> Thing:
    """A page of the objects of a kind. `filters` are the parameters that select by value."""
    since, before = _window(params)
    found = account.store.each(account.name, kind, since, before)
    selected = {name: params[name] for name in filters if name in params}
    return page([thing for thing in found if _fits(thing, selected)], params, url)


def _fits(thing: Thing, selected: Thing) -> bool:
    return all(FITS.get(name, _equals)(thing, name, value) for name, value in selected.items())


def _equals(thing: Thing, name: str, value: Any) -> bool:
    return bool(thing.get(name) == value)


def _fits_status(thing: Thing, name: str, value: Any) -> bool:
    """Stripe's `ended` is a group of states; `running` is the sandbox's word for the others."""
    if value in ("ended", "running"):
        return (thing["status"] in ENDED) == (value == "ended")
    return value == "all" or bool(thing["status"] == value)


def _fits_price(thing: Thing, name: str, value: Any) -> bool:
    return any(item["price"]["id"] == value for item in thing["items"]["data"])


def _fits_subscription(thing: Thing, name: str, value: Any) -> bool:
    """A session names its subscription itself, an invoice below `parent`."""
    details = (thing.get("parent") or {}).get("subscription_details") or thing
    return bool(details.get("subscription") == value)


def _fits_payment(thing: Thing, name: str, value: Any) -> bool:
    return isinstance(value, dict) and all(thing["payment"].get(field) == given for field, given in value.items())


FITS = {"price": _fits_price, "status": _fits_status, "subscription": _fits_subscription, "payment": _fits_payment}


def events(account: Account, params: Thing, url: str) -> Thing:
    """A page of Stripe's events, filtered by `types`, `type` and `delivery_success`."""
    since, before = _window(params)
    rows = account.store.events.created_between(account.name, "stripe", since, before)
    types = set(params.get("types") or ([params["type"]] if "type" in params else []))
    delivered = {"true": True, "false": False}.get(params.get("delivery_success", ""))
    found = [
        _with_state(body, state) for body, state in rows if delivered is None or delivered == (state == "delivered")
    ]
    return page([event for event in found if not types or event["type"] in types], params, url)


def event(account: Account, id_: str) -> Thing:
    """An event by id. Raises Refused with 404."""
    found = account.store.events.find(account.name, id_)
    if found is None:
        raise Refused(f"No such event: '{id_}'", status=404, code="resource_missing", param="id")
    return _with_state(*found)


def _with_state(body: str, state: str) -> Thing:
    event: Thing = json.loads(body)
    return {**event, "pending_webhooks": 0 if state == "delivered" else 1}


def page(found: list[Thing], params: Thing, url: str) -> Thing:
    """A page of a list in its order. Raises Refused for an invalid limit or cursor."""
    limit = whole(params, "limit", 10, 1)
    if limit > MOST:
        raise Refused("This value must be less than or equal to 100.", param="limit")
    ids = [thing["id"] for thing in found]
    if "ending_before" in params:
        end = _place(ids, params["ending_before"], "ending_before")
        start = max(0, end - limit)
        return _list(found[start:end], start > 0, url)
    start = _place(ids, params["starting_after"], "starting_after") + 1 if "starting_after" in params else 0
    return _list(found[start : start + limit], len(found) > start + limit, url)


def _place(ids: list[str], id_: str, param: str) -> int:
    if id_ not in ids:
        raise Refused(f"No such object: '{id_}'", code="resource_missing", param=param)
    return ids.index(id_)


def _list(data: list[Thing], more: bool, url: str) -> Thing:
    return {"object": "list", "data": data, "has_more": more, "url": url.removeprefix("/stripe")}


def _window(params: Thing) -> tuple[int, int]:
    """The range of `created`: from (inclusive) and to (exclusive)."""
    created = params.get("created", {})
    if not isinstance(created, dict):
        return whole(params, "created"), whole(params, "created") + 1
    since = max(whole(created, "gte", 0), whole(created, "gt", -1) + 1)
    before = min(whole(created, "lt", 2**53), whole(created, "lte", 2**53) + 1)
    return since, before
