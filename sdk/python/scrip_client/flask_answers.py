"""Flask integration: which view results are failures, and errors that Flask converts to responses.

Flask is imported only if the app has already imported it.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

from scrip_client.errors import InsufficientCredits, ScripError, Unavailable

KINDS: dict[int, type[ScripError]] = {402: InsufficientCredits, 503: Unavailable}
STATUSES = {kind: status for status, kind in KINDS.items()}
RETRY_AFTER_SECONDS = 5


def in_request() -> bool:
    """Whether a Flask request context is active."""
    flask = sys.modules.get("flask")
    return flask is not None and bool(flask.has_request_context())


def customer_of_request() -> str | None:
    """`flask.g.customer`, which the app's login sets; None outside a request."""
    return sys.modules["flask"].g.get("customer") if in_request() else None


def with_response(error: ScripError) -> ScripError:
    """The error; within a Flask request, one that Flask converts to a problem response unless the app catches it."""
    status = STATUSES.get(type(error))
    if status is None or not in_request():
        return error
    return _http_error(status)(error.status, error.fields, retry_after=error.retry_after)


@functools.cache
def _http_error(status: int) -> type[ScripError]:
    """A subclass of the error that is also an HTTPException; handlers of the error class receive it too."""
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response

    def get_response(self: Any, *_: Any, **__: Any) -> Response:
        # The reason of an outage contains internal host names, which the app's customer must not see.
        members = {} if self.code == 503 else self.fields
        problem = {"type": "about:blank", "title": self.title, **members, "status": self.code}
        response = Response(json.dumps(problem), self.code, content_type="application/problem+json")
        if self.code == 503:
            response.headers["Retry-After"] = str(int(self.retry_after or RETRY_AFTER_SECONDS))
        return response

    kind = KINDS[status]
    members = {"code": status, "get_response": get_response, "__doc__": kind.__doc__}
    error_class: type[ScripError] = type(kind.__name__, (kind, HTTPException), members)
    return error_class


def is_failure(function: Callable[..., Any], result: Any) -> bool:
    """Whether `function` is the view of the current request and its result has a status of 400 or more."""
    return in_request() and _is_view(function) and _status_of(result) >= 400


def _is_view(function: Callable[..., Any]) -> bool:
    """Whether the function is the view of the current request, possibly wrapped by decorators that set `__wrapped__`.

    Results of other functions are not responses, even if they look like one.
    """
    from flask import current_app, request

    view = current_app.view_functions.get(request.endpoint or "")
    method = getattr(getattr(view, "view_class", None), request.method.lower(), None)  # of a MethodView
    return any(each is function for start in (view, method) for each in _unwrapped(start))


def _unwrapped(function: Any) -> list[Any]:
    functions = []
    while function is not None and function not in functions:
        functions.append(function)
        function = getattr(function, "__wrapped__", None)
    return functions


def _status_of(result: Any) -> int:
    """The status of a view's result. Flask returns 500 for None."""
    if result is None:
        return 500
    if isinstance(result, tuple):
        status = str(getattr(result[1], "value", result[1]))[:3] if len(result) > 1 else ""
        return int(status) if status.isdecimal() else _status_of(result[0])
    return int(getattr(result, "status_code", 200))
