"""Dispatch: what every request passes through, from authentication to the response."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, request

from models import clock, database
from models.errors import NotFound
from web.http import bodies, meters, problems
from web.http.answers import respond
from web.http.auth import Auth
from web.http.call import Call
from web.http.fields import HIGHEST_ID
from web.http.routes import PATH_PART, Answer, Route

log = structlog.get_logger()


def register(app: Flask, route: Route, auth: Auth) -> None:
    """Add the route to the Flask application."""
    rule = PATH_PART.sub(r"<\1>", route.path)
    app.add_url_rule(rule, route.endpoint, _flask_view(route, auth), methods=[route.method])


def _flask_view(route: Route, auth: Auth) -> Callable[..., Response]:
    meter = meters.Meter(route.method, route.path)

    def view(**parts: str) -> Response:
        began = time.perf_counter()
        try:
            response = _run(route, auth, parts)
        except Exception as error:
            response = problems.answer(error)
        finally:
            database.release()
        seconds = time.perf_counter() - began
        meter.count(response.status_code, seconds)
        log.debug("request", method=route.method, path=route.path, status=response.status_code, seconds=seconds)
        return response

    return view


def _run(route: Route, auth: Auth, parts: dict[str, Any]) -> Response:
    """Authenticate first, then validate: an unauthenticated client learns nothing about the content."""
    current = request._get_current_object()  # type: ignore[attr-defined] # access through the proxy is slow
    now = clock.now()
    caller = auth.caller(current, route, parts) if route.scope else None
    call = Call(current, caller, now)
    call.owner_checked |= "customer" in parts
    for name, text in parts.items():
        parts[name] = _number(text) if name in route.numbers else bodies.name_in_path(current, name, text)
    if route.query is not None:
        call.query = bodies.query(current, route.query)
    if route.body is not None:
        call.body = bodies.read(current, route.body, required=route.body_required)
    answer = route.view(call, **parts)
    assert call.owner_checked, f"{route.name} accepts customer tokens and did not call check_owner"
    return _response(answer)


def _number(text: str) -> int:
    """The id of a row. Raises NotFound for other text: no row can have it."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= HIGHEST_ID:
        return int(text)
    raise NotFound("no resource with this id: ids of this resource are numbers")


def _response(answer: Answer) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, tuple):
        content, status = answer
        return respond(content, status)
    return respond(answer)
