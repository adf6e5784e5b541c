"""The Python client of Scrip for app back ends: `Scrip` for API calls, `require_credits` for paid work."""

from scrip_client.client import Scrip
from scrip_client.decorator import require_credits
from scrip_client.errors import (
    Conflict,
    CooldownActive,
    Forbidden,
    InsufficientCredits,
    Invalid,
    NotFound,
    RateLimited,
    ScripError,
    TierRequired,
    Unauthorized,
    Unavailable,
)
from scrip_client.reservation import NotCaptured, Reservation, current_hold

__all__ = [
    "Conflict",
    "CooldownActive",
    "Forbidden",
    "InsufficientCredits",
    "Invalid",
    "NotCaptured",
    "NotFound",
    "RateLimited",
    "Reservation",
    "Scrip",
    "ScripError",
    "TierRequired",
    "Unauthorized",
    "Unavailable",
    "current_hold",
    "require_credits",
]
