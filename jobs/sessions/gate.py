"""The gate: may this customer start a session now, and if not, why not?

What is in the way is told in this order, and the first of it decides the answer: the tier, an active session, the
cooldown, the balance. The clock is the server's; a client has no say in it.
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

# What a session may wait for.
WAITED_FOR = frozenset({"cooldown", "balance"})


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What the gate found. `reasons` is empty where a session may start; `free` says that it costs nothing.

    `cooldown_until` is None when the cooldown is over, `active` the id of a session that is in the way,
    `waiting` that of one that waits.
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
        """Whether time or a purchase alone would let the session start."""
        return set(self.reasons) <= WAITED_FOR

    def refusal(self, now: datetime) -> ScripError:
        """The first reason as an error, which names all of them."""
        common = {"reasons": self.reasons}
        match self.reasons[0]:
            case "tier":
                return TierRequired(f"a session needs the tier {self.tier!r}", **common)
            case "active_session":
                return ActiveSession(f"session {self.active!r} is active already", session=self.active, **common)
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
    """The app's gate.

    Raises:
        Invalid: its catalog file has none.
    """
    if app.sessions is None:
        raise Invalid([("app", f"{app.slug} has no sessions: its catalog file has no [sessions]")])
    return app.sessions


def check(conn: Connection, app: App, customer: str, owner: Owner | None, *, now: datetime) -> Eligibility:
    """What is in the way of a session now; of a customer that Scrip does not know, too.

    With the account locked this holds until the end of the transaction.
    """
    gate = of(app)
    there = sessions.open_of(conn, owner.id) if owner else []
    active = [it for it in there if it.state == "active"]
    free = (owner.free_sessions_used if owner else 0) < gate.first_free
    available = balances.available(app, customer, now=now)
    cooldown_until = owner.cooldown_until if owner and owner.cooldown_until and owner.cooldown_until > now else None
    blockers = {
        "tier": gate.requires_tier is not None and customers.tier(app, customer) != gate.requires_tier,
        "active_session": len(active) >= gate.concurrent,
        "cooldown": cooldown_until is not None,
        "balance": not free and available < gate.minimum_balance,
    }
    return Eligibility(
        reasons=[reason for reason, is_so in blockers.items() if is_so],
        available=available,
        required=gate.minimum_balance,
        cooldown_until=cooldown_until,
        active=active[0].external_id if blockers["active_session"] else None,
        waiting=next((it.external_id for it in there if it.state == "waiting"), None),
        free=free,
        tier=gate.requires_tier,
    )


def eligibility(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """What a countdown and a "buy" button need. `cooldown_seconds` is what is left of the cooldown, rounded up.

    Raises:
        Invalid: the app has no sessions.
    """
    of(app)
    conn = database.live_connection()
    found = check(conn, app, customer, sessions.owner(conn, app.slug, customer), now=now)
    missing = {"tier", "balance"} & set(found.reasons)
    return {
        "eligible": not found.reasons,
        "reasons": found.reasons,
        "eligible_at": None if missing else found.cooldown_until or now,
        "cooldown_seconds": seconds_until(found.cooldown_until, now) if found.cooldown_until else 0,
        "available": found.available,
        "server_time": now,
        "free": found.free,
        "session": found.active,
        "waiting": found.waiting,
    }


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds from now to then, rounded up; 0 once it is past."""
    return max(0, math.ceil((moment - now) / timedelta(seconds=1)))
