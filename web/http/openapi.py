"""The OpenAPI 3.1 document, generated from the route table on first access."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web.http import problems
from web.http.fields import NAME_RULE, Body, Query, Shape
from web.http.routes import Route

Schema = dict[str, Any]
REF = "#/components/schemas/{model}"
INTRODUCTION = """\
The Scrip API manages prepaid credits: sell packs and plans through a payment provider, charge for usage, and explain \
every unit of a balance.

Authenticate with `Authorization: Bearer KEY`. Times are RFC 3339 in UTC. Units are whole numbers. Lists are paginated \
by cursor, newest first.

Requests that create a resource are idempotent by `id`. Repeating a request returns 200 with the stored response; \
sending the same `id` with different content returns 409.

Errors are problem details (RFC 9457). A 422 names every invalid field. If a name occurs twice in a JSON object, the \
last value is used."""
PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "The invalid fields; present with 422.",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
# Example values of parameters, so that a request can be tried from the API reference. An `id` depends on the resource.
EXAMPLES: dict[str, Any] = {"app": "ai-services", "customer": "ada", "entry": 42, "job": "expire"}
QUERY_EXAMPLES: dict[str, Any] = {"rate": "voice_call", "quantity": 123, "tz": "Europe/Berlin"}
IDS: dict[str, Any] = {
    "usage": "call-1",
    "holds": "hold-1",
    "sessions": "session-1",
    "endpoints": "main",
    "checkouts": "checkout-1",
}
STATUS_TEXTS = {200: "The request succeeded.", 201: "The resource was created.", 202: "The request was accepted."}


def document(routes: Sequence[Route]) -> Schema:
    """The whole document, ready for JSON."""
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Scrip", "version": "1", "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An app's API key, or a customer token."}
            },
            "schemas": {**_schemas(routes), "Problem": PROBLEM},
            "responses": {problem.slug: _problem(problem) for problem in problems.ALL},
        },
    }


def _operation(route: Route) -> Schema:
    summary, _, description = (inspect.getdoc(route.view) or route.path).partition("\n")
    operation: Schema = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": summary.rstrip("."),
        "description": " ".join([description.strip().replace("\n", " "), _authentication(route)]).strip(),
        "parameters": [*_path_parameters(route), *_query_parameters(route.query)],
        "responses": _responses(route),
        "security": [{"key": []}] if route.scope else [],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {"application/json": _content(route.body)},
        }
    return _merged(operation, route.describe)


def _authentication(route: Route) -> str:
    if route.scope is None:
        return ""
    token = ", or a token of the customer" if route.customer_token else ""
    return f"Requires a key with the scope `{route.scope}`{token}."


def _path_parameters(route: Route) -> list[Schema]:
    noun = route.path.split("/")[2] if route.path.startswith("/v1/") else ""
    examples = {**EXAMPLES, "id": IDS.get(noun, 1)}
    return [{**_path_parameter(part, part in route.numbers), "example": examples[part]} for part in route.parts]


def _path_parameter(name: str, number: bool) -> Schema:
    if number:
        schema: Schema = {"type": "integer", "minimum": 1}
        return {"name": name, "in": "path", "required": True, "schema": schema}
    schema = {"type": "string", "minLength": 1, "maxLength": 120}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": f"The value {NAME_RULE}."}


def _query_parameters(model: type[Query] | None) -> list[Schema]:
    if model is None:
        return []
    schema = model.model_json_schema(by_alias=True, ref_template=REF)
    required = schema.get("required", [])
    return [_query_parameter(name, field, name in required) for name, field in schema.get("properties", {}).items()]


def _query_parameter(name: str, field: Schema, required: bool) -> Schema:
    schema = {key: value for key, value in _without_null(field).items() if key not in ("title", "description")}
    for bound, keyword in (("ge", "minimum"), ("le", "maximum")):
        # pydantic emits a bound that follows a BeforeValidator under the name of its check.
        if bound in schema:
            schema[keyword] = schema.pop(bound)
    parameter = {"name": name, "in": "query", "required": required, "schema": schema}
    if name in QUERY_EXAMPLES:
        parameter["example"] = QUERY_EXAMPLES[name]
    return {**parameter, "description": field["description"]} if "description" in field else parameter


def _without_null(schema: Schema) -> Schema:
    """The schema without its null branch: a query parameter is present or absent."""
    kept = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    bare = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
    return {**bare, **kept[0]} if len(kept) == 1 else bare


def _responses(route: Route) -> Schema:
    responses: Schema = {str(route.status): _answer(route, STATUS_TEXTS[route.status])}
    if route.again:
        responses["200"] = _answer(route, "A repeated request: the stored response.")
    for status, shape in route.more.items():
        responses[str(status)] = {"description": STATUS_TEXTS[status], "content": {"application/json": _content(shape)}}
    for status in _errors(route):
        responses[str(status)] = {"$ref": f"#/components/responses/{_slug(status)}"}
    return responses


def _errors(route: Route) -> list[int]:
    """The error statuses that follow from the route's scope, body, query and path, with those it declares."""
    statuses = set(route.errors)
    if route.scope:
        statuses |= {401, 403, 429, 503}
    if route.body is not None:
        statuses |= {400, 413, 422}
    if route.query is not None or route.parts:
        statuses.add(422)
    return sorted(statuses)


def _slug(status: int) -> str:
    return next(problem.slug for problem in problems.ALL if problem.status == status)


def _answer(route: Route, description: str) -> Schema:
    content: Schema = {media: {} for media in route.also}
    if route.answer is not None:
        content["application/json"] = _content(route.answer)
    return {"description": description, "content": content} if content else {"description": description}


def _content(model: type[Body] | type[Shape]) -> Schema:
    content: Schema = {"schema": {"$ref": REF.format(model=model.__name__)}}
    return {**content, "example": model.example} if "example" in vars(model) else content


def _problem(problem: problems.Problem) -> Schema:
    example = {"type": f"/problems/{problem.slug}", "title": problem.title, "status": problem.status}
    schema = {"$ref": REF.format(model="Problem")}
    content = {"application/problem+json": {"schema": schema, "example": example}}
    response: Schema = {"description": f"{problem.title}.", "content": content}
    if problem.status in (429, 503):
        retry_after = {"schema": {"type": "integer"}, "description": "Seconds to wait before the next attempt."}
        response["headers"] = {"Retry-After": retry_after}
    return response


def _schemas(routes: Sequence[Route]) -> Schema:
    bodies = [route.body for route in routes if route.body is not None]
    answers = [route.answer for route in routes if route.answer is not None]
    more = [shape for route in routes for shape in route.more.values()]
    models: dict[type[BaseModel], None] = dict.fromkeys([*bodies, *answers, *more])
    inputs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in models]
    _, schema = models_json_schema(inputs, ref_template=REF)
    return dict(schema.get("$defs", {}))


def _merged(base: Schema, over: Schema) -> Schema:
    """`base` with `over` merged into it: objects are merged, arrays concatenated, other values replaced."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = before + value
        else:
            merged[key] = value
    return merged
