"""What a job may ask of the ledger: one class a kind of movement.

Units are whole numbers of the app's unit and never negative. `key` is the idempotency key of the entry that the
movement becomes, unique in the app and carrying its kind: `charge:a1`, `grant:sub_1:7`. Movements without a key of
their own (`Lapse`, `Clawback`, `Freeze`) say what the state should be, so doing them twice is the same as once.

Not frozen: a batch makes thousands of them, and freezing costs three times the construction. Nobody writes to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

OnShortfall = Literal["partial", "debt", "reject"]


@dataclass(slots=True, kw_only=True)
class Movement:
    """The account that is moved, and what its entry will say."""

    app: str
    customer: str
    key: str = ""
    reason: str = ""
    meta: dict[str, Any] | None = None
    actor: str = "system"
    occurred_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Grant(Movement):
    """Make a lot of `units`. `expires_after` counts from the posting, so a late webhook does not shorten what was sold.

    `per_period`: the lot lapses when a later cycle of its subscription is granted.
    """

    units: int
    type: str
    source: str
    expires_after: timedelta | None = None
    expires_at: datetime | None = None
    priority: int = 0
    price_minor: int | None = None
    currency: str | None = None
    payment_id: int | None = None
    subscription_id: int | None = None
    cycle: int | None = None
    per_period: bool = False


@dataclass(slots=True, kw_only=True)
class Take(Movement):
    """Take `units` in burn order. `received_at` is the time that decides which lots had expired; absent: now.

    `on_shortfall` absent: the app's. `partial` takes what is there, `debt` overdraws, `reject` takes nothing.
    """

    units: int
    type: str = "deduction"
    on_shortfall: OnShortfall | None = None
    received_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Hold(Movement):
    """Set `units` aside in their lots as a hold under `key`. `at_most`: what is there, if it is less."""

    units: int
    expires_at: datetime
    up_to: bool = False


@dataclass(slots=True, kw_only=True)
class Extend(Movement):
    """Let the hold grow to `units` in all, as far as what is available goes. It never shrinks."""

    hold_key: str
    units: int


@dataclass(slots=True, kw_only=True)
class Capture(Movement):
    """Spend `units` of the hold (absent: all of it). Less frees the rest, more takes the rest from what is available.

    `on_shortfall`: where that is too little, `reject` leaves the hold as it is, `partial` spends what there is and
    `debt` overdraws.
    """

    hold_key: str
    units: int | None = None
    on_shortfall: OnShortfall = "reject"


@dataclass(slots=True, kw_only=True)
class Release(Movement):
    """Free the hold. `expired` says that time did it, not the client."""

    hold_key: str
    expired: bool = False


@dataclass(slots=True, kw_only=True)
class Reverse(Movement):
    """Give `units` (absent: all that is left) of the deduction `entry_id` back to the lots that it came from."""

    entry_id: int
    units: int | None = None


@dataclass(slots=True, kw_only=True)
class Clawback(Movement):
    """Bring what was clawed back of the grant `entry_id` to `target_units`, up or down."""

    entry_id: int
    target_units: int


@dataclass(slots=True, kw_only=True)
class Freeze(Movement):
    """Freeze (or thaw) the lots of these grants: a frozen lot pays nothing and still counts in the balance."""

    entry_ids: Sequence[int]
    frozen: bool


@dataclass(slots=True, kw_only=True)
class Expire(Movement):
    """Lapse the expired lots of the account. Every movement does this first; this one does nothing else."""


@dataclass(slots=True)
class Outcome:
    """What became of one movement. `balance` and `available` are as shown to the customer, after it.

    `status` is `applied`, `already` (the key was posted before; `entry_id` and `units` are of that posting) or
    `refused`, then `refusal` is one of `insufficient`, `beyond`, `closed`, `unknown`.
    """

    status: Literal["applied", "already", "refused"]
    entry_id: int | None = None
    units: int = 0
    shortfall: int = 0
    balance: int = 0
    available: int = 0
    refusal: str | None = None
    hold_id: int | None = None
