"""Every route, by machine: nothing without a key, nothing of another customer, nothing of another app."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from models import database
from models.access import tokens
from tests.support.cast import ADA, BO, deliver
from tests.support.providers.stripe_events import event, paid_session
from tests.support.web_calls import bearer, problem, rows, send
from web.app import routes
from web.http.routes import Route

ROUTES = [route for route in routes() if route.scope]
MINE, OTHER = bearer("sk_sandbox_ai-services"), bearer("sk_sandbox_echomind")
IDS = {"usage": "call-1", "holds": "hold-1", "sessions": "s1", "endpoints": "main"}


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def path(route: Route) -> str:
    """The route's path, with Ada and with what `fill` made."""
    noun = route.path.split("/")[2]
    (entry,) = database.read("SELECT coalesce(max(id), 1) FROM entry")[0]
    return route.path.format(customer=ADA, id=IDS.get(noun, 1), entry=entry, job="expire")


def call(client: Any, route: Route, key: dict[str, str]) -> Any:
    body = route.body.example if route.body else {}
    return client.open(path(route), method=route.method, json=body or None, headers=key)


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_nothing_is_open_without_a_key(client: Any, route: Route) -> None:
    assert problem(call(client, route, {}), 401) == "unauthorized"


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_a_token_of_another_customer_gets_nothing(client: Any, route: Route) -> None:
    fill(client, OTHER)
    now = datetime.now(timezone.utc)
    token, _ = tokens.create("echomind", BO, lifetime=tokens.LONGEST, now=now)
    answer = call(client, route, bearer(token))
    # What all customers may read says nothing of any of them.
    assert answer.status_code in ((200,) if route.path == "/v1/catalog" else (403, 404))
    assert ADA not in answer.text


@pytest.mark.parametrize("route", [it for it in ROUTES if {"id", "entry"} & set(it.parts)], ids=named)
def test_what_is_another_apps_is_not_there(client: Any, route: Route) -> None:
    fill(client, OTHER)
    assert problem(call(client, route, MINE), 404) == "not-found"


@pytest.mark.parametrize("route", [it for it in ROUTES if it.method == "GET" and "customer" in it.parts], ids=named)
def test_a_customer_of_another_app_is_a_stranger(client: Any, route: Route) -> None:
    fill(client, OTHER)
    query = "?rate=sms&quantity=1" if route.path.endswith("/quote") else ""
    answer = client.get(path(route) + query, headers=MINE)
    assert answer.status_code in (200, 404, 422)
    assert not re.search(r"\b500\b", answer.get_data(as_text=True)), "Ada has 500 units there, and none here"


def fill(client: Any, key: dict[str, str]) -> None:
    """Something of everything for Ada in the other app."""
    gift = {"id": "gift", "customer": ADA, "units": 500, "reason": "welcome"}
    assert send(client, "/v1/adjustments", gift, key=key).status_code == 201
    send(client, "/v1/sessions", {"id": "s1", "customer": ADA}, key=key)
    send(client, "/v1/holds", {"id": "hold-1", "customer": ADA, "units": 1}, key=key)
    send(client, "/v1/endpoints", {"id": "main", "url": "http://127.0.0.1:9/"}, key=key)
    now = datetime.now(timezone.utc)
    deliver(
        "echomind", event("checkout.session.completed", paid_session("echomind", ADA, "session"), created=now), now=now
    )
    assert [rows(table) for table in ("payment", "inbox_event", "outbox_delivery")] == [1, 1, 1]
