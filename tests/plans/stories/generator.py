"""Invents stories: a beginning, some steps that apply to the state, an end.

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
    "by debit": (starts.by_debit, 5),
    "by sent invoice": (starts.by_sent_invoice, 2),
    "comped": (starts.comped, 1),
    "silently": (starts.silently, 3),
    "with two items": (starts.with_two_items, 2),
    "with stub": (starts.with_stub, 2),
    "on trial": (starts.on_trial, 6),
}
STEPS: dict[str, tuple[Action, int]] = {
    "renews": (periods.renews, 10),
    "renews late": (periods.renews_late, 3),
    "never renews": (periods.never_renews, 1),
    "upgrades": (changes.upgrades, 5),
    "downgrades": (changes.downgrades, 6),
    "flips": (changes.flips, 3),
    "seats": (changes.seats, 4),
    "adds item": (changes.adds_item, 4),
    "removes item": (changes.removes_item, 12),
    "restarts": (restarts.restarts, 3),
    "extends trial": (trials.extends_trial, 8),
    "converts": (trials.converts, 8),
    "has free days": (trials.has_free_days, 4),
    "lacks card": (trials.lacks_card, 6),
    "pays at last": (periods.pays_at_last, 4),
    "buys a pack": (terms.buys_a_pack, 1),
    "pauses": (periods.pauses, 2),
    "resumes": (periods.resumes, 8),
    "moves": (customers.moves, 3),
    "is refunded": (returns.is_refunded, 4),
    "ends and is refunded": (returns.ends_and_is_refunded, 8),
    "is credited": (returns.is_credited, 2),
    "is disputed": (returns.is_disputed, 2),
    "plan changes units": (terms.plan_changes_units, 3),
    "plan leaves": (terms.plan_leaves, 1),
    "cancels now": (ends.cancels_now, 1),
    "cancels at period end": (ends.cancels_at_period_end, 1),
}
ACTIONS = {name: action for name, (action, _) in [*STARTS.items(), *STEPS.items()]}
MOST_STEPS = 9
TRIES = 8


@dataclass(frozen=True)
class Step:
    """One step, by its name; its details are drawn from the seed."""

    name: str
    seed: int


Story = tuple[Step, ...]


def invent(seed: int) -> Story:
    """A story that is always the same for the same seed. A step that does not apply gives way to another one."""
    dice = random.Random(seed)
    count = dice.choice([0, 1, 1, 2, 2, 3, 4, 5, 7, MOST_STEPS])
    story = [Step(_draw(dice, STARTS), dice.randrange(10**9))]
    world = _take(World(random.Random(0)), story[0])
    for _ in range(count):
        for _ in range(TRIES):
            step = Step(_draw(dice, STEPS), dice.randrange(10**9))
            after = _take(world, step)
            if after is not world:
                world = after
                story.append(step)
                break
    return tuple(story)


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
