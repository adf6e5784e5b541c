"""In which order, when and how often the events of a story arrive."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.plans.stories import writers
from tests.plans.stories.world import World

Arrival = tuple[datetime, dict[str, Any]]
FEW = 4
# Guesses wait for an hour.
CALM = timedelta(hours=2)


def arrivals(world: World, shape: str, dice: random.Random, count: int) -> Iterator[list[Arrival]]:
    """So many ways to deliver the events; every permutation if there are few events."""
    events = [made for told in world.told if (made := writers.event(told, shape))]
    if world.traits & {"brief", "known by ambiguous"}:
        # What expired meanwhile depends on when it was granted; for the other see question 15 in account.py.
        for _ in range(count):
            yield _in_time(events, dice, [0, 0, 30, 900])
        return
    if len(events) <= FEW and count >= math.factorial(len(events)):
        for order in itertools.permutations(events):
            yield _at_the_end(world, list(order), dice)
        count = 2
    ways = [_at_the_end, _late, _late, _prompt]
    first = dice.randrange(len(ways))
    for number in range(first, first + count):
        yield ways[number % len(ways)](world, dice.sample(events, len(events)), dice)


def _at_the_end(world: World, events: list[dict[str, Any]], dice: random.Random) -> list[Arrival]:
    """All of them long after, each twice."""
    assert world.until
    at = world.until - CALM
    twice = list(events)
    for event in events:
        twice.insert(dice.randint(0, len(twice)), _again(event, dice))
    return [(at, event) for event in twice]


def _prompt(world: World, events: list[dict[str, Any]], dice: random.Random) -> list[Arrival]:
    return _in_time(events, dice, [0, 0, 1, 20, 900])


def _in_time(events: list[dict[str, Any]], dice: random.Random, delays: list[int]) -> list[Arrival]:
    found = [(_created(event) + timedelta(seconds=dice.choice(delays)), event) for event in events]
    found += [(at + timedelta(seconds=dice.choice(delays)), _again(event, dice)) for at, event in found]
    return sorted(found, key=lambda arrival: arrival[0])


def _late(world: World, events: list[dict[str, Any]], dice: random.Random) -> list[Arrival]:
    """Each of them some time after it was created, twice."""
    assert world.until
    latest = world.until - CALM
    found = []
    for event in [*events, *(_again(event, dice) for event in events)]:
        room = max(0, int((latest - _created(event)).total_seconds()))
        delay = dice.choice([0, 1, 90 * 60, 5 * 3600, 3 * 86400, dice.randint(0, room)])
        found.append((_created(event) + timedelta(seconds=min(delay, room)), event))
    dice.shuffle(found)
    return sorted(found, key=lambda arrival: arrival[0])


def _again(event: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same event, now and then under another id."""
    return event if dice.random() < 0.7 else {**event, "id": f"{event['id']}_again"}


def _created(event: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(event["created"], writers.UTC)
