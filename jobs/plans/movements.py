"""What a plan owes as movements of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from models import cycles, times
from models.catalog.apps import App
from models.cycles import LONG_AGO, PERIOD_GRACE
from models.planning.movements import Grant
from models.plans.owed import Owed
from models.plans.rules.parts import day
from models.plans.subscriptions import Subscription
from models.plans.upcoming import Upcoming, time_of

# The id and the reference of the payment of each bill.
Payments = Mapping[str, tuple[int, str]]


def upcoming(one: Owed, payments: Payments, number: int, *, now: datetime) -> Upcoming:
    """Owed units as JSON: all that is needed to grant them once they are due.

    `number`: how many grants of this plan for this period precede it. Guesses, and units of a payment that was partly
    returned or about which an inquiry is open, are computed again then.
    """
    if (one.is_frozen or one.is_guess or one.is_partly_returned) and one.due > now:
        return {"due": one.due}
    payment = payments.get(one.paid_by or "")
    return {
        "due": one.due,
        "plan": one.plan,
        "units": one.units,
        "start": one.start,
        "end": one.end,
        "customer": one.customer,
        "bill": one.paid_by,
        "payment": payment[0] if payment else None,
        "why": one.why,
        "number": number,
    }


def grant(app: App, row: Subscription, one: Upcoming, *, now: datetime, event_id: str | None = None) -> Grant:
    """The grant of what is owed."""
    plan = app.plans.get(one["plan"])
    start, end = time_of(one["start"]), time_of(one["end"])
    lifetime = plan.expires_after if plan else None
    by_period = lifetime == "period"
    key = f"grant:{row.provider_id}:{one['plan']}:{int(start.timestamp())}"
    return Grant(
        app=app.slug,
        customer=one["customer"],
        key=f"{key}:{one['number']}" if one["number"] else key,
        units=one["units"],
        type="subscription_grant",
        source=f"plan:{one['plan']}",
        reason=f"{one['plan']}, {day(start)} to {day(end)}",
        expires_after=lifetime if isinstance(lifetime, timedelta) else None,
        expires_at=max(end, now) + PERIOD_GRACE if by_period else None,
        price_minor=plan.price_minor if plan else None,
        currency=plan.currency if plan else None,
        payment_id=one["payment"],
        subscription_id=row.id,
        period_start=start,
        per_period=by_period,
        rollover=(plan.rollover or 0) if plan and by_period else 0,
        meta={
            "plan": one["plan"],
            "subscription": row.provider_id,
            "units": one["units"],
            "cycle": cycle_of(row.anchor, start),
            "cycle_start": times.write(start),
            "period_start": times.write(start),
            "period_end": times.write(end),
            "why": one["why"],
            **({"bill": one["bill"]} if one["bill"] else {}),
            **({"event": event_id} if event_id else {}),
        },
        actor="schedule" if event_id is None else row.provider,
    )


def in_order(several: Sequence[Upcoming]) -> list[Upcoming]:
    """In the order in which they are granted: a month that begins with a week before it, because the week might end
    what the month rolls over.
    """

    def start_and_length(one: Upcoming) -> tuple[datetime, timedelta]:
        start = time_of(one["start"])
        return start, start - time_of(one["end"])

    return sorted(several, key=start_and_length)


def cycle_of(anchor: datetime | None, start: datetime) -> int:
    """The number of the period, counted from the anchor."""
    return cycles.nearest_cycle(anchor, start) if anchor and anchor > LONG_AGO else 0
