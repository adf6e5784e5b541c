"""Changes of the catalog in between: what a plan grants, and plans that are no longer sold."""

from __future__ import annotations

from tests.plans.stories import prices
from tests.plans.stories.steps.bills import buys_pack, require
from tests.plans.stories.world import NotNow, World


def plan_changes_units(world: World) -> None:
    """ "A period uses the terms in force at its start." """
    require(world)
    world.wait()
    plan = world.dice.choice(prices.FAMILIES[prices.family_of(world.item.price.plan)])
    if world.catalogs and plan not in world.catalogs[-1][1]:
        raise NotNow("the plan has left the catalog")
    before = world.account.catalogs[-1][1]
    units = {**before, plan: before[plan] * world.dice.choice([2, 3]) // world.dice.choice([1, 2])}
    world.account.use_terms(world.now, units, [due for change in world.waiting for due in change.dues])
    _use(world, units)
    world.say(f"the catalog changes: {plan} has {units[plan]} units instead of {before[plan]}")


def plan_leaves(world: World) -> None:
    """ "A price once known stays known; a plan or price that leaves the catalog never takes a unit." """
    require(world)
    if "leaver" in world.traits:
        raise NotNow("a plan has left already")
    world.wait()
    world.traits.add("leaver")
    plan = world.item.price.plan
    _use(world, world.account.catalogs[-1][1], without=plan)
    world.say(f"the plan {plan} leaves the catalog")


def _use(world: World, units: dict[str, int], without: str | None = None) -> None:
    left = {plan for _, plans in world.catalogs[-1:] for plan in prices.UNITS if plan not in plans}
    gone = left | ({without} if without else set())
    world.catalogs.append((world.now, {plan: count for plan, count in units.items() if plan not in gone}))


def buys_a_pack(world: World) -> None:
    """A pack whose line the next invoice carries."""
    require(world, without=("unpaid",))
    if world.waiting or world.sub.pause:
        raise NotNow("question 7")
    world.wait()
    buys_pack(world)
    if not world.waiting:
        raise NotNow("not for this customer")
    world.traits.add("unbilled")
