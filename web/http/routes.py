"""The route table: each module of web/api declares its routes here, web/http/dispatch.py serves them.

    routes = Routes("Charges")

    @routes.post("/v1/charges", scope="write", body=ChargeBody, answer=Charge, again=True, errors=(402, 409))
    def charge(call: Call) -> Answer:
        '''Create a charge.

        The rest of the docstring is the description in the API reference.
        '''
        return created(*charges.charge(call.app, call.body, now=call.now))

A view receives the call, and the path parameters by name: `customer: str` is validated as a name, `entry: int` must be
a number (else 404). It returns the content of a 200, or (content, status), or a `Response`. Errors of models.errors
become problems (web/http/problems.py).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from web.http.fields import Body, NoBody, Query, Shape

Scope = Literal["read", "write", "admin"]
Answer = Any
View = Callable[..., Answer]
PATH_PART = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, with everything that dispatch and the API reference need."""

    method: str
    path: str
    tag: str
    view: View
    scope: Scope | None
    customer_token: bool
    can: tuple[str, ...]
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
        """The names of the path parameters."""
        return PATH_PART.findall(self.path)

    @property
    def name(self) -> str:
        """The module and the view, as in `usage.report`."""
        return f"{self.view.__module__.rpartition('.')[2]}.{self.view.__name__}"

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class Routes:
    """The routes of one noun; `tag` is its section in the API reference."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.table: list[Route] = []

    def get(self, path: str, **options: Any) -> Callable[[View], View]:
        """Declare a GET route; see `route`. With a scope, it rejects query parameters that `query` does not have."""
        if options.get("scope"):
            options.setdefault("query", Query)
        return self.route("GET", path, **options)

    def post(self, path: str, *, status: int = 201, **options: Any) -> Callable[[View], View]:
        """Declare a POST route, which returns 201 by default; see `route`."""
        return self.route("POST", path, status=status, **options)

    def patch(self, path: str, **options: Any) -> Callable[[View], View]:
        """Declare a PATCH route; see `route`."""
        return self.route("PATCH", path, **options)

    def route(
        self, method: str, path: str, *, scope: Scope | None = None,
        customer_token: bool = False, can: tuple[str, ...] = ("read",),
        body: type[Body] | None = None, body_required: bool = True, query: type[Query] | None = None,
        answer: type[Shape] | None = None, status: int = 200, again: bool = False,
        more: dict[int, type[Shape]] | None = None, errors: tuple[int, ...] = (), also: tuple[str, ...] = (),
        describe: dict[str, Any] | None = None,
    ) -> Callable[[View], View]:  # fmt: skip
        """Declare a route.

        scope: the scope that the key must have; None requires no key.
        customer_token: a customer token is accepted too, if it belongs to the `customer` of the path. Without one in
        the path, the view must call `call.check_owner`.
        can: what the token must be made for; one of them suffices.
        body, query: the models that validate them; a `NoBody` body may be absent.
        answer, more: the shapes of the response with `status` and of successful responses with other statuses.
        again: a repeated request returns 200 with the stored response.
        errors: error statuses beyond those of every such route. also: further media types of the response.
        describe: an OpenAPI operation that is merged into the generated one.
        """

        def declare(view: View) -> View:
            self.table.append(
                Route(
                    method, path, self.tag, view, scope, customer_token, can,
                    body, body_required and body is not NoBody,
                    query, answer, status, again, more or {}, errors, also, describe or {}, _numbers(view),
                )
            )  # fmt: skip
            return view

        return declare


def _numbers(view: View) -> frozenset[str]:
    """The path parameters that the view declares as `int`."""
    hints = get_type_hints(view)
    return frozenset(name for name in inspect.signature(view).parameters if hints.get(name) is int)
