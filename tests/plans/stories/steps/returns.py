"""Money that is returned: refunds, credit notes after payment, disputes; of bills that run and after the end."""

from __future__ import annotations

from typing import Any

from tests.plans.stories.account import Bill
from tests.plans.stories.steps import ends
from tests.plans.stories.world import DAY, HOUR, NotNow, World


def is_refunded(world: World) -> None:
    """A part or all of a bill; now and then the refund fails later, which returns nothing."""
    world.wait()
    bill = _returnable(world)
    amount = _amount(world, bill)
    number = f"re_{world.number('re')}"
    fails = world.dice.random() < 0.2
    is_slow = fails or world.dice.random() < 0.2
    refund = _refund(bill, number, amount, "pending" if is_slow else "succeeded")
    world.report("refund.created", refund)
    so_far = world.refunded[bill.name] = world.refunded.get(bill.name, 0) + amount
    if world.dice.random() < 0.7:
        world.report("charge.refunded", _charge(bill, so_far))
    world.say(f"{amount} of {bill.paid_minor} of {bill.name} is refunded" + (", but fails" if fails else ""))
    if is_slow:
        world.now += HOUR
        status = "failed" if fails else "succeeded"
        world.report("refund.failed" if fails else "refund.updated", {**refund, "status": status})
    if not fails:
        bill.returned_minor += amount
    else:
        bill.is_mixed = True


def ends_and_is_refunded(world: World) -> None:
    """ "Once an end is known, every refund of the bill in force counts backwards from the bill's end." """
    if world.item.price.grants == 1 or "silent" in world.traits:
        raise NotNow("only bills of several months have months to count")
    ends.cancels_now(world)
    is_refunded(world)


def is_credited(world: World) -> None:
    """ "Credit notes … after payment are returns, less the refunds that they name." """
    world.wait()
    bill = _returnable(world)
    if bill.returned_minor:
        raise NotNow("some of it was returned")
    amount = _amount(world, bill)
    refunds: list[dict[str, Any]] = []
    if world.dice.random() < 0.5:
        number = f"re_{world.number('re')}"
        world.report("refund.created", _refund(bill, number, amount, "succeeded"))
        refunds = [{"amount_refunded": amount, "refund": number}]
    note: dict[str, Any] = {
        "id": f"cn_{world.number('cn')}",
        "object": "credit_note",
        "amount": amount,
        "total": amount,
        "pre_payment_amount": 0,
        "post_payment_amount": amount,
        "currency": "usd",
        "customer": world.sub.customer,
        "invoice": bill.name,
        "refund": refunds[0]["refund"] if refunds else None,
        "refunds": refunds,
        "status": "issued",
        "type": "post_payment",
        "out_of_band_amount": None,
        "created": int(world.now.timestamp()),
        "livemode": False,
        "metadata": {},
    }
    world.report("credit_note.created", note)
    bill.returned_minor, bill.is_mixed = amount, True
    world.say(f"{amount} of {bill.paid_minor} of {bill.name} is credited" + (" and refunded" if refunds else ""))


def is_disputed(world: World) -> None:
    """ "`lost` is taken, whatever small movements follow; `won` is returned"; an inquiry takes nothing."""
    world.wait()
    bill = _returnable(world)
    if bill.returned_minor:
        raise NotNow("some of it was returned")
    end = world.dice.choice(["lost", "won", "inquiry"])
    world.say(f"{bill.name} is disputed: {end}")
    steps: dict[str, list[tuple[str, str, list[int]]]] = {
        "inquiry": [("created", "warning_needs_response", []), ("closed", "warning_closed", [])],
        "lost": [
            ("created", "needs_response", [-1]),
            ("funds_withdrawn", "needs_response", [-1]),
            ("closed", "lost", [-1]),
        ],
        "won": [
            ("created", "needs_response", [-1]),
            ("funds_withdrawn", "needs_response", [-1]),
            ("funds_reinstated", "won", [-1, 1]),
            ("closed", "won", [-1, 1]),
        ],
    }
    for type_, status, moves in steps[end]:
        world.report(f"charge.dispute.{type_}", _dispute(bill, status, moves))
        if world.sub.ended_at is None and world.item.end - world.now > 8 * DAY:
            world.now += DAY + HOUR
    bill.is_mixed = True
    if end == "lost":
        bill.returned_minor = bill.paid_minor


def _returnable(world: World) -> Bill:
    bills = [bill for bill in world.account.bills if bill.paid_minor and not bill.is_mixed and not _is_empty(bill)]
    if not bills or (world.sub.cancel_at and not world.sub.ended_at):
        raise NotNow("there is no such bill")
    return world.dice.choice(bills)


def _is_empty(bill: Bill) -> bool:
    return bill.returned_minor >= bill.paid_minor


def _amount(world: World, bill: Bill) -> int:
    """Question 5: of a bill that may be in force at the end only whole numbers of units, in quarters."""
    left = bill.paid_minor - bill.returned_minor
    ended = world.sub.ended_at
    may_be_in_force = bill.end > (ended or world.now)
    if not may_be_in_force and bill.returned_minor % 4 == 0 and world.dice.random() < 0.5:
        return world.dice.randint(1, left)
    quarters = [bill.paid_minor * n // 4 for n in (1, 2, 3)]
    is_exact = bill.paid_minor % 4 == 0 and all(due.units % 4 == 0 for due in bill.dues)
    return world.dice.choice([left, *(each for each in quarters if each < left and is_exact)])


def _refund(bill: Bill, number: str, amount: int, status: str) -> dict[str, Any]:
    paid = bill.name.removeprefix("in_")
    return {
        "id": number,
        "object": "refund",
        "amount": amount,
        "charge": f"ch_{paid}",
        "payment_intent": f"pi_{paid}",
        "currency": "usd",
        "status": status,
        "reason": None,
        "metadata": {},
    }


def _charge(bill: Bill, refunded: int) -> dict[str, Any]:
    paid = bill.name.removeprefix("in_")
    return {
        "id": f"ch_{paid}",
        "object": "charge",
        "amount": bill.paid_minor,
        "amount_refunded": refunded,
        "currency": "usd",
        "payment_intent": f"pi_{paid}",
        "refunded": refunded == bill.paid_minor,
        "status": "succeeded",
        "livemode": False,
        "metadata": {},
    }


def _dispute(bill: Bill, status: str, moves: list[int]) -> dict[str, Any]:
    paid = bill.name.removeprefix("in_")
    return {
        "id": f"dp_{paid}",
        "object": "dispute",
        "amount": bill.paid_minor,
        "charge": f"ch_{paid}",
        "payment_intent": f"pi_{paid}",
        "currency": "usd",
        "status": status,
        "livemode": False,
        "metadata": {},
        "balance_transactions": [
            {
                "id": f"txn_{paid}_{place}",
                "object": "balance_transaction",
                "amount": sign * bill.paid_minor,
                "currency": "usd",
            }
            for place, sign in enumerate(moves)
        ],
    }
