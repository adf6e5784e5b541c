"""Translates Stripe's subscription schedules into facts: the changes that wait for the end of a period."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.providers.facts import AnyFact, PlanReported
from jobs.providers.stripe.objects import Object, created, get, id_of, objects, own_id, price_of, time_of
from jobs.providers.stripe.subscriptions import quantity_of
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.plans.facts import Item, Phase, Schedule

RUNNING = ("not_started", "active")


def schedule_changed(app: App, event: Event, schedule: Object) -> Iterator[AnyFact]:
    """The schedule, as a fact of its subscription.

    Raises:
        NotOurs: it has none yet.
    """
    subscription = id_of(schedule.get("subscription")) or id_of(schedule.get("released_subscription"))
    if subscription is None:
        raise NotOurs("the schedule has no subscription")
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        fact=Schedule(
            key=event.event_id,
            schedule=own_id(schedule),
            at=created(event),
            phases=tuple(_phases(schedule)),
            is_over=schedule.get("status") not in RUNNING,
        ),
    )


def _phases(schedule: Object) -> Iterator[Phase]:
    for phase in objects(schedule, "phases"):
        start = time_of(get(phase, "start_date"))
        if start:
            items = (Item(id=None, price=price_of(one), quantity=quantity_of(one)) for one in objects(phase, "items"))
            yield Phase(start, tuple(items))
