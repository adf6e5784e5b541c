"""How a period ends and the next one begins: renewals paid at once, late, credited in part, or never; pauses."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from tests.plans.stories.objects import Invoice, Item
from tests.plans.stories.steps.bills import by_status, carry_pending, owes, paid_whole, pay_waiting, require, what
from tests.plans.stories.steps.ends import ends
from tests.plans.stories.world import HOUR, NotNow, World


def renews(world: World) -> None:
    """The next period, paid at once (within the hour in which Stripe keeps the invoice a draft)."""
    invoice = _turn(world)
    if "silent" in world.traits:
        by_status(world, *world.renewed)
    elif world.sub.pause:
        _bill_in_pause(world, invoice)
    else:
        _pay(world, invoice)
    world.say(f"renews {what(world)}" + (" in the pause" if world.sub.pause else ""))


def renews_late(world: World) -> None:
    """The card is declined, and pays some days later."""
    require(world, without=("free",))
    _require_no_pause(world)
    if "silent" in world.traits and world.item.price.grants > 1:
        raise NotNow("question 16")
    invoice = _turn(world, status="past_due")
    world.tell(invoice, "payment_failed", status="open")
    world.say("the renewal is declined")
    world.wait(HOUR)
    if "silent" in world.traits:
        by_status(world, *world.renewed)
    else:
        _credit_half(world, invoice)
        _pay(world, invoice)
    world.update(status="active")
    world.say(f"pays late for {what(world)}")


def never_renews(world: World) -> None:
    """ "`unpaid`, `incomplete`, `incomplete_expired`, `past_due` cover nothing by themselves." """
    require(world, without=("free",))
    _require_no_pause(world)
    invoice = _turn(world, status="past_due")
    is_plain = not world.waiting
    world.waiting.clear()
    world.tell(invoice, "payment_failed", status="open")
    world.wait()
    end = world.dice.choice(["canceled", "unpaid", "voided", "marked_uncollectible"])
    if end == "canceled":
        ends(world)
    elif end == "unpaid":
        world.update(status="unpaid")
    else:
        world.tell(invoice, end, status="void" if end == "voided" else "uncollectible")
    owes(world, invoice, *world.renewed, is_payable=is_plain and end != "voided" and "silent" not in world.traits)
    world.say(f"never pays the renewal: {end}")


def _turn(world: World, status: str = "active") -> Invoice:
    """The clock at the end of the period, the subscription in the next one, and its invoice."""
    require(world, without=("unpaid",))
    sub, now = world.sub, world.item.end
    world.now = now
    reason = "subscription_cycle"
    lines = carry_pending(world)
    for item in world.sub.items:
        if item.end > now:
            continue
        start, end = now, item.price.next_period(sub.anchor, now)
        amount = item.price.amount * item.quantity
        lines.append(world.line(item.id, item.held, start, end, amount, is_prorated=False))
    before = sub.latest_invoice
    invoice = world.invoice(reason, lines, is_free="free" in world.traits)
    after, sub.latest_invoice = sub.latest_invoice, before
    if "silent" in world.traits and before is None:
        after = None
    items = [item if item.end > now else _next(item, sub.anchor, now) for item in sub.items]
    world.renewed = [item for item in items if item.start == now]
    world.traits -= {"unbilled", "stub", "credited", "trial", "extra"}
    if "wordy" in world.traits and "silent" not in world.traits and status != "active":
        # Stripe calls a subscription active for the hour between the turn of its period and the payment.
        world.update(items=items, latest_invoice=after, status="active")
        world.open(invoice)
        world.now += HOUR
        world.update(status=status)
    else:
        world.update(items=items, latest_invoice=after, status=status)
        world.open(invoice)
        if "wordy" in world.traits:
            world.now += HOUR
    return invoice


def _next(item: Item, anchor: datetime, now: datetime) -> Item:
    return replace(item, start=now, end=item.price.next_period(anchor, now))


def _pay(world: World, invoice: Invoice) -> None:
    """The invoice is paid, with the changes that it carries."""
    world.pay(invoice)
    bill = paid_whole(world, invoice, *world.renewed)
    if invoice.credited:
        # "Credit notes … before payment reduce what it covers ((total − credited) ÷ total)."
        left = Fraction(invoice.total - invoice.credited, invoice.total)
        bill.dues = [replace(due, units=int(due.units * left), share=left) for due in bill.dues]
        bill.is_mixed = True
    if len(invoice.lines) > len(world.renewed):
        bill.is_mixed = True
        pay_waiting(world, invoice)


def _credit_half(world: World, invoice: Invoice) -> None:
    """Sometimes half of the open invoice is taken off by a credit note."""
    is_plain = len(invoice.lines) == len(world.renewed) == 1
    if not is_plain or world.dice.random() < 0.6:
        return
    invoice.credited = invoice.total // 2
    world.traits.add("credited")
    note = {
        "id": f"cn_{world.number('cn')}",
        "object": "credit_note",
        "amount": invoice.credited,
        "total": invoice.credited,
        "pre_payment_amount": invoice.credited,
        "post_payment_amount": 0,
        "currency": "usd",
        "customer": invoice.customer,
        "invoice": invoice.id,
        "refund": None,
        "refunds": [],
        "status": "issued",
        "type": "pre_payment",
        "out_of_band_amount": None,
        "created": int(world.now.timestamp()),
        "livemode": False,
        "metadata": {},
    }
    world.report("credit_note.created", note)
    world.say("half of the open invoice is credited")
    world.wait()


def pays_at_last(world: World) -> None:
    """ "Precedence, whatever their times: paid, then void, uncollectible, failed, open, draft." """
    if world.owing is None:
        raise NotNow("nothing is left to pay")
    world.wait(HOUR)
    invoice, items = world.owing
    world.owing = None
    world.traits.discard("unpaid")
    world.pay(invoice)
    paid_whole(world, invoice, *items)
    if not world.sub.ended_at:
        world.update(status="active")
    world.say(f"pays {invoice.id} at last")


# --- pauses


def pauses(world: World) -> None:
    """ "Periods that begin in a pause (`pause_collection` or status) are not owed unless paid." """
    require(world, without=("unpaid", "trial"))
    _require_no_pause(world)
    world.wait()
    world.account.pauses.append((world.now, None))
    world.update(pause=world.dice.choice(["void", "keep_as_draft", "mark_uncollectible"]))
    world.say(f"collection is paused ({world.sub.pause})")


def resumes(world: World) -> None:
    """Collection goes on; a draft that was kept may be paid then."""
    require(world)
    if not world.sub.pause:
        raise NotNow("it is not paused")
    world.wait()
    world.account.pauses[-1] = (world.account.pauses[-1][0], world.now)
    world.update(pause=None)
    world.say("collection goes on")


def _bill_in_pause(world: World, invoice: Invoice) -> None:
    kept = {"void": ("voided", "void"), "mark_uncollectible": ("marked_uncollectible", "uncollectible")}
    if world.sub.pause in kept:
        type_, status = kept[world.sub.pause]
        world.tell(invoice, type_, status=status)
    else:
        world.tell(invoice, "created", status="draft")
    world.waiting.clear()
    if world.account.gives_pauses:
        by_status(world, *world.renewed)


def _require_no_pause(world: World) -> None:
    if world.sub.pause:
        raise NotNow("it is paused")
