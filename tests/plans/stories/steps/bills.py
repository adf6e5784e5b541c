"""What the steps share: bills as Stripe writes them, and as the account counts them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.plans.stories import prices
from tests.plans.stories.account import Bill, Due, Held
from tests.plans.stories.objects import Invoice, Item, Line
from tests.plans.stories.world import NotNow, World


def first_invoice(world: World, *, is_prorated: bool = False) -> Invoice:
    lines = carry_pending(world)
    for item in world.sub.items:
        amount = item.price.amount * item.quantity
        if is_prorated:
            full = item.price.period(world.sub.anchor, 0) - item.price.period(world.sub.anchor, -1)
            amount = amount * int((item.end - item.start).total_seconds()) // int(full.total_seconds())
        lines.append(world.line(item.id, item.held, item.start, item.end, amount, is_prorated=is_prorated))
    return world.invoice("subscription_create", lines, is_free="free" in world.traits)


def trial_invoice(world: World, reason: str) -> Invoice:
    """ "A line of amount 0 for a plan that is not free, whose period ends at the anchor, is a trial line." """
    item = world.item
    return world.invoice(reason, [world.line(item.id, item.held, world.now, item.end, 0, is_prorated=False)])


def first_paid(world: World, invoice: Invoice) -> Bill:
    return paid_whole(world, invoice, world.item)


def paid_whole(world: World, invoice: Invoice, *items: Item) -> Bill:
    """The invoice's whole lines are paid."""
    bill = Bill(invoice.id, invoice.due, items[0].start, items[0].end)
    for item in items:
        bill.dues += world.account.whole(item.id, item.held, world.sub.anchor, item.start, item.end)
    world.account.bills.append(bill)
    return bill


def owes(world: World, invoice: Invoice, *items: Item, is_payable: bool = True) -> None:
    """The running period is not paid; it may be paid at last."""
    world.traits.add("unpaid")
    world.owing = (invoice, list(items or world.sub.items)) if is_payable else None


def buys_pack(world: World, chance: float = 1) -> None:
    """ "A paid line whose price is a pack's is a purchase of that pack, on a subscription's invoice too." """
    if world.dice.random() > chance or world.traits & {"silent", "free"} or "known by metadata" not in world.traits:
        return
    held = Held(prices.PACK, 1)
    world.pending.append(world.line("", held, world.now, world.now, prices.PACK.amount, is_prorated=False))
    world.waiting.append(Pack(world.sub.metadata["customer"]))
    world.say("a pack is billed with the next invoice")


@dataclass
class Pack:
    """A pack on an invoice that is not paid yet."""

    customer: str
    dues: tuple[Due, ...] = ()

    def is_paid(self, world: World, bill: Bill) -> None:
        """The customer has it."""
        packs = world.account.packs
        packs[self.customer] = packs.get(self.customer, 0) + prices.PACK_UNITS


def carry_pending(world: World) -> list[Line]:
    """The lines that the next invoice carries."""
    lines, world.pending = world.pending, []
    return lines


def pay_waiting(world: World, invoice: Invoice) -> None:
    """ "A change owes nothing before a paid bill carries its lines (…, or the next invoice)." """
    for change in world.waiting:
        change.is_paid(world, Bill(f"{invoice.id} (carried)", 0, world.now, invoice.created))
    world.waiting.clear()


def by_status(world: World, *items: Item) -> None:
    """The status alone covers the running period."""
    bill = Bill("status", 0, world.item.start, world.item.end)
    for item in items or world.sub.items:
        bill.dues += world.account.whole(item.id, item.held, world.sub.anchor, item.start, item.end)
    world.account.by_status.append(bill)


def what(world: World) -> str:
    """The items in words."""
    how = [trait for trait in world.traits if trait.startswith("known by") and "metadata" not in trait]
    held = " and ".join(f"{item.quantity} × {item.price.id}" for item in world.sub.items)
    return f"{held} ({', '.join(how)})" if how else held


def require(world: World, *, without: tuple[str, ...] = (), running: bool = True) -> None:
    """The step applies only to a running subscription without these traits."""
    if running and world.sub.ended_at:
        raise NotNow("it has ended")
    if world.traits & set(without):
        raise NotNow("the state does not allow it")
