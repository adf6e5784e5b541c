"""The route table: what a noun's module declares, and what every request goes through.

    routes = Routes("Charges")

    @routes.post("/v1/charges", scope="write", body=ChargeBody, answer=Charge, again=True, errors=(402, 409))
    def charge(call: Call) -> Answer:
        '''Take units at once.

        The rest of the docstring is the description in the documentation.
        '''
        return created(*charges.charge(call.app, call.body, now=call.now))

A view takes the call and the parts of its path by name: `customer: str` is checked as a name, `entry: int` must be a
number (404 if it is none). It returns the content of a 200, or content and status, or a Response of its own.
Errors of models.errors become problems (web/http/problems.py).
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_type_hints

import structlog
from flask import Flask, Request, Response, request

from models import clock, database
from models.catalog import catalog
from models.catalog.apps import App
from models.errors import Forbidden, NotFound
from web.http import bodies, meters, problems
from web.http.answers import respond
from web.http.auth import Auth, Caller
from web.http.fields import HIGHEST_ID, Body, NoBody, Query, Shape

log = structlog.get_logger()

Scope = Literal["read", "write", "admin"]
Answer = Any
View = Callable[..., Answer]
_PATH_PART = re.compile(r"\{(\w+)\}")


class Call:
    """One request, as a view sees it. `body` and `query` are what the route's models made of them."""

    __slots__ = ("body", "caller", "now", "owner_judged", "query", "request")

    def __init__(self, request: Request, caller: Caller | None, now: datetime) -> None:
        self.request = request
        self.caller = caller
        self.now = now
        self.body: dict[str, Any] = {}
        self.query: Any = None
        self.owner_judged = caller is None or caller.customer is None

    @property
    def app(self) -> App:
        """The app that the caller's key belongs to."""
        assert self.caller is not None, "a route without a scope has no app"
        return catalog.current()[self.caller.app]

    @property
    def actor(self) -> str:
        """Who calls, for the operation log."""
        assert self.caller is not None
        return self.caller.actor

    def only(self, customer: str) -> None:
        """Let a customer's token see what is that customer's, and nobody else's.

        Raises:
            Forbidden: the token is another customer's.
        """
        assert self.caller is not None
        if self.caller.customer not in (None, customer):
            raise Forbidden("the token is another customer's")
        self.owner_judged = True

    def raw(self) -> bytes:
        """The body as it came, at most 1 MiB; for routes without a body model."""
        return bodies.raw(self.request)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path: all that dispatch and documentation know of it."""

    method: str
    path: str
    tag: str
    view: View
    scope: Scope | None
    customer_token: bool
    body: type[Body] | None
    body_required: bool
    query: type[Query] | None
    answer: type[Shape] | None
    status: int
    again: bool
    more: dict[int, type[Shape]]
    errors: tuple[int, ...]
    also: tuple[str, ...]
    describe: dict[str, Any]
    numbers: frozenset[str] = field(default=frozenset())

    @property
    def parts(self) -> list[str]:
        """The names of the variable parts of the path."""
        return _PATH_PART.findall(self.path)

    @property
    def name(self) -> str:
        """The module and the view: `usage.report`."""
        return f"{self.view.__module__.rpartition('.')[2]}.{self.view.__name__}"

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class Routes:
    """The routes of one noun; `tag` is its heading in the documentation."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.table: list[Route] = []

    def get(self, path: str, **options: Any) -> Callable[[View], View]:
        """GET; see `route`. With a scope it has a query, if only an empty one: what is not known is refused."""
        if options.get("scope"):
            options.setdefault("query", Query)
        return self.route("GET", path, **options)

    def post(self, path: str, *, status: int = 201, **options: Any) -> Callable[[View], View]:
        """POST, answered with 201 unless told otherwise; see `route`."""
        return self.route("POST", path, status=status, **options)

    def patch(self, path: str, **options: Any) -> Callable[[View], View]:
        """PATCH; see `route`."""
        return self.route("PATCH", path, **options)

    def route(
        self,
        method: str,
        path: str,
        *,
        scope: Scope | None = None,
        customer_token: bool = False,
        body: type[Body] | None = None,
        body_required: bool = True,
        query: type[Query] | None = None,
        answer: type[Shape] | None = None,
        status: int = 200,
        again: bool = False,
        more: dict[int, type[Shape]] | None = None,
        errors: tuple[int, ...] = (),
        also: tuple[str, ...] = (),
        describe: dict[str, Any] | None = None,
    ) -> Callable[[View], View]:
        """Declare a route.

        scope: what the key must have; None needs no key.
        customer_token: a customer's token will do too, where the path's `customer` is that one. A path without one
        leaves it to the view, which must ask `call.only`.
        body, query: the models that check them; a `NoBody` need not be there. answer: the shape of the answer with
        `status`.
        again: the same request again is answered 200 with the stored answer.
        more: the shapes of answers with other statuses that are no errors.
        errors: statuses beside those that every route of its kind can give. also: other media types of the answer.
        describe: what the documentation's operation says beyond that, merged into it.
        """

        def declare(view: View) -> View:
            hints = get_type_hints(view)
            numbers = frozenset(name for name in inspect.signature(view).parameters if hints.get(name) is int)
            self.table.append(
                Route(
                    method, path, self.tag, view, scope, customer_token, body, body_required and body is not NoBody,
                    query, answer, status, again, more or {}, errors, also, describe or {}, numbers,
                )
            )  # fmt: skip
            return view

        return declare


def register(app: Flask, route: Route, auth: Auth) -> None:
    """Make Flask serve the route."""
    rule = _PATH_PART.sub(r"<\1>", route.path)
    app.add_url_rule(rule, route.endpoint, _flask_view(route, auth), methods=[route.method])


def _flask_view(route: Route, auth: Auth) -> Callable[..., Response]:
    meter = meters.Meter(route.method, route.path)

    def view(**parts: str) -> Response:
        began = time.perf_counter()
        try:
            response = _run(route, auth, parts)
        except Exception as error:
            bodies.drain(request)
            response = problems.answer(error)
        finally:
            database.release()
        seconds = time.perf_counter() - began
        meter.count(response.status_code, seconds)
        log.debug("request", method=route.method, path=route.path, status=response.status_code, seconds=seconds)
        return response

    return view


def _run(route: Route, auth: Auth, parts: dict[str, Any]) -> Response:
    """Who calls, then what: a stranger learns nothing about the content."""
    asked = request._get_current_object()  # type: ignore[attr-defined] # a proxy is slow to ask
    now = clock.now()
    caller = auth.caller(asked, route, parts) if route.scope else None
    call = Call(asked, caller, now)
    call.owner_judged |= "customer" in parts
    for name, text in parts.items():
        parts[name] = _number(text) if name in route.numbers else bodies.name_in_path(asked, name, text)
    if route.query is not None:
        call.query = bodies.query(asked, route.query)
    if route.body is not None:
        call.body = bodies.read(asked, route.body, required=route.body_required)
    answer = route.view(call, **parts)
    assert call.owner_judged, f"{route.name} lets a customer's token in and did not ask whose it is"
    return _response(answer)


def _number(text: str) -> int:
    """The number of a row. Raises NotFound: what is no number is no row."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= HIGHEST_ID:
        return int(text)
    raise NotFound("there is none with this id")


def _response(answer: Answer) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, tuple):
        content, status = answer
        return respond(content, status)
    return respond(answer)
