"""Invents stories: a beginning, some steps, an end. A step that does not apply to the state is left out.

A story is a list of steps, each with a seed of its own, so that it can be shortened without changing the others.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.plans.stories.account import NotDecided
from tests.plans.stories.steps import changes, customers, ends, periods, restarts, returns, starts, terms, trials
from tests.plans.stories.world import NotNow, World

Action = Callable[[World], None]
STARTS: dict[str, tuple[Action, int]] = {
    "by card": (starts.by_card, 10),
    "by debit": (starts.by_debit, 2),
    "by sent invoice": (starts.by_sent_invoice, 2),
    "comped": (starts.comped, 1),
    "silently": (starts.silently, 3),
    "with two items": (starts.with_two_items, 2),
    "with stub": (starts.with_stub, 2),
    "on trial": (starts.on_trial, 4),
}
STEPS: dict[str, tuple[Action, int]] = {
    "renews": (periods.renews, 10),
    "renews late": (periods.renews_late, 3),
    "never renews": (periods.never_renews, 1),
    "upgrades": (changes.upgrades, 5),
    "downgrades": (changes.downgrades, 3),
    "flips": (changes.flips, 2),
    "seats": (changes.seats, 4),
    "adds item": (changes.adds_item, 2),
    "removes item": (changes.removes_item, 2),
    "restarts": (restarts.restarts, 3),
    "extends trial": (trials.extends_trial, 3),
    "converts": (trials.converts, 3),
    "has free days": (trials.has_free_days, 1),
    "lacks card": (trials.lacks_card, 1),
    "pays at last": (periods.pays_at_last, 4),
    "buys a pack": (terms.buys_a_pack, 1),
    "pauses": (periods.pauses, 2),
    "resumes": (periods.resumes, 3),
    "moves": (customers.moves, 2),
    "is refunded": (returns.is_refunded, 4),
    "is credited": (returns.is_credited, 2),
    "is disputed": (returns.is_disputed, 2),
    "plan changes units": (terms.plan_changes_units, 1),
    "plan leaves": (terms.plan_leaves, 1),
    "cancels now": (ends.cancels_now, 2),
    "cancels at period end": (ends.cancels_at_period_end, 2),
}
ACTIONS = {name: action for name, (action, _) in [*STARTS.items(), *STEPS.items()]}
MOST_STEPS = 9


@dataclass(frozen=True)
class Step:
    """One step, by its name; its details are drawn from the seed."""

    name: str
    seed: int


Story = tuple[Step, ...]


def invent(seed: int) -> Story:
    """A story that is always the same for the same seed."""
    dice = random.Random(seed)
    count = dice.choice([0, 1, 1, 2, 2, 3, 4, 5, 7, MOST_STEPS])
    names = [_draw(dice, STARTS), *(_draw(dice, STEPS) for _ in range(count))]
    return tuple(Step(name, dice.randrange(10**9)) for name in names)


def _draw(dice: random.Random, table: dict[str, tuple[Action, int]]) -> str:
    return dice.choices(list(table), [weight for _, weight in table.values()])[0]


def live(story: Story) -> World:
    """The world at the end of the story."""
    world = World(random.Random(0))
    for step in story:
        world = _take(world, step)
    world.dice = random.Random(story[-1].seed + 1)
    try:
        ends.rests(world)
    except NotNow:
        return live(story[:-1])
    return world


def _take(world: World, step: Step) -> World:
    after = copy.deepcopy(world)
    after.dice = random.Random(step.seed)
    try:
        ACTIONS[step.name](after)
    except (NotNow, NotDecided):
        return world
    after.taken.append(step.name)
    return after


def shorter(story: Story) -> Iterator[Story]:
    """The story without one of its steps, or without several at the end."""
    for length in (1, 2, 4):
        if len(story) > length:
            yield story[:length]
    for place in range(len(story) - 1, 0, -1):
        yield (*story[:place], *story[place + 1 :])
