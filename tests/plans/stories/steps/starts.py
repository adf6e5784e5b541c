"""How a subscription begins: paid by card, by bank debit, by an invoice that is sent; free; with a trial or a stub."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.plans.stories import prices
from tests.plans.stories.account import Bill, Due, Held
from tests.plans.stories.months import touched
from tests.plans.stories.objects import Item, Subscription
from tests.plans.stories.steps.bills import (
    buys_pack,
    by_status,
    first_invoice,
    first_paid,
    owes,
    paid_whole,
    pay_waiting,
    trial_invoice,
    what,
)
from tests.plans.stories.steps.customers import IDENTITIES, WITH_SESSION, identify, session
from tests.plans.stories.world import DAY, HOUR, World

INTERVALS = (("month", 1),) * 5 + (("year", 1),) * 2 + (("month", 3), ("week", 1), ("week", 2), ("day", 1))


def by_card(world: World) -> None:
    """The card is charged at once."""
    _begin(world, _choose(world))
    buys_pack(world, 0.1)
    _starts_paid(world)


def with_two_items(world: World) -> None:
    """ "Each item has its own period (mixed intervals)." "An unknown price …: the event is `done` with a note." """
    held = _choose(world, family="plain")
    _begin(world, held)
    interval = world.dice.choice([(held.price.interval, held.price.count), ("year", 1)])
    beside = prices.price(world.dice.choice(prices.BESIDE), *interval)
    start = world.item.start
    item = Item("si_0", beside, world.dice.choice([1, 2]), start, beside.period(world.sub.anchor, 1))
    world.sub.items.append(item)
    world.traits.add("extra")
    _starts_paid(world).is_mixed = True


def _starts_paid(world: World) -> Bill:
    invoice = first_invoice(world)
    if world.dice.random() < 0.4:
        world.report("customer.subscription.created", replace(world.sub, status="incomplete"))
        world.report("customer.subscription.updated", world.sub, before=replace(world.sub, status="incomplete"))
    else:
        world.report("customer.subscription.created", world.sub)
    session(world, "paid")
    world.open(invoice)
    world.pay(invoice)
    world.say(f"subscribes to {what(world)}, paid by card")
    bill = paid_whole(world, invoice, *world.sub.items)
    bill.is_mixed = bool(world.waiting)
    pay_waiting(world, invoice)
    return bill


def by_debit(world: World) -> None:
    """The bank debit is pending for days: "A checkout session that says `unpaid` is an open bill"."""
    _begin(world, _choose(world, least=7))
    if world.dice.random() < 0.6 and world.traits & {"named by session", "known by metadata"}:
        world.traits.add("silent")  # only the session says that nothing was paid
    is_silent = "silent" in world.traits
    invoice = first_invoice(world)
    world.report("customer.subscription.created", world.sub)
    session(world, "unpaid")
    world.open(invoice)
    world.say(f"subscribes to {what(world)} by bank debit" + ("; no invoice is ever reported" if is_silent else ""))
    world.now += world.dice.randint(1, 3) * DAY
    if world.dice.random() < 0.5:
        session(world, "paid", "async_payment_succeeded")
        world.pay(invoice)
        if is_silent:
            by_status(world)
        else:
            first_paid(world, invoice)
        world.say("the bank pays")
    else:
        session(world, "unpaid", "async_payment_failed")
        world.tell(invoice, "payment_failed")
        world.update(status="past_due")
        owes(world, invoice, is_payable=not is_silent)
        world.say("the bank refuses")


def by_sent_invoice(world: World) -> None:
    """ "Open, draft, sent, failed, void, uncollectible bills cover nothing, whatever the status says." """
    _begin(world, _choose(world, least=7), collection="send_invoice")
    invoice = first_invoice(world)
    world.report("customer.subscription.created", world.sub)
    world.open(invoice)
    world.tell(invoice, "finalized", status="open")
    world.say(f"subscribes to {what(world)}, the invoice is sent")
    world.wait(HOUR)
    end = world.dice.choice(["paid", "paid", "open", "voided", "marked_uncollectible"])
    if end == "paid":
        world.pay(invoice)
        first_paid(world, invoice)
    elif end != "open":
        world.tell(invoice, end, status="void" if end == "voided" else "uncollectible")
    if end != "paid":
        owes(world, invoice, is_payable=end != "voided")
    world.say(f"the invoice is {end}")


def comped(world: World) -> None:
    """ "A bill whose own total is 0 (coupon, credit balance) covers whole." """
    world.traits.add("free")
    _begin(world, _choose(world))
    invoice = first_invoice(world)
    world.report("customer.subscription.created", world.sub)
    session(world, "no_payment_required")
    world.pay(invoice)
    first_paid(world, invoice)
    world.say(f"subscribes to {what(world)} with a coupon of 100 %")


def silently(world: World) -> None:
    """ "Status alone (`active`) covers a period if no bill of it or of an earlier period was ever reported." """
    world.traits.add("silent")
    _begin(world, _choose(world))
    if world.dice.random() < 0.5:
        world.sub.latest_invoice = "in_unreported"
    world.report("customer.subscription.created", world.sub)
    session(world, "paid")
    by_status(world)
    world.say(f"subscribes to {what(world)}; no invoice is ever reported")


def with_stub(world: World) -> None:
    """The billing day is fixed: the days before it are a prorated line. "A stub of 15 of 30 days of pro is 500." """
    _begin(world, _choose(world, intervals=(("month", 1), ("month", 1), ("year", 1))), is_stub=True)
    invoice = first_invoice(world, is_prorated=True)
    world.report("customer.subscription.created", world.sub)
    session(world, "paid")
    world.open(invoice)
    world.pay(invoice)
    first_paid(world, invoice).is_mixed = True
    world.traits.add("stub")
    world.say(f"subscribes to {what(world)}, paid until the billing day {world.sub.anchor:%d %b %H:%M}")


def on_trial(world: World) -> None:
    """ "A trial grants `trial_units` (default: the plan's units) once per subscription, and only before its first paid
    period." "`trial_grants = "monthly"` grants each month of it."
    """
    family = world.dice.choice(["plain", "taste", "taste", "tasty"])
    held = _choose(world, family=family, intervals=(("month", 1), ("month", 1), ("year", 1)))
    days = None if family == "tasty" else world.dice.choice([5, 14, 31, 45])
    _begin(world, held, trial_days=days)
    invoice = trial_invoice(world, "subscription_create")
    world.report("customer.subscription.created", world.sub)
    session(world, "no_payment_required")
    world.pay(invoice)
    units = prices.TRIAL_UNITS.get(held.plan, prices.UNITS[held.plan]) * held.quantity
    starts, of = [world.now], ((held.plan, held.quantity),)
    if family == "tasty":
        starts = [month.start for month in touched(held.price, world.sub.anchor, world.now, world.sub.anchor)]
    dues = [Due(world.item.id, start, units, of if start > world.now else ()) for start in starts]
    world.account.by_status.append(Bill("trial", 0, world.now, world.sub.anchor, dues))
    world.traits.add("trial")
    world.say(f"tries {what(world)} until {world.sub.anchor:%d %b}")


# --- what all of them share


def _choose(world: World, *, family: str | None = None, least: int = 1, intervals: Any = INTERVALS) -> Held:
    """A price whose interval has at least so many days, and a quantity."""
    dice = world.dice
    family = family or dice.choice(["plain"] * 6 + ["full", "trust", "gift"])
    plan = prices.FAMILIES[family][0] if dice.random() < 0.6 else dice.choice(prices.FAMILIES[family])
    lengths = {"day": 1, "week": 7, "month": 28, "year": 365}
    interval, count = dice.choice([each for each in intervals if lengths[each[0]] * each[1] >= least])
    return Held(prices.price(plan, interval, count), dice.choice([1, 1, 1, 2, 3]))


def _begin(world: World, held: Held, *, collection: str = "", is_stub: bool = False, trial_days: Any = 0) -> None:
    dice = world.dice
    world.traits |= {trait for trait in ("wordy", "flexible") if dice.random() < 0.4}
    world.now += dice.randint(0, 45) * DAY + dice.randint(0, 86399) * timedelta(seconds=1)
    anchor = world.now
    if is_stub:
        anchor += dice.randint(2, 27) * DAY + dice.randint(0, 20) * HOUR
    elif trial_days is None:
        anchor = held.price.grant_start(world.now, 2)
        world.now = held.price.grant_start(anchor, -2)
    elif trial_days:
        anchor += trial_days * DAY
    end = anchor if anchor > world.now else held.price.period(anchor, 1)
    sub = Subscription("sub_1", "cus_1", world.now, anchor, {})
    sub.collection = collection or sub.collection
    if trial_days != 0:
        sub.status, sub.trial_start, sub.trial_end = "trialing", world.now, anchor
    world.traits.add(prices.family_of(held.plan))
    sub.items = [Item("si_1", held.price, held.quantity, world.now, end)]
    identify(world, sub, dice.choice([each for each in IDENTITIES if not collection or each not in WITH_SESSION]))
    world.account.gives_pauses = held.plan == "gift"
