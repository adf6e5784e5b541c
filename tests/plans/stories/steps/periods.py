"""How a period ends and the next one begins: renewals paid at once, late, credited in part, or never; pauses; ends."""

from __future__ import annotations

from dataclasses import replace

from tests.plans.stories.account import Bill, Due
from tests.plans.stories.steps.changes import carry_pending
from tests.plans.stories.steps.starts import by_status, paid_whole, require, what
from tests.plans.stories.world import HOUR, Invoice, NotNow, World


def renews(world: World) -> None:
    """The next period, paid at once (within the hour in which Stripe keeps the invoice a draft)."""
    invoice = _turn(world)
    if "silent" in world.traits:
        by_status(world)
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
        raise NotNow("question 14")
    invoice = _turn(world, status="past_due")
    world.tell(invoice, "payment_failed", status="open")
    world.say("the renewal is declined")
    world.wait(HOUR)
    if "silent" in world.traits:
        by_status(world)
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
    if end != "canceled":
        world.traits.add("unpaid")
    world.say(f"never pays the renewal: {end}")


def _turn(world: World, status: str = "active") -> Invoice:
    """The clock at the end of the period, the subscription in the next one, and its invoice."""
    require(world, without=("unpaid", "unpaid change"))
    sub, now = world.sub, world.item.end
    world.now = now
    reason = "subscription_cycle"
    lines = carry_pending(world)
    for item in sub.items:
        start, end = now, item.price.next_period(sub.anchor, now)
        amount = item.price.amount * item.quantity
        lines.append(world.line(item.id, item.held, start, end, amount, is_prorated=False))
    before = sub.latest_invoice
    invoice = world.invoice(reason, lines, is_free="free" in world.traits)
    after, sub.latest_invoice = sub.latest_invoice, before
    if "silent" in world.traits and before is None:
        after = None
    items = [replace(item, start=now, end=item.price.next_period(sub.anchor, now)) for item in sub.items]
    world.traits -= {"unbilled", "stub", "credited", "trial", "extra"}
    if "wordy" in world.traits and status != "active":
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


def _pay(world: World, invoice: Invoice) -> None:
    """The invoice is paid, with the changes that it carries."""
    world.pay(invoice)
    bill = paid_whole(world, invoice, *world.sub.items)
    if invoice.credited:
        # "Credit notes … before payment reduce what it covers ((total − credited) ÷ total)."
        bill.dues = [
            Due(due.item, due.start, due.units * (invoice.total - invoice.credited) // invoice.total)
            for due in bill.dues
        ]
        bill.is_mixed = True
    if len(invoice.lines) > len(world.sub.items):
        bill.is_mixed = True
        _pay_pending(world, invoice)


def _pay_pending(world: World, invoice: Invoice) -> None:
    """ "A change owes nothing before a paid bill carries its lines (…, or the next invoice)." """
    for change in world.waiting:
        change.is_paid(world, Bill(f"{invoice.id} (change)", 0, change.at, invoice.created))
    world.waiting.clear()


def _credit_half(world: World, invoice: Invoice) -> None:
    """Sometimes half of the open invoice is taken off by a credit note."""
    is_plain = len(invoice.lines) == len(world.sub.items)
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


# --- pauses


def pauses(world: World) -> None:
    """ "Periods that begin in a pause (`pause_collection` or status) are not owed unless paid." """
    require(world, without=("unpaid", "unpaid change", "trial"))
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
        by_status(world)


def _require_no_pause(world: World) -> None:
    if world.sub.pause:
        raise NotNow("it is paused")


# --- ends


def cancels_now(world: World) -> None:
    """ "After `ended_at` nothing new is owed but what a standing paid bill covers." """
    require(world)
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
    assert world.until >= world.told[-1].at + 2 * HOUR, "guesses wait for an hour"
