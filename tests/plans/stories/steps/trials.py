"""What happens to a trial: its end moves, it is converted. And free days given to a subscription that is paid."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tests.plans.stories.steps.bills import require, trial_invoice
from tests.plans.stories.steps.restarts import require_distance, start_over
from tests.plans.stories.world import DAY, HOUR, NotNow, World


def extends_trial(world: World) -> None:
    """ "A trial grants once, however often its end moves and whatever bills of nothing report it." """
    require(world)
    if "trial" not in world.traits or "tasty" in world.traits:
        raise NotNow("question 11, or it is not in trial")
    world.wait()
    _is_free_until(world, world.item.end + world.dice.randint(1, 20) * DAY)
    world.say(f"the trial is extended to {world.sub.trial_end:%d %b}")


def converts(world: World) -> None:
    """The trial ends now: a whole line from now on."""
    require(world)
    if "trial" not in world.traits:
        raise NotNow("it is not in trial")
    world.wait()
    held = world.item.held
    require_distance(world, held)
    world.say("the trial is converted")
    world.sub.trial_end = world.now
    start_over(world, held, [])


def lacks_card(world: World) -> None:
    """A trial that ends without a card pauses the subscription: "Periods that begin in a pause (… or status)"."""
    require(world)
    if "trial" not in world.traits or "tasty" in world.traits:
        raise NotNow("it is not in trial")
    world.now = world.item.end
    item, sub = world.item, world.sub
    world.traits.discard("trial")
    before = replace(sub)
    sub.status = "paused"
    sub.items = [replace(item, start=world.now, end=item.price.next_period(sub.anchor, world.now))]
    world.report("customer.subscription.updated", sub, before=before)
    world.report("customer.subscription.paused", sub)
    world.say("the trial ends without a card: paused")
    world.wait(2 * DAY)
    if world.dice.random() < 0.5:
        start_over(world, item.held, [])
        world.report("customer.subscription.resumed", sub)
        world.say("it is resumed")
    else:
        world.traits.add("unpaid")


def has_free_days(world: World) -> None:
    """ "Free days given to a running subscription grant nothing." """
    require(world, without=("unpaid", "unbilled", "trial", "silent", "credited"))
    item = world.item
    if item.price.grants > 1 or item.price.is_short or len(world.sub.items) > 1 or world.sub.pause:
        raise NotNow("it is not a plan by the month")
    world.wait()
    if world.now - item.start < 2 * DAY:
        raise NotNow("question 6")
    end = item.end + world.dice.randint(2, 12) * DAY + world.dice.randint(0, 20) * HOUR
    world.sub.trial_start = world.now
    for bill in world.account.bills:
        bill.is_mixed = bill.is_mixed or bill.end > world.now
    _is_free_until(world, end)
    world.traits.add("unbilled")
    world.say(f"has free days until {end:%d %b}")


def _is_free_until(world: World, end: datetime) -> None:
    sub = world.sub
    item = replace(world.item, start=world.now, end=end)
    before = (sub.items, sub.latest_invoice)
    sub.items = [item]
    invoice = trial_invoice(world, "subscription_update")
    after = sub.latest_invoice
    sub.items, sub.latest_invoice = before
    world.update(
        items=[item], status="trialing", anchor=end, trial_end=end, latest_invoice=after, trial_start=sub.trial_start
    )
    world.pay(invoice)
