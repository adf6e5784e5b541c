"""The gate: whether a customer may start a session now, and the reasons if not.

Reasons are listed in this order, and the first one determines the error: the tier, an active session, the cooldown, the
balance. Times are the server's; the client's clock is not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import customers, database
from models.catalog.apps import App, Sessions
from models.database import Connection
from models.errors import ActiveSession, CoolingDown, InsufficientBalance, Invalid, ScripError, TierRequired
from models.ledger import balances
from models.sessions import sessions
from models.sessions.sessions import Owner

# The reasons that a session may wait for.
WAITED_FOR = frozenset({"cooldown", "balance"})


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The result of a check. `reasons` is empty if a session may start. `free`: the session would cost nothing.

    `available` and `required` are units. `cooldown_until` is None if there is no cooldown. `active`: the id of an
    active session that blocks the start. `waiting`: the id of the customer's waiting session.
    """

    reasons: list[str]
    available: int
    required: int
    cooldown_until: datetime | None
    active: str | None
    waiting: str | None
    free: bool
    tier: str | None

    @property
    def may_wait(self) -> bool:
        """Whether time or a purchase alone would remove all reasons."""
        return set(self.reasons) <= WAITED_FOR

    def refusal(self, now: datetime) -> ScripError:
        """The first reason as an error, which names all of them."""
        common = {"reasons": self.reasons}
        match self.reasons[0]:
            case "tier":
                return TierRequired(f"a session requires the tier {self.tier!r}", **common)
            case "active_session":
                return ActiveSession(f"session {self.active!r} is already active", session=self.active, **common)
            case "cooldown":
                assert self.cooldown_until is not None
                seconds = seconds_until(self.cooldown_until, now)
                return CoolingDown(
                    f"the next session may start in {seconds} s",
                    eligible_at=self.cooldown_until,
                    server_time=now,
                    retry_after=seconds,
                    **common,
                )
        refusal = InsufficientBalance(available=self.available, required=self.required)
        refusal.extra.update(common)
        return refusal


def of(app: App) -> Sessions:
    """The app's `[sessions]` of the catalog.

    Raises:
        Invalid: the catalog file has none.
    """
    if app.sessions is None:
        raise Invalid([("app", f"{app.slug} has no sessions: add [sessions] to its catalog file")])
    return app.sessions


def check(conn: Connection, app: App, customer: str, owner: Owner | None, *, now: datetime) -> Eligibility:
    """Check whether a session may start now. Also valid for unknown customers (`owner` None).

    If the account is locked, the result is valid until the end of the transaction.

    Raises:
        Invalid: the app has no sessions.
    """
    gate = of(app)
    open_sessions = sessions.open_of(conn, owner.id) if owner else []
    active = [session for session in open_sessions if session.state == "active"]
    free = (owner.free_sessions_used if owner else 0) < gate.first_free
    available = balances.available(app, customer, now=now)
    cooldown_until = owner.cooldown_until if owner and owner.cooldown_until and owner.cooldown_until > now else None
    blockers = {
        "tier": gate.requires_tier is not None and customers.tier(app, customer, now=now) != gate.requires_tier,
        "active_session": len(active) >= gate.concurrent,
        "cooldown": cooldown_until is not None,
        "balance": not free and available < gate.minimum_balance,
    }
    return Eligibility(
        reasons=[reason for reason, applies in blockers.items() if applies],
        available=available,
        required=gate.minimum_balance,
        cooldown_until=cooldown_until,
        active=active[0].external_id if blockers["active_session"] else None,
        waiting=next((session.external_id for session in open_sessions if session.state == "waiting"), None),
        free=free,
        tier=gate.requires_tier,
    )


def eligibility(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The eligibility of a customer as JSON. `cooldown_seconds`: the rest of the cooldown, rounded up.

    `eligible_at` is None if waiting does not help: the tier or the balance is missing.

    Raises:
        Invalid: the app has no sessions.
    """
    of(app)
    conn = database.live_connection()
    result = check(conn, app, customer, sessions.owner(conn, app.slug, customer), now=now)
    missing = {"tier", "balance"} & set(result.reasons)
    return {
        "eligible": not result.reasons,
        "reasons": result.reasons,
        "eligible_at": None if missing else result.cooldown_until or now,
        "cooldown_seconds": seconds_until(result.cooldown_until, now) if result.cooldown_until else 0,
        "available": result.available,
        "server_time": now,
        "free": result.free,
        "session": result.active,
        "waiting": result.waiting,
    }


def seconds_until(moment: datetime, now: datetime) -> int:
    """Seconds from now until the moment, rounded up; 0 if it is past."""
    return max(0, math.ceil((moment - now) / timedelta(seconds=1)))
