"""Flask, where the app uses it: which results say failure, and errors that Flask answers by itself.

Nothing here imports Flask before the app has.
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
    """Whether Flask is answering a request here."""
    flask = sys.modules.get("flask")
    return flask is not None and bool(flask.has_request_context())


def customer_of_request() -> str | None:
    """`flask.g.customer`, where a login puts whom it has found."""
    return sys.modules["flask"].g.get("customer") if in_request() else None


def answered(error: ScripError) -> ScripError:
    """The error, within a request as one that Flask answers with its problem unless the app catches it."""
    status = STATUSES.get(type(error))
    if status is None or not in_request():
        return error
    return _answering(status)(error.status, error.fields, retry_after=error.retry_after)


@functools.cache
def _answering(status: int) -> type[ScripError]:
    """The kind of error that is also one of Flask's: whoever catches the kind, or registers a handler, gets it."""
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response

    def get_response(self: Any, *_: Any, **__: Any) -> Response:
        # What kept Scrip from answering names hosts of ours: that is for the log, not for the app's customer.
        told = {} if self.code == 503 else self.fields
        problem = {"type": "about:blank", "title": self.title, **told, "status": self.code}
        response = Response(json.dumps(problem), self.code, content_type="application/problem+json")
        if self.code == 503:
            response.headers["Retry-After"] = str(int(self.retry_after or RETRY_AFTER_SECONDS))
        return response

    kind = KINDS[status]
    members = {"code": status, "get_response": get_response, "__doc__": kind.__doc__}
    made: type[ScripError] = type(kind.__name__, (kind, HTTPException), members)
    return made


def says_failure(function: Callable[..., Any], result: Any) -> bool:
    """Whether `function` is the view of this request and its result an answer of status 400 or more."""
    return in_request() and _is_view(function) and _status_of(result) >= 400


def _is_view(function: Callable[..., Any]) -> bool:
    """Whether Flask called the function, directly or through decorators that name what they wrap.

    Any other function may return what it likes, be it a tuple that looks like an answer.
    """
    from flask import current_app, request

    view = current_app.view_functions.get(request.endpoint or "")
    method = getattr(getattr(view, "view_class", None), request.method.lower(), None)  # of a MethodView
    return any(found is function for start in (view, method) for found in _unwrapped(start))


def _unwrapped(function: Any) -> list[Any]:
    found = []
    while function is not None and function not in found:
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def _status_of(result: Any) -> int:
    """The status of what a view returned. Flask answers nothing at all with 500."""
    if result is None:
        return 500
    if isinstance(result, tuple):
        status = str(getattr(result[1], "value", result[1]))[:3] if len(result) > 1 else ""
        return int(status) if status.isdecimal() else _status_of(result[0])
    return int(getattr(result, "status_code", 200))
