"""The exact total of a customer's usage at a rate with rounding = "carry".

Per account and rate, the units charged are the exact sum of all usage, rounded up once (docs/decisions/0012-carry.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm


@dataclass(slots=True)
class Carry:
    """A working copy of what an account used at a rate with rounding = "carry": exactly `numerator` ÷ `denominator`.

    `charged`: the units charged for it, the total rounded up once. `unlisted`: the part of the numerator of charges of
    zero units, which leave no entry. A new `per` extends the denominator, so that every total stays exact.
    """

    account_id: int
    rate: str
    charged: int = 0
    numerator: int = 0
    denominator: int = 1
    unlisted: int = 0

    @property
    def fraction(self) -> Fraction:
        """The part of a unit that is charged but not used yet: at least 0, less than 1."""
        return self.charged - Fraction(self.numerator, self.denominator)

    def add(self, amount: int, per: int) -> int:
        """Add usage of `amount` ÷ `per`. Returns the units to charge for it: what the rounded total grows by."""
        self._extend(lcm(self.denominator, per))
        self.numerator += amount * (self.denominator // per)
        units = -(-self.numerator // self.denominator) - self.charged
        self.charged += units
        return units

    def unlist(self, amount: int, per: int) -> None:
        """Record that usage which was added left no entry."""
        self.unlisted += amount * (self.denominator // per)

    def _extend(self, denominator: int) -> None:
        factor = denominator // self.denominator
        self.numerator, self.unlisted, self.denominator = self.numerator * factor, self.unlisted * factor, denominator
