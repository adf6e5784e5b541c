"""Month → year, year → month, or another plan with the billing day reset: a new period begins with a whole line.

plans.md: "A whole (not prorated) line, or a credit line, ends the coverage of the same item's earlier line for months
not begun, from its start: year → month on day 40 stops the year's months. A whole new line is netted with nothing."
"""

from __future__ import annotations

from tests.plans.stories import prices
from tests.plans.stories.account import Held
from tests.plans.stories.objects import Item, Line
from tests.plans.stories.steps.bills import paid_whole, require
from tests.plans.stories.steps.changes import NOT_WITH, mix, proration
from tests.plans.stories.world import DAY, NotNow, World


def restarts(world: World) -> None:
    """Month → year, year → month, or another plan with the billing day reset: a credit line and a whole line.

    "year → month on day 40 stops the year's months. A whole new line is netted with nothing."
    """
    require(world, without=(*NOT_WITH, "silent", "stub"))
    if len(world.sub.items) > 1 or world.sub.pause:
        raise NotNow("it has two plans, or is paused")
    world.wait()
    item, old = world.item, world.item.held
    require_distance(world, old)
    family = prices.FAMILIES[prices.family_of(old.plan)]
    interval, count = world.dice.choice([("month", 1), ("year", 1), ("month", 3), ("week", 1)])
    price = prices.price(world.dice.choice(family), interval, count)
    lines = [proration(world, item, old, -1)]
    world.say(f"begins again: {old.price.id} → {price.id}")
    start_over(world, Held(price, old.quantity), lines)


def require_distance(world: World, old: Held) -> None:
    """Question 6: not within the tolerance of what was granted."""
    n = -40
    while old.price.grant_start(world.sub.anchor, n + 1) <= world.now:
        n += 1
    begun = max(old.price.grant_start(world.sub.anchor, n), world.item.start)
    if world.now - begun < 1.5 * DAY:
        raise NotNow("question 6")


def start_over(world: World, held: Held, lines: list[Line]) -> None:
    """A new period from now on, with a whole line; sometimes it is declined."""
    world.traits -= {"trial", "extra"}
    now, old = world.now, world.item
    item = Item(old.id, held.price, held.quantity, now, held.price.period(now, 1))
    amount = held.price.amount * held.quantity
    lines = [*lines, world.line(item.id, held, now, item.end, amount, is_prorated=False)]
    is_declined = sum(line.amount for line in lines) > 0 and "free" not in world.traits and world.dice.random() < 0.2
    before = world.sub.latest_invoice
    invoice = world.invoice("subscription_update", lines, is_free="free" in world.traits)
    after, world.sub.latest_invoice = world.sub.latest_invoice, before
    status = "past_due" if is_declined and world.sub.collection != "send_invoice" else "active"
    world.update(items=[item], anchor=now, latest_invoice=after, status=status)
    world.open(invoice)
    if is_declined:
        world.tell(invoice, "payment_failed" if status == "past_due" else "finalized", status="open")
        world.traits.add("unpaid")
        world.say("its bill is not paid")
        return
    mix(world)
    world.account.stop(item.id, now)
    world.pay(invoice)
    paid_whole(world, invoice, item).is_mixed = len(lines) > 1
