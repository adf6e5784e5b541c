"""Queries: a parameter that nobody knows is refused by its name, rather than read over."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.web_calls import KEY, fields
from web.app import routes
from web.http.routes import Route

READING = [route for route in routes() if route.method == "GET" and route.scope]
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")


def path_of(route: Route) -> str:
    """A path of the route that leads to a row, if there were one."""
    return re.sub(r"\{(\w+)\}", "1", route.path)


def ask(client: Any, path: str, **query: str) -> Any:
    return client.get(path, query_string=query, headers=KEY)


@pytest.mark.parametrize("route", READING, ids=lambda route: route.path)
@pytest.mark.parametrize("value", ["1", ""])
def test_every_endpoint_that_is_read_names_the_parameter_that_it_does_not_know(client, route: Route, value: str):
    known = route.query.model_fields if route.query else {}
    needed = {field.alias or name: "1" for name, field in known.items() if field.is_required()}
    assert fields(ask(client, path_of(route), **needed, custmer=value)) == ["custmer"]


def test_the_refusal_says_which_parameters_there_are(client):
    refusal = ask(client, "/v1/events", stat="dead", limt="5").json
    reason = "is not a known parameter; known parameters: limit, cursor, state, provider, type"
    assert refusal["errors"] == [{"field": "stat", "reason": reason}, {"field": "limt", "reason": reason}]
    (error,) = ask(client, "/v1/catalog", app="songs").json["errors"]
    assert error == {"field": "app", "reason": "is not a known parameter; this endpoint has no query parameters"}


def test_a_parameter_goes_by_its_own_name_alone(client):
    assert ask(client, "/v1/entries", **{"from": "2026-01-01T00:00:00Z"}).status_code == 200
    assert fields(ask(client, "/v1/entries", since="2026-01-01T00:00:00Z")) == ["since"]


def test_an_empty_value_is_as_good_as_none(client):
    assert ask(client, "/v1/events", state="", limit="").status_code == 200


def test_a_name_is_told_up_to_a_length_and_so_many_of_them(client):
    assert fields(ask(client, "/v1/events", **{"x" * 5000: "1"})) == ["x" * 100]
    assert len(fields(ask(client, "/v1/events", **{f"x{number}": "1" for number in range(500)}))) == 100


@pytest.mark.parametrize("path", OPEN)
def test_what_watches_and_shows_may_be_asked_with_anything(client, path: str):
    assert client.get(f"{path}?_=1").status_code == 200
