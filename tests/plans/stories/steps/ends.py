"""How a subscription ends, and a story."""

from __future__ import annotations

from tests.plans.stories.steps.bills import require
from tests.plans.stories.world import HOUR, NotNow, World


def cancels_now(world: World) -> None:
    """ "After `ended_at` nothing new is owed but what a standing paid bill covers." """
    require(world)
    if {"trial", "tasty"} <= world.traits:
        raise NotNow("question 14")
    world.wait(HOUR * 3)
    ends(world)
    world.say("is cancelled at once")


def cancels_at_period_end(world: World) -> None:
    """Cancelled at the period's end, after a change of mind or not."""
    require(world)
    world.wait()
    sub = world.sub
    world.update(cancel_at=world.item.end, canceled_at=world.now)
    world.say("is to end with the period")
    if world.dice.random() < 0.3:
        world.wait()
        world.update(cancel_at=None, canceled_at=None)
        world.say("is to go on after all")
        return
    world.now = sub.items[0].end
    world.pending.clear()
    world.waiting.clear()
    ends(world)
    world.say("ends with the period")


def ends(world: World) -> None:
    """The subscription ends now."""
    sub = world.sub
    sub.status, sub.ended_at = "canceled", world.now
    sub.canceled_at = sub.canceled_at or world.now
    sub.pause = None
    world.account.ended_at = world.now
    world.report("customer.subscription.deleted", sub)


def rests(world: World) -> None:
    """Nothing more happens until the end of the story."""
    if world.sub.ended_at:
        world.now += world.dice.randint(3, 24 * 70) * HOUR
    else:
        left = (world.item.end - world.now) * 0.9
        least = min(HOUR * 3, left)
        world.now += least + (left - least) * world.dice.random()
    world.now = world.now.replace(microsecond=0)
    world.until = world.now
    world.say("the story ends")
    if world.until < world.told[-1].at + 2 * HOUR:
        raise NotNow("guesses wait for an hour")
