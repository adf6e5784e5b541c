"""The error tree: one class per status of a response. `NotCaptured` is defined in reservation.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ScripError(Exception):
    """The base class of all errors, raised itself for statuses without a subclass.

    `status` is the HTTP status, or 0 without a response. `type`, `title` and `detail` are members of the problem
    (RFC 9457), `fields` holds all members. `retry_after` is in seconds, None if the response has no Retry-After header.
    """

    def __init__(
        self, status: int, fields: Mapping[str, Any] | None = None, *, retry_after: float | None = None
    ) -> None:
        self.status = status
        self.fields: dict[str, Any] = dict(fields or {})
        self.type = str(self.fields.get("type", "about:blank"))
        self.title = str(self.fields.get("title", ""))
        self.detail = str(self.fields.get("detail", ""))
        self.retry_after = retry_after
        super().__init__(": ".join(part for part in (self.title, self.detail) if part) or f"status {status}")


class Invalid(ScripError):
    """400, 413 or 422: the request is invalid."""

    @property
    def errors(self) -> list[dict[str, str]]:
        """The invalid fields of a 422, each as `{"field", "reason"}`; else empty."""
        return list(self.fields.get("errors", []))

    def __str__(self) -> str:
        reasons = "; ".join(f"{error['field']}: {error['reason']}" for error in self.errors)
        return f"{self.title}: {reasons}" if reasons else super().__str__()


class Unauthorized(ScripError):
    """401: the key is missing, unknown or revoked."""


class InsufficientCredits(ScripError):
    """402: fewer units are available than required; nothing was deducted."""

    @property
    def balance(self) -> int | None:
        """The available units; None if the response does not contain them."""
        return self.fields.get("balance")

    @property
    def required(self) -> int | None:
        """The required units; None if the response does not contain them."""
        return self.fields.get("required")


class Forbidden(ScripError):
    """403: the key lacks the required scope."""


class TierRequired(Forbidden):
    """403: the customer lacks the tier that the session or the pack requires."""


class NotFound(ScripError):
    """404: the app has no such resource."""


class Conflict(ScripError):
    """409: the request conflicts with stored data, such as an id used with different content, or a closed hold."""


class CooldownActive(ScripError):
    """429 for the start of a session: the customer's cooldown is active."""

    @property
    def eligible_at(self) -> str:
        """The end of the cooldown, an RFC 3339 time."""
        return str(self.fields["eligible_at"])


class RateLimited(ScripError):
    """429: the key exceeded its rate limit; retry after `retry_after` seconds."""


class Unavailable(ScripError):
    """No response, or 502 to 504, after all attempts.

    The last attempt may have been executed. Repeating the call with the same id returns its result.
    """


BY_STATUS: dict[int, type[ScripError]] = {
    400: Invalid,
    401: Unauthorized,
    402: InsufficientCredits,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, fields: Mapping[str, Any], *, retry_after: float | None = None) -> ScripError:
    """The error for a response with this status and problem."""
    kind = BY_STATUS.get(status, ScripError)
    if kind is Forbidden and str(fields.get("type", "")).endswith("/tier"):
        kind = TierRequired
    if kind is RateLimited and fields.get("eligible_at"):
        kind = CooldownActive
    return kind(status, fields, retry_after=retry_after)
