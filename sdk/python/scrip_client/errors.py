"""What Scrip's refusals become: one error tree, by the status of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrip_client.reservation import Reservation


class ScripError(Exception):
    """The root of the tree, raised itself for what has no class of its own.

    `status` is HTTP's, 0 where there was no answer; `type`, `title` and `detail` are the problem's (RFC 9457), `fields`
    all of its members; `retry_after` is in seconds, None if the answer did not say.
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
    """400, 413 or 422: the request is wrong. `errors` is a list of `{"field", "reason"}`, empty unless it was 422."""

    @property
    def errors(self) -> list[dict[str, str]]:
        return list(self.fields.get("errors", []))

    def __str__(self) -> str:
        reasons = "; ".join(f"{error['field']}: {error['reason']}" for error in self.errors)
        return f"{self.title}: {reasons}" if reasons else super().__str__()


class Unauthorized(ScripError):
    """401: no key, or none that Scrip knows."""


class InsufficientCredits(ScripError):
    """402: less is available than is required; nothing was taken. In units; None where the answer does not say."""

    @property
    def balance(self) -> int | None:
        """What is available."""
        return self.fields.get("balance")

    @property
    def required(self) -> int | None:
        return self.fields.get("required")


class Forbidden(ScripError):
    """403: the key's scopes do not allow it."""


class TierRequired(Forbidden):
    """403: the customer is not of the tier that the session, or the pack, takes."""


class NotFound(ScripError):
    """404: there is no such thing in this app."""


class Conflict(ScripError):
    """409: it contradicts what is stored, such as an id that was used with other content, or a hold that is closed."""


class CooldownActive(ScripError):
    """429 of a session's start: the customer's cooldown runs until `eligible_at`, an RFC 3339 time."""

    @property
    def eligible_at(self) -> str:
        return str(self.fields["eligible_at"])


class RateLimited(ScripError):
    """429: the key may make no more requests for `retry_after` seconds."""


class Unavailable(ScripError):
    """No answer, or 502 to 504, after all attempts.

    Whether the last attempt was carried out is not known; the same call with the same id finds out.
    """


class NotCaptured(Unavailable):
    """The work is done, but Scrip could not be reached to take its units, which stay held until the hold expires.

    Nothing is lost while `reservation.capture()` succeeds in time. `result` is what the function returned.
    """

    def __init__(self, reservation: Reservation, cause: ScripError) -> None:
        super().__init__(cause.status, cause.fields, retry_after=cause.retry_after)
        self.reservation = reservation
        self.result: Any = None


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
    """The error that an answer of this status is."""
    kind = BY_STATUS.get(status, ScripError)
    if kind is Forbidden and str(fields.get("type", "")).endswith("/tier"):
        kind = TierRequired
    if kind is RateLimited and fields.get("eligible_at"):
        kind = CooldownActive
    return kind(status, fields, retry_after=retry_after)
