"""Movements: the requests that jobs pass to the ledger, one class per kind.

Units are whole numbers of the app's unit and never negative. `key` is the idempotency key of the entry that the
movement becomes: unique in the app and prefixed with its kind, such as `charge:a1` or `grant:sub_1:7`. Movements
without a key (`Expire`, `Clawback`, `Freeze`) state the target, so applying them twice equals applying them once.

The classes are not frozen, because a frozen dataclass costs three times as much to construct and a batch has thousands
of them. Treat them as immutable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

OnShortfall = Literal["partial", "debt", "reject"]


@dataclass(slots=True)
class CarriedLine:
    """Usage at a rate whose fraction is carried. It costs exactly `amount` ÷ `per` units.

    `position`: of the line in the `lines` of the movement's `meta`; None if the usage has one rate only.
    """

    rate: str
    amount: int
    per: int
    position: int | None = None


@dataclass(slots=True, kw_only=True)
class Movement:
    """The account to change, and what its entry records. `occurred_at`: the time that the client reported.

    `carried`: usage whose price a `Take` or `Capture` adds to its units (models/planning/pricing.py).
    """

    app: str
    customer: str
    key: str = ""
    reason: str = ""
    meta: dict[str, Any] | None = None
    actor: str = "system"
    occurred_at: datetime | None = None
    carried: Sequence[CarriedLine] = ()


@dataclass(slots=True, kw_only=True)
class Grant(Movement):
    """Create a lot of `units`.

    `expires_after` counts from the posting, so that a late webhook does not shorten what was sold. `expires_at` takes
    precedence. `per_period`: the lot expires when a later period of its subscription is granted. `rollover`: so many
    units that the period before left unused live on until this one ends.
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
    period_start: datetime | None = None
    per_period: bool = False
    rollover: int = 0


@dataclass(slots=True, kw_only=True)
class Take(Movement):
    """Take `units` in burn order. Lots that had expired at `received_at` (None: now) do not pay.

    `on_shortfall` (None: the app's rule): `partial` takes what is available, `debt` overdraws, `reject` takes nothing.
    `has_row`: a row of the caller records `carried`, even if it costs no units and so has no entry.
    """

    units: int
    type: str = "deduction"
    on_shortfall: OnShortfall | None = None
    received_at: datetime | None = None
    has_row: bool = False


@dataclass(slots=True, kw_only=True)
class Hold(Movement):
    """Reserve `units` as a hold under `key`. `up_to`: if fewer are available, hold those instead of refusing."""

    units: int
    expires_at: datetime
    up_to: bool = False


@dataclass(slots=True, kw_only=True)
class Extend(Movement):
    """Grow the hold to `units` in total, as far as available units allow. A hold never shrinks."""

    hold_key: str
    units: int


@dataclass(slots=True, kw_only=True)
class Capture(Movement):
    """Spend `units` of the hold (None: all of it).

    Fewer than it holds: the rest is freed. More: the rest is taken from what is available. If that does not suffice,
    `on_shortfall` decides: `reject` leaves the hold unchanged, `partial` spends what there is, `debt` overdraws.
    With `carried`, `units` must be given; `has_row` is as in `Take`.
    """

    hold_key: str
    units: int | None = None
    on_shortfall: OnShortfall = "reject"
    has_row: bool = False


@dataclass(slots=True, kw_only=True)
class Release(Movement):
    """Free the units of the hold. `expired`: the hold reached its expiry, no client released it."""

    hold_key: str
    expired: bool = False


@dataclass(slots=True, kw_only=True)
class Reverse(Movement):
    """Refund `units` (None: all that are not refunded yet) of the deduction `entry_id` to the lots that paid them."""

    entry_id: int
    units: int | None = None


@dataclass(slots=True, kw_only=True)
class Clawback(Movement):
    """Claw back or reinstate units of the grant `entry_id` until `target_units` are clawed back in total."""

    entry_id: int
    target_units: int


@dataclass(slots=True, kw_only=True)
class Freeze(Movement):
    """Freeze or thaw the lots of these grants. A frozen lot pays nothing but counts in the balance."""

    entry_ids: Sequence[int]
    frozen: bool


@dataclass(slots=True, kw_only=True)
class Expire(Movement):
    """Expire the lots of the account that are past their expiry. Every other movement does that first, too."""


@dataclass(slots=True)
class Outcome:
    """The result of one movement. `balance` and `available` are as shown to the customer, after the movement.

    `status`: `applied`; `already` (the key was posted before; `entry_id`, `hold_id` and `units` are of that posting);
    or `refused`, where `refusal` is one of `insufficient`, `beyond`, `closed`, `unknown`.
    """

    status: Literal["applied", "already", "refused"]
    entry_id: int | None = None
    units: int = 0
    shortfall: int = 0
    balance: int = 0
    available: int = 0
    refusal: str | None = None
    hold_id: int | None = None
