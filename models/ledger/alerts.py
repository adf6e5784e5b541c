"""Alerts: what a planned batch is worth telling of. Pure, and next to free where there is nothing to tell.

A balance is told of once for each threshold that an entry brings it down to or below; up and down again is told again.
A fall that the same batch makes good is not told: when a plan renews, the old cycle's units lapse and the new one's
come in one commit, and nobody ever had too little. Balances are the ledger's own, in which an expired lot counts until
its expiry is posted.
"""

from __future__ import annotations

from models.outbox.messages import Message
from models.planning.state import Entry, Plan


def messages(plan: Plan) -> list[Message]:
    """What to tell of the plan's entries, in their order."""
    told: list[Message] = []
    # Only what lapses, freezes or moves its expiry alters a lot: without that there is no expiry to look for.
    lots = {entry_id: lot_id for entry_id, lot_id, _ in plan.allocations} if plan.altered_lots else None
    for entry in plan.entries:
        thresholds = entry.account.policy.low_balance
        if thresholds and entry.amount < 0 and entry.balance_before + entry.amount <= thresholds[0]:
            told += _crossings(entry, thresholds)
        if lots is not None and entry.type == "expiry":
            told.append(_expired(entry, lots[entry.id]))
    return told


def _crossings(entry: Entry, thresholds: tuple[int, ...]) -> list[Message]:
    """One message for each threshold with before > threshold >= after, the highest first."""
    before, after = entry.balance_before, entry.balance_before + entry.amount
    at_the_end = max(after, entry.account.balance)
    return [_low(entry, threshold, after) for threshold in thresholds if before > threshold >= at_the_end]


def _low(entry: Entry, threshold: int, balance: int) -> Message:
    account = entry.account
    data = {"balance": balance, "threshold": threshold, "unit": account.policy.unit, "entry": entry.id}
    return Message(account.app, "balance.low" if threshold else "balance.exhausted", account.customer, data)


def _expired(entry: Entry, lot_id: int | None) -> Message:
    data = {"lot": lot_id, "units": -entry.amount, "entry": entry.id}
    return Message(entry.account.app, "lot.expired", entry.account.customer, data)
