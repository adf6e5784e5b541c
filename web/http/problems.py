"""Error responses: one table from the error tree to RFC 9457 problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from flask import Response
from werkzeug.exceptions import HTTPException

from models import database, errors
from web.http.answers import respond

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 5
# SQLSTATE class of OperationalErrors that the statement causes (program limit exceeded), not an outage.
_PROGRAM_LIMIT = "54"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem type: the last segment of its `type` URI, its HTTP status and its `title`."""

    slug: str
    status: int
    title: str


UNAVAILABLE = Problem("unavailable", 503, "Database unavailable")
INTERNAL = Problem("internal-error", 500, "Internal error")
NOT_READY = Problem("not-ready", 503, "Not ready")
PROBLEMS: dict[type[BaseException], Problem] = {
    errors.BadRequest: Problem("bad-request", 400, "Malformed request"),
    errors.Unauthorized: Problem("unauthorized", 401, "Missing or invalid credentials"),
    errors.InsufficientBalance: Problem("insufficient-balance", 402, "Insufficient balance"),
    errors.Forbidden: Problem("forbidden", 403, "Insufficient permissions"),
    errors.NotFound: Problem("not-found", 404, "Not found"),
    errors.Conflict: Problem("conflict", 409, "Conflict"),
    errors.TooLarge: Problem("too-large", 413, "Request body too large"),
    errors.Invalid: Problem("invalid", 422, "Invalid request"),
    errors.RateLimited: Problem("rate-limited", 429, "Rate limit exceeded"),
    # The API reference shows the first problem of each status: problems of single routes come last.
    errors.ActiveSession: Problem("active-session", 409, "Session already active"),
    errors.AlreadySubscribed: Problem("already-subscribed", 409, "Already subscribed"),
    errors.LimitReached: Problem("limit-reached", 409, "Limit of the pack reached"),
    errors.TierRequired: Problem("tier", 403, "Insufficient tier"),
    errors.CoolingDown: Problem("cooldown", 429, "Cooldown active"),
    errors.RequestTimeout: Problem("request-timeout", 408, "Request timeout"),
    errors.Overloaded: Problem("overloaded", 503, "Too many requests at once"),
    errors.ProviderRefused: Problem("provider-refused", 409, "Rejection by the payment provider"),
    errors.Unavailable: UNAVAILABLE,
    **dict.fromkeys(database.UNAVAILABLE, UNAVAILABLE),
    errors.NotConfigured: Problem("not-configured", 503, "Missing configuration"),
    errors.ProviderAway: Problem("provider-away", 503, "Payment provider unavailable"),
}
HTTP_PROBLEMS = {
    404: PROBLEMS[errors.NotFound],
    405: Problem("method-not-allowed", 405, "Method not allowed"),
    413: PROBLEMS[errors.TooLarge],
}
ALL = (*dict.fromkeys((*PROBLEMS.values(), *HTTP_PROBLEMS.values(), NOT_READY, INTERNAL)),)


def answer(error: Exception) -> Response:
    """The problem response for `error`. Unexpected errors are logged and returned without details."""
    if isinstance(error, HTTPException):
        return _http(error)
    problem = _problem_of(error)
    if problem is INTERNAL:
        log.error("unexpected error", exc_info=error)
        return write(problem, "The error was logged. Retry the request; if it fails again, contact the operator.")
    if problem is UNAVAILABLE:
        log.warning("database unavailable", error=type(error).__name__)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return write(problem, "The database does not respond. Repeat the request with the same id.", headers=headers)
    assert isinstance(error, errors.ScripError)
    return write(problem, error.detail, _fields(error), _headers(error))


def write(
    problem: Problem, detail: str, fields: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem response. `fields` are extension members beside the standard ones."""
    members: dict[str, Any] = {"type": f"/problems/{problem.slug}", "title": problem.title, "status": problem.status}
    if detail:
        members["detail"] = detail
    members |= fields or {}
    return respond(members, problem.status, headers, content_type="application/problem+json")


def _problem_of(error: Exception) -> Problem:
    if str(getattr(error, "sqlstate", None) or "").startswith(_PROGRAM_LIMIT):
        return INTERNAL
    return next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), INTERNAL)


def _fields(error: errors.ScripError) -> dict[str, Any]:
    fields = {name: value for name, value in error.extra.items() if name not in ("type", "title", "status", "detail")}
    if isinstance(error, errors.Invalid):
        fields["errors"] = [{"field": field, "reason": reason} for field, reason in error.errors]
    return fields


def _headers(error: errors.ScripError) -> dict[str, str]:
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if "retry_after" in error.extra:
        return {"Retry-After": str(error.extra["retry_after"])}
    return {}


def _http(error: HTTPException) -> Response:
    """The problem response for errors of Flask and Werkzeug: unknown path or method, body too large."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    problem = HTTP_PROBLEMS.get(status) or Problem(error.name.lower().replace(" ", "-"), status, error.name)
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return write(problem, "" if status in (404, 413) else error.description or "", headers=kept)
