"""Every error that Scrip raises deliberately. web/http/problems.py maps them to responses."""

from __future__ import annotations

from typing import Any


class ScripError(Exception):
    """Base class. `detail`: one sentence for the client or operator. `extra`: additional fields of the response."""

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadRequest(ScripError):
    """The request cannot be read: malformed JSON, an invalid signature."""


class Unauthorized(ScripError):
    """The API key is missing or unknown."""


class Forbidden(ScripError):
    """The API key is valid but lacks the permission."""


class TierRequired(Forbidden):
    """The customer does not have the tier that the catalog requires. Independent of the API key."""


class NotFound(ScripError):
    """The object does not exist, or belongs to another app."""


class UnknownApp(NotFound):
    """The catalog has no app of this name."""


class Conflict(ScripError):
    """The request conflicts with stored state: an id that was used with other content, a closed hold."""


class ActiveSession(Conflict):
    """The customer has as many active sessions as the app allows. `extra["session"]` is one of them."""


class AlreadySubscribed(Conflict):
    """The customer has a running subscription to the plan. `extra["subscription"]` is its number."""


class LimitReached(Conflict):
    """The customer has bought a pack as often as its catalog allows."""


class TooLarge(ScripError):
    """The request body exceeds 1 MiB."""


class Invalid(ScripError):
    """The content is invalid. `errors`: a list of (field, reason)."""

    def __init__(self, errors: list[tuple[str, str]], detail: str = "") -> None:
        super().__init__(detail or "; ".join(f"{name}: {reason}" for name, reason in errors[:3]))
        self.errors = errors


class InsufficientBalance(ScripError):
    """Fewer units are available than required; nothing was taken."""

    def __init__(self, *, available: int, required: int) -> None:
        super().__init__(f"{required} required, {available} available", balance=available, required=required)
        self.available = available
        self.required = required


class RateLimited(ScripError):
    """The API key exceeded its rate limit. `extra["retry_after"]` is in seconds."""


class CoolingDown(ScripError):
    """The cooldown after the last session has not ended. `extra`: `eligible_at`, and `retry_after` in seconds."""


class RequestTimeout(ScripError):
    """The client did not send its request in time."""


class Overloaded(ScripError):
    """Too many requests are being received at once. `extra["retry_after"]` is in seconds."""


class Unavailable(ScripError):
    """The database is unavailable; retry later."""


class ProviderAway(ScripError):
    """A payment provider cannot be reached, fails or limits requests. `extra["retry_after"]` is in seconds."""

    def __init__(self, detail: str = "", *, retry_after: int = 5, **extra: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)


class ProviderRefused(ScripError):
    """A payment provider rejected the request. `status`: its HTTP status. `code`, `param`: its reason."""

    def __init__(self, detail: str = "", *, status: int = 0, code: str = "", param: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.param = param


class NotConfigured(ScripError):
    """A setting that the operation requires is missing; retry after it is set."""


class CatalogError(ScripError):
    """A file of the catalog is invalid."""


class Unprocessable(ScripError):
    """A stored event that no retry can apply until an operator acts. It is dead-lettered with this reason."""


class TooEarly(ScripError):
    """A stored event that depends on one not received yet. It is retried, and dead-lettered if that one never arrives.

    `extra["waits_for"]`: the provider's id of the object that the other event reports.
    """


class NotOurs(ScripError):
    """A stored event that does not concern this app. It is marked `ignored` with this reason."""
