"""Errors as answers: one table from the error tree to RFC 9457 problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import peewee
import psycopg
import structlog
from flask import Response
from werkzeug.exceptions import HTTPException

from models import errors
from web.http.answers import respond

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 5
# Of OperationalErrors, those that say the request was wrong rather than the database in trouble.
_PROGRAM_LIMIT = "54"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: the last part of its `type`, its status, its `title`."""

    slug: str
    status: int
    title: str


UNAVAILABLE = Problem("unavailable", 503, "The database is away; try again")
INTERNAL = Problem("internal-error", 500, "Something went wrong here")
NOT_READY = Problem("not-ready", 503, "Not ready")
PROBLEMS: dict[type[BaseException], Problem] = {
    errors.BadRequest: Problem("bad-request", 400, "The request cannot be read"),
    errors.Unauthorized: Problem("unauthorized", 401, "No key, or none that is known"),
    errors.InsufficientBalance: Problem("insufficient-balance", 402, "Too little is available"),
    errors.Forbidden: Problem("forbidden", 403, "The key may not do this"),
    errors.NotFound: Problem("not-found", 404, "There is no such thing"),
    errors.Conflict: Problem("conflict", 409, "It contradicts what is stored"),
    errors.TooLarge: Problem("too-large", 413, "The body is over 1 MiB"),
    errors.Invalid: Problem("invalid", 422, "The content is wrong"),
    errors.RateLimited: Problem("rate-limited", 429, "Too many requests for now"),
    # The documentation shows the first kind of a status, so what only some routes answer comes last.
    errors.ActiveSession: Problem("active-session", 409, "A session is active already"),
    errors.TierRequired: Problem("tier", 403, "The customer is not of the tier that it takes"),
    errors.CoolingDown: Problem("cooldown", 429, "The cooldown is not over"),
    errors.ProviderRefused: Problem("provider-refused", 409, "The payment provider refused it"),
    errors.Unavailable: UNAVAILABLE,
    psycopg.OperationalError: UNAVAILABLE,
    psycopg.InterfaceError: UNAVAILABLE,
    peewee.OperationalError: UNAVAILABLE,
    peewee.InterfaceError: UNAVAILABLE,
    errors.NotConfigured: Problem("not-configured", 503, "A setting is missing here"),
    errors.ProviderAway: Problem("provider-away", 503, "The payment provider cannot be reached; try again"),
}
HTTP_PROBLEMS = {
    404: PROBLEMS[errors.NotFound],
    405: Problem("method-not-allowed", 405, "The resource has no such method"),
    413: PROBLEMS[errors.TooLarge],
}
ALL = (*dict.fromkeys((*PROBLEMS.values(), *HTTP_PROBLEMS.values(), NOT_READY, INTERNAL)),)


def answer(error: Exception) -> Response:
    """The answer that tells of `error`. What is not expected is logged, and told without details."""
    if isinstance(error, HTTPException):
        return _http(error)
    problem = _problem_of(error)
    if problem is INTERNAL:
        log.error("unexpected error", exc_info=error)
        return write(problem, "It was logged; trying again may help.")
    if problem is UNAVAILABLE:
        log.warning("database away", error=type(error).__name__)
        return write(problem, "Nothing was stored.", {}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    assert isinstance(error, errors.ScripError)
    return write(problem, error.detail, _fields(error), _headers(error))


def write(
    problem: Problem, detail: str, fields: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem as an answer; `fields` are members of their own beside the standard ones."""
    told = {"type": f"/problems/{problem.slug}", "title": problem.title, "status": problem.status}
    if detail:
        told["detail"] = detail
    return respond({**told, **(fields or {})}, problem.status, headers or {}, content_type="application/problem+json")


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
    """What Flask and Werkzeug refuse on their own: no such path, no such method, a body too large."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    problem = HTTP_PROBLEMS.get(status) or Problem(error.name.lower().replace(" ", "-"), status, error.name)
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return write(problem, "" if status in (404, 413) else error.description or "", headers=kept)
