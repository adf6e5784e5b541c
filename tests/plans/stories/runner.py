"""Plays stories against the engine and compares what it granted with the plain account."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from jobs import maintenance, runs
from jobs.inbox import events as inbox
from models import database
from models.catalog import catalog
from models.plans import stored_terms
from tests.plans.stories import generator, prices, writers
from tests.plans.stories.delivery import Arrival, arrivals
from tests.plans.stories.generator import Story
from tests.plans.stories.world import START, World
from tests.support import emptied
from tests.support.cast import balance, deliver, event_states

GRANTED = """
SELECT a.customer, sum(e.amount) FROM entry e JOIN account a ON a.id = e.account_id
WHERE e.app = %s AND (e.type = 'subscription_grant' OR e.type IN ('clawback', 'reinstatement')) GROUP BY a.customer
"""
# A grant's key names the subscription, the plan and the start of the month.
LOTS = """
SELECT a.customer, g.key, g.amount + coalesce((SELECT sum(r.amount) FROM entry r WHERE r.reverses_id = g.id), 0)
FROM entry g JOIN account a ON a.id = g.account_id WHERE g.app = %s AND g.type = 'subscription_grant'
"""
Lots = list[tuple[str, str, int]]
CUSTOMERS = ("ada", "bo", "cy")


@dataclass
class Failure:
    """A story whose account the engine did not come to."""

    seed: int
    story: Story
    shape: str
    number: int
    problem: str

    @property
    def is_of_lots(self) -> bool:
        """Whether the sums are right, and only the lots depend on the order."""
        return self.problem.startswith("the lots")

    def __str__(self) -> str:
        world = generator.live(self.story)
        names = [step.name for step in self.story]
        lines = [f"seed {self.seed} ({self.shape}, order {self.number}): {self.problem}", *world.log]
        return "\n".join([*lines, f"steps: {names}", f"again: make stories SECONDS=1 SEED={self.seed}"])


@dataclass
class Result:
    """What a run has done so far."""

    stories: int = 0
    orders: int = 0
    failures: list[Failure] = field(default_factory=list)


def run_story(seed: int, orders: int, result: Result) -> Failure | None:
    """Play the story of this seed; a failure is shortened."""
    failure = fails(seed, orders, result)
    if failure is None:
        return None
    failure = shortened(failure, orders)
    result.failures.append(failure)
    return failure


def fails(seed: int, orders: int, result: Result) -> Failure | None:
    """Play the story of this seed in both shapes, each in so many orders."""
    result.stories += 1
    return _play_all(seed, generator.invent(seed), orders, result)


def _play_all(seed: int, story: Story, orders: int, result: Result | None = None) -> Failure | None:
    world = generator.live(story)
    first: Lots | None = None
    for shape in writers.SHAPES:
        for number, order in enumerate(orders_of(seed, world, shape, orders)):
            problem = play(world, order, random.Random(seed + number))
            found = lots()
            first = found if first is None else first
            if not problem and found != first and "brief" not in world.traits:
                problem = f"the lots are {found}, but in another order {first}"
            if result:
                result.orders += 1
            if problem:
                return Failure(seed, story, shape, number, problem)
    return None


def orders_of(seed: int, world: World, shape: str, count: int) -> Iterator[list[Arrival]]:
    """So many orders of the events, the same ones for the same seed and count."""
    return arrivals(world, shape, random.Random(zlib.crc32(f"{seed} {shape}".encode())), count)


def shortened(failure: Failure, orders: int) -> Failure:
    """The failure with as few steps as still fail."""
    for story in generator.shorter(failure.story):
        found = _play_all(failure.seed, story, orders)
        if found and found.is_of_lots == failure.is_of_lots:
            return shortened(found, orders)
    return failure


def play(world: World, order: list[Arrival], dice: random.Random) -> str | None:
    """Deliver the events to an empty database, with schedule runs in between. Returns what is wrong."""
    assert world.until
    emptied.empty()
    use_catalog(None, now=START - timedelta(days=1))
    moments: list[tuple[datetime, int, Any]] = [(at, 1, event) for at, event in order]
    moments += [(at, 0, units) for at, units in world.catalogs]
    span = int((world.until - START).total_seconds())
    moments += [(START + timedelta(seconds=dice.randint(0, span)), 2, None) for _ in range(dice.randint(0, 5))]
    for at, kind, what in sorted(moments, key=lambda moment: moment[:2]):
        if kind == 0:
            use_catalog(what, now=at)
        elif kind == 1:
            deliver(prices.APP, what, now=at)
        else:
            settle(at)
    settle(world.until)
    return compare(world)


def settle(now: datetime, app: str = prices.APP) -> None:
    """What waits is tried again, and the schedule runs."""
    database.write("UPDATE inbox_event SET next_attempt_at = %s WHERE state = 'pending'", [now])
    while inbox.apply_pending(now=now):
        pass
    runs.run(app, "grant-monthly", now=now)


def use_catalog(units: dict[str, int] | None, *, now: datetime) -> None:
    """The stories' catalog; with other units by plan, as after an edit and a restart."""
    loaded = catalog.load(prices.CATALOG, {})
    if units is not None:
        app = loaded[prices.APP]
        plans = {key: replace(plan, units=units[key]) for key, plan in app.plans.items() if key in units}
        changed = type(app)(**{name: getattr(app, name) for name in app.__slots__} | {"plans": plans})
        loaded = catalog.Catalog({prices.APP: changed})
    catalog.use(loaded)
    # "A start with a changed catalog adds rows."
    database.transaction(lambda conn: stored_terms.note(conn, loaded[prices.APP], now=now))


def compare(world: World) -> str | None:
    """What differs from the account."""
    assert world.until
    owed = world.account.owed(world.until)
    granted = {customer: int(units) for customer, units in database.read(GRANTED, [prices.APP])}
    for customer in CUSTOMERS:
        right, has = owed.get(customer, 0), granted.get(customer, 0)
        if right != has:
            return f"{customer} has {has} units of plans, but is owed {right}; {_stuck()}"
        book = balance(customer, prices.APP)
        if "brief" not in world.traits and book != right + world.account.packs.get(customer, 0):
            return f"{customer} has a balance of {book}, but is owed {right} and the packs {world.account.packs}"
    failed = [(check.name, check.failures) for check in maintenance.check_books(now=world.until) if not check.ok]
    return f"verify finds {failed}" if failed else None


def lots() -> Lots:
    """(customer, plan, units) of each month that was granted any, in whatever parts it was granted."""
    months: Counter[tuple[str, str, str]] = Counter()
    for customer, key, units in database.read(LOTS, [prices.APP]):
        _, _, plan, start = key.split(":")[:4]
        months[customer, plan, start] += int(units)
    return sorted((customer, plan, units) for (customer, plan, _), units in months.items() if units)


def _stuck() -> str:
    states = [(state, error) for state, error in event_states(prices.APP) if state not in ("done", "ignored")]
    return f"not applied: {states[:3]}" if states else "all events were applied"
