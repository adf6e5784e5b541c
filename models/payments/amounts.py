"""The refunded and disputed amounts of a payment, from the set of its reversals. Pure: no I/O.

The status of a dispute decides its end: a lost one takes its whole amount, a won one nothing, whatever its movements.
Until then the movements count. An account may settle in another currency than the dispute's; then each movement counts
as its share of what was withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

# `reversing`: decided for the payer, whose money another event reports. Stages from `DECIDED` on replace each other.
STAGES = ("inquiry", "inquiry_closed", "open", "closed", "won", "lost", "reversing")
DECIDED = STAGES.index("won")
# Of a credit note: the amount of a refund that it names, if it says, {"minor": 300}. Of a dispute: the
# minor units that it withdrew (negative: reinstated), with the currency if it is not the dispute's, and the time
# in seconds if known: {"minor": 1000, "currency": "eur", "at": 1773144000}.
Move = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PaymentReversals:
    """The refunded and disputed amounts of a payment, in minor units of its currency, not capped by its amount.

    `frozen`: a dispute is at the stage `inquiry`, or its payer will be refunded by an event that has not arrived.
    """

    refunded_minor: int = 0
    disputed_minor: int = 0
    frozen: bool = False


class Reversal(NamedTuple):
    """A row of `payment_return`, without the columns that only identify it."""

    kind: str
    reference: str
    payment: list[str]
    amount_minor: int
    failed: bool
    stage: int
    withdrawn_minor: int
    reinstated_minor: int
    moves: dict[str, Move]
    occurred_at: datetime | None


def total(rows: Sequence[Reversal]) -> PaymentReversals:
    """The amounts of all reversals of one payment."""
    disputes = [row for row in rows if row.kind == "dispute"]
    refunds = [row for row in rows if row.kind == "refund" and not row.failed]
    refunded = _refunded(rows)
    reversed_minor = sum(min(refund.amount_minor, refund.withdrawn_minor) for refund in refunds)
    # PayPal reports the money of a dispute as a reversal of the payment.
    lost = min(refunded, reversed_minor) if disputes else 0
    return PaymentReversals(
        refunded_minor=refunded - lost,
        disputed_minor=lost + sum(_taken(dispute) for dispute in disputes),
        frozen=any(_is_frozen(dispute, refunds) for dispute in disputes),
    )


def _refunded(rows: Sequence[Reversal]) -> int:
    """The refunded amount: for each charge the larger of its refunds and of the provider's total.

    The total may still count a refund that failed after it was reported. Several charges may pay one invoice.
    """
    totals = {row.reference: row for row in rows if row.kind == "refunded"}
    succeeded, failed = dict.fromkeys([*totals, ""], 0), dict.fromkeys([*totals, ""], 0)
    for row in rows:
        if row.kind == "refund":
            sums = failed if row.failed else succeeded
            sums[_charge_of(row, totals)] += row.amount_minor
    return (
        _credited(rows)
        + succeeded[""]
        + sum(max(succeeded[charge], total.amount_minor - failed[charge]) for charge, total in totals.items())
    )


def _credited(rows: Sequence[Reversal]) -> int:
    """What credit notes returned other than by the refunds that they name, which are counted as refunds."""
    refunds = {row.reference: row.amount_minor for row in rows if row.kind == "refund"}
    credited = 0
    for note in rows:
        if note.kind == "credit_note" and not note.failed:
            # A refund whose amount nobody has reported yet may be all of the note.
            named = [move.get("minor", refunds.get(id_, note.amount_minor)) for id_, move in note.moves.items()]
            credited += max(0, note.amount_minor - sum(named))
    return credited


def _charge_of(refund: Reversal, totals: dict[str, Reversal]) -> str:
    """The charge with a total that a refund names, else one that shares an id with it; "" if there is none."""
    named = [charge for charge in sorted(totals) if charge in refund.payment]
    sharing = [charge for charge in sorted(totals) if set(totals[charge].payment) & set(refund.payment)]
    return next(iter([*named, *sharing]), "")


def _taken(dispute: Reversal) -> int:
    """The amount that a dispute takes: by its status once it is decided, else what it withdrew and did not return."""
    if STAGES[dispute.stage] == "won":
        return 0
    if STAGES[dispute.stage] in ("lost", "reversing"):
        return dispute.amount_minor
    withdrawn, reinstated = _moved(dispute)
    return max(0, max(withdrawn, dispute.withdrawn_minor) - max(reinstated, dispute.reinstated_minor))


def _moved(dispute: Reversal) -> tuple[int, int]:
    """The withdrawn and the reinstated amount by the movements, in the dispute's currency."""
    withdrawn = reinstated = 0
    for currency in {move.get("currency") for move in dispute.moves.values()}:
        moved = _in_order((id_, move) for id_, move in dispute.moves.items() if move.get("currency") == currency)
        taken, returned = sum(minor for minor in moved if minor > 0), -sum(minor for minor in moved if minor < 0)
        if currency is not None:
            # The most that was withdrawn at any time stands for the amount of the dispute.
            whole = max(1, *accumulate(moved))
            taken, returned = dispute.amount_minor * taken // whole, dispute.amount_minor * returned // whole
        withdrawn, reinstated = withdrawn + taken, reinstated + returned
    return withdrawn, reinstated


def _in_order(moves: Iterable[tuple[str, Move]]) -> list[int]:
    return [move["minor"] for _, move in sorted(moves, key=lambda each: (each[1].get("at") or 0, each[0]))]


def _is_frozen(dispute: Reversal, refunds: Sequence[Reversal]) -> bool:
    """Whether the dispute freezes the payment's units: they may be spent again once it is decided and paid."""
    if STAGES[dispute.stage] == "inquiry":
        return True
    return STAGES[dispute.stage] == "reversing" and not any(_is_since(refund, dispute) for refund in refunds)


def _is_since(refund: Reversal, dispute: Reversal) -> bool:
    """Whether the refund was made after the dispute began; if either time is not known, it may have been."""
    if refund.occurred_at is None or dispute.occurred_at is None:
        return True
    return refund.occurred_at >= dispute.occurred_at
