"""The OpenAPI document and its page say what the routes do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from web.app import nouns, routes
from web.http import openapi
from web.http.bodies import check
from web.http.routes import Route

ROUTES = routes()
DOCUMENT = openapi.document(ROUTES)
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_the_document_is_served_and_of_version_3_1(client):
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json["openapi"].startswith("3.1")
    assert answer.json == DOCUMENT


def test_every_route_is_in_the_document(client):
    rules = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in client.application.url_map.iter_rules()}
    assert rules - set(DOCUMENT["paths"]) == {"/openapi.json", "/docs", "/problems/{slug}"}


def test_operations_have_ids_of_their_own():
    ids = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_route_says_what_it_does_and_answers(route):
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert operation["summary"], "the view has a docstring"
    assert operation["responses"][str(route.status)].get("content"), "and an answer with a shape"
    assert bool(operation["security"]) == (route.scope is not None)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method in ("POST", "PATCH")], ids=named)
def test_every_body_that_is_read_is_described(route):
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert "requestBody" in operation or route.path.endswith(("/replay", "/grants"))


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_parameters_of_a_path_are_those_in_it():
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.body and "example" in vars(route.body)], ids=named
)
def test_the_example_of_a_body_is_a_good_body(route):
    check(route.body, route.body.example)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.answer and "example" in vars(route.answer)], ids=named
)
def test_the_example_of_an_answer_has_its_shape(route):
    route.answer.model_validate(route.answer.example)


def test_every_noun_has_routes():
    assert all(noun.routes.table for noun in nouns())


def test_the_page_shows_every_route_and_needs_nothing_from_elsewhere(client):
    answer = client.get("/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    for route in ROUTES:
        assert f"<code>{route.path}</code>" in answer.text
    assert not re.findall(r"""(?:src|href)=["'](?!#|/)""", answer.text)
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_problems_type_leads_to_its_explanation(client):
    kind = client.get("/nothing").json["type"]
    answer = client.get(kind)
    assert answer.status_code == 302
    assert f'id="{answer.headers["Location"].partition("#")[2]}"' in client.get("/docs").text
