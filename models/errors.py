"""Every error that Scrip raises on purpose. The web maps them to answers in one table (web/http/problems.py)."""

from __future__ import annotations

from typing import Any


class ScripError(Exception):
    """The root of the tree. `detail` is one sentence for a person; `extra` are fields of the answer."""

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadRequest(ScripError):
    """The request cannot be read at all: bad JSON, a bad signature."""


class Unauthorized(ScripError):
    """No key, or none that is known."""


class Forbidden(ScripError):
    """The key is known and may not do this."""


class TierRequired(Forbidden):
    """The customer is not of the tier that the catalog asks for; the key has nothing to do with it."""


class NotFound(ScripError):
    """It does not exist, or is another app's."""


class UnknownApp(NotFound):
    """The catalog has no such app."""


class Conflict(ScripError):
    """It contradicts what is stored: an id seen with other content, a hold that is closed."""


class ActiveSession(Conflict):
    """The customer has as many active sessions as the app allows. `extra["session"]` is one of them."""


class TooLarge(ScripError):
    """The body is over 1 MiB."""


class Invalid(ScripError):
    """The content is wrong. `errors` is a list of (field, reason)."""

    def __init__(self, errors: list[tuple[str, str]], detail: str = "") -> None:
        super().__init__(detail or "; ".join(f"{name}: {reason}" for name, reason in errors[:3]))
        self.errors = errors


class InsufficientBalance(ScripError):
    """Less is available than is required; nothing was taken."""

    def __init__(self, *, available: int, required: int) -> None:
        super().__init__(f"{required} required, {available} available", balance=available, required=required)
        self.available = available
        self.required = required


class RateLimited(ScripError):
    """The key has used up its requests for now. `extra["retry_after"]` is in seconds."""


class CoolingDown(ScripError):
    """The cooldown after the last session is not over. `extra` has `eligible_at`, and `retry_after` in seconds."""


class Unavailable(ScripError):
    """The database is away; trying again later is right."""


class ProviderAway(ScripError):
    """A payment provider cannot be reached, or asks for patience. `extra["retry_after"]` is in seconds."""

    def __init__(self, detail: str = "", *, retry_after: int = 5, **extra: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)


class ProviderRefused(ScripError):
    """A payment provider says no. `status` is its HTTP status, `code` and `param` are its words for the reason."""

    def __init__(self, detail: str = "", *, status: int = 0, code: str = "", param: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.param = param


class NotConfigured(ScripError):
    """A setting is missing without which this cannot be done; once it is there, trying again is right."""


class CatalogError(ScripError):
    """A file of the catalog is wrong."""


class Unprocessable(ScripError):
    """A stored event that no retry will mend until a person does something; it ends dead with this reason."""


class TooEarly(ScripError):
    """A stored event that builds on one that has not come yet: it waits, and is dead only if that one never comes.

    `extra["waits_for"]` is the provider's id of what the other one will tell of.
    """


class NotOurs(ScripError):
    """A stored event that is none of this app's business; it ends ignored with this reason."""
