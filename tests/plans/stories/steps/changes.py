"""Changes of a running subscription: another plan, more or fewer seats, a second plan, another interval.

plans.md: "Units follow the money and the time. A change owes nothing before a paid bill carries its lines."
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tests.plans.stories import prices
from tests.plans.stories.account import Bill, Due, Held
from tests.plans.stories.objects import Invoice, Item, Line
from tests.plans.stories.steps.bills import require
from tests.plans.stories.world import NotNow, World

NOT_WITH = ("unpaid", "unbilled", "trial", "credited")


@dataclass
class Change:
    """A change whose bill is not paid yet."""

    at: datetime
    item: Item
    old: Held | None
    dues: list[Due]

    def is_paid(self, world: World, bill: Bill) -> None:
        """The bill that carries its lines is paid."""
        bill.dues = self.dues
        world.account.bills.append(bill)
        anchor, end = world.sub.anchor, self.item.end
        world.account.covered(self.item.id, self.item.held, anchor, self.at, end)


def upgrades(world: World) -> None:
    """To a larger plan of the family."""
    _change(world, _other(world, is_larger=True), _how(world))


def downgrades(world: World) -> None:
    """ "A downgrade takes nothing from the running month." """
    _change(world, _other(world, is_larger=False), _how(world, can_fail=False))


def flips(world: World) -> None:
    """ "lite → max → lite → max on one day is one upgrade" """
    larger, before = _other(world, is_larger=True), world.item.held
    if "silent" in world.traits:
        raise NotNow("no invoice is reported")
    for held in [larger, before] * world.dice.randint(1, 2) + [larger]:
        _change(world, held, "paid", is_soon=True)


def seats(world: World) -> None:
    """ "More seats are an upgrade." """
    held = world.item.held
    quantity = world.dice.choice([each for each in (1, 2, 3, 4) if each != held.quantity])
    _change(world, Held(held.price, quantity), _how(world, can_fail=quantity > held.quantity))


def _other(world: World, *, is_larger: bool) -> Held:
    held = world.item.held
    family = prices.FAMILIES[prices.family_of(held.plan)]
    place = family.index(held.plan)
    plans = family[place + 1 :] if is_larger else family[:place]
    if not plans:
        raise NotNow("there is no such plan")
    plan = world.dice.choice(plans)
    return Held(prices.price(plan, held.price.interval, held.price.count), held.quantity)


def _how(world: World, *, can_fail: bool = True) -> str:
    """How the change is billed."""
    if "silent" in world.traits:
        return "unbilled"
    hows = ["paid", "paid", "paid", "unbilled"]
    if "trust" not in world.traits:
        hows += ["next invoice", "paid later", "voided"] if can_fail else ["next invoice"]
    return str(world.dice.choice(hows))


def _change(world: World, new: Held, how: str, *, is_soon: bool = False) -> None:
    """The first item becomes `new`, billed as `how` says."""
    require(world, without=NOT_WITH)
    item, old = world.item, world.item.held
    is_long = item.price.grants > 1
    if world.sub.pause or (is_long and (how == "next invoice" or _has_returns(world))):
        raise NotNow("questions 3 and 7")
    if is_long and how == "unbilled" and world.traits & {"silent", "trust"}:
        raise NotNow("question 16")
    if is_soon:
        world.now += timedelta(minutes=world.dice.randint(5, 200))
        if world.now > item.end - (item.end - item.start) / 20:
            raise NotNow("the period is nearly over")
    else:
        world.wait()
    anchor = world.sub.anchor
    is_full = "full" in world.traits
    dues = world.account.change(item.id, old, new, anchor, world.now, item.end, is_full=is_full)
    changed = replace(item, price=new.price, quantity=new.quantity)
    change = Change(world.now, changed, old, dues)
    lines = [proration(world, item, old, -1), proration(world, item, new, 1)]
    world.say(f"{old.quantity} × {old.price.id} → {new.quantity} × {new.price.id}, {how}")
    _bill(world, change, [changed, *world.sub.items[1:]], lines, how)
    if is_long and how != "unbilled":
        mix(world)


def _bill(world: World, change: Change, items: list[Item], lines: list[Line], how: str) -> None:
    """The change and its bill: `how` is paid, paid later, voided, next invoice or unbilled."""
    if how == "unbilled":
        world.update(items=items)
        world.traits.add("unbilled")
        if "trust" in world.traits:
            # "`on_upgrade_unbilled = "trust"`: at the change, before any bill."
            change.is_paid(world, Bill("trusted", 0, change.at, change.item.end))
        return
    if how == "next invoice":
        world.update(items=items)
        world.pending += lines
        world.waiting.append(change)
        world.traits.add("unbilled")
        return
    invoice = _invoice_of_change(world, items, lines, is_open=how != "paid")
    if how == "voided":
        world.wait()
        world.tell(invoice, "voided", status="void")
        world.update(status="active")
        # Question 8: no other change in the period.
        world.traits.add("unbilled")
        return
    if how == "paid later":
        world.wait()
    world.pay(invoice)
    world.update(status="active")
    change.is_paid(world, Bill(invoice.id, invoice.due, change.at, change.item.end))


def _invoice_of_change(world: World, items: list[Item], lines: list[Line], *, is_open: bool) -> Invoice:
    """The subscription as changed, and the invoice of the change, which stays open at first or not."""
    before = world.sub.latest_invoice
    invoice = world.invoice("subscription_update", lines, is_free="free" in world.traits)
    after, world.sub.latest_invoice = world.sub.latest_invoice, before
    is_sent = world.sub.collection == "send_invoice"
    is_declined = is_open and not is_sent and invoice.due > 0
    world.update(items=items, latest_invoice=after, status="past_due" if is_declined else "active")
    world.open(invoice)
    if is_open:
        world.tell(invoice, "payment_failed" if is_declined else "finalized", status="open")
    return invoice


def proration(world: World, item: Item, held: Held, sign: int) -> Line:
    """The line of the rest of the period: a credit (sign −1) or a charge."""
    amount = held.price.amount * held.quantity
    left, period = (int(span.total_seconds()) for span in (item.end - world.now, item.end - item.start))
    return world.line(item.id, held, world.now, item.end, sign * (amount * left // period), is_prorated=True)


def _has_returns(world: World) -> bool:
    return any(bill.returned_minor for bill in world.account.bills if bill.end > world.now)


def mix(world: World) -> None:
    """Question 3: bills of several months that were changed are not refunded."""
    for bill in world.account.bills:
        bill.is_mixed = bill.is_mixed or bill.end > world.now


# --- a second plan


def adds_item(world: World) -> None:
    """ "Units: plan's units × quantity, per item of a plan." """
    require(world, without=(*NOT_WITH, "extra", "silent"))
    if len(world.sub.items) > 1 or "plain" not in world.traits or world.sub.pause:
        raise NotNow("it has two plans, or is paused")
    world.wait()
    first = world.item
    held = Held(prices.price("extra", first.price.interval, first.price.count), world.dice.choice([1, 2]))
    item = Item(f"si_{world.number('si') + 1}", held.price, held.quantity, world.now, first.end)
    item.start = first.start
    how = world.dice.choice(["paid", "paid", "voided", "unbilled"])
    dues = [] if how != "paid" else world.account.whole(item.id, held, world.sub.anchor, world.now, item.end)
    world.say(f"adds {held.quantity} × {held.price.id}, {how}")
    line = proration(world, item, held, 1)
    _bill(world, Change(world.now, item, None, dues), [*world.sub.items, item], [line], how)
    world.traits.add("extra")
    if first.price.grants > 1:
        mix(world)


def removes_item(world: World) -> None:
    """ "A credit line ends the coverage of the same item's earlier line for months not begun, from its start." """
    require(world, without=(*NOT_WITH, "extra"))
    if len(world.sub.items) < 2 or world.sub.pause or _has_returns(world) or world.item.end != world.sub.items[1].end:
        raise NotNow("it has one plan")
    world.wait()
    first, item = world.sub.items
    how = world.dice.choice(["paid", "unbilled"])
    world.say(f"removes {item.quantity} × {item.price.id}, {how}")
    line = proration(world, item, item.held, -1)
    if how == "paid":
        world.account.stop(item.id, world.now)
        mix(world)
    _bill(world, Change(world.now, first, None, []), [first], [line], how)
