"""Balance alerts derived from a planned batch. Pure functions; near-zero cost when nothing crosses a threshold.

An entry that lowers a balance to a threshold or below emits one event per threshold crossed; after a rise above it, the
next crossing emits another. A fall that the same batch compensates emits nothing: when a plan renews, the old cycle's
units expire and the new cycle's units are granted in one commit, so the customer never has too few. Balances are book
balances, in which an expired lot counts until its expiry is posted.
"""

from __future__ import annotations

from models.outbox.messages import Message
from models.planning.state import Entry, Plan


def messages(plan: Plan) -> list[Message]:
    """The events to emit for the plan's entries, in their order."""
    emitted: list[Message] = []
    # An expiry always alters its lot: without altered lots there is no expiry entry to look for.
    lots = {entry_id: lot_id for entry_id, lot_id, _ in plan.allocations} if plan.altered_lots else None
    for entry in plan.entries:
        thresholds = entry.account.policy.low_balance
        if thresholds and entry.amount < 0 and entry.balance_before + entry.amount <= thresholds[0]:
            emitted += _crossings(entry, thresholds)
        if lots is not None and entry.type == "expiry":
            emitted.append(_expired(entry, lots[entry.id]))
    return emitted


def _crossings(entry: Entry, thresholds: tuple[int, ...]) -> list[Message]:
    """One message per threshold with before > threshold >= after, highest first.

    `after` is the balance after the entry or at the end of the batch, whichever is higher.
    """
    before, after = entry.balance_before, entry.balance_before + entry.amount
    lasting = max(after, entry.account.balance)
    return [_low(entry, threshold, after) for threshold in thresholds if before > threshold >= lasting]


def _low(entry: Entry, threshold: int, balance: int) -> Message:
    account = entry.account
    data = {"balance": balance, "threshold": threshold, "unit": account.policy.unit, "entry": entry.id}
    return Message(account.app, "balance.low" if threshold else "balance.exhausted", account.customer, data)


def _expired(entry: Entry, lot_id: int | None) -> Message:
    data = {"lot": lot_id, "units": -entry.amount, "entry": entry.id}
    return Message(entry.account.app, "lot.expired", entry.account.customer, data)
