"""What a provider returned of a payment: refunds, credit notes and disputes, by the provider's ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One refund, by the provider's id. A refund that `failed` or was canceled returned nothing to the payer.

    `is_reversal`: the provider took the money by itself, for example after a lost dispute. `made_at`: if known.
    """

    reference: str
    amount_minor: int
    failed: bool = False
    is_reversal: bool = False
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """A credit note on a paid invoice. It returns its amount less the refunds that it names; nothing once `voided`.

    `refunds`: (id, amount or None if the note does not say) of the refunds that it names.
    """

    reference: str
    amount_minor: int
    voided: bool = False
    refunds: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeMove:
    """Money that a dispute moved, by the id of the provider's balance transaction: withdrawn (+) or reinstated (−).

    `currency`: None if it is the dispute's. `at_seconds`: when it was moved, None if that is not known.
    """

    reference: str
    amount_minor: int
    currency: str | None = None
    at_seconds: int | None = None


Stage = Literal["inquiry", "inquiry_closed", "open", "closed", "won", "lost", "reversing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A dispute, by the provider's id, as an event of the provider's time `at` reports it.

    - `stage` only advances, so an older event that arrives late changes nothing. `inquiry`: no money has moved and the
      lot is frozen; `open`: money has moved as `moves` lists it; `closed`: it has ended, and the moves count. `won` and
      `lost` decide it, whatever the moves; of two decisions the later one counts. `reversing`: decided for the payer,
      and other events report the money; until then the lot is frozen.
    - `amount_minor`: what a lost dispute takes; 0 if other events report it.
    - `withdrawn_minor` and `reinstated_minor` replace `moves` for events without balance transactions.
    - `whole`: the id of a dispute of several payments, of which this is the part of one payment. All parts have the
      most advanced stage of any of them.
    """

    reference: str
    at: datetime
    began_at: datetime | None = None
    whole: str | None = None
    stage: Stage
    amount_minor: int = 0
    moves: tuple[DisputeMove, ...] = ()
    withdrawn_minor: int = 0
    reinstated_minor: int = 0
