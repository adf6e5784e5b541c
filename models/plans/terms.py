"""The terms of an app's plans over time: which plan a price belongs to, and what the plan grants. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from models.catalog.apps import OnUpgrade, OnUpgradeUnbilled, Plan, TrialGrants


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan granted from `since` on, as its fields in the catalog. `prices`: Stripe's and PayPal's ids."""

    since: datetime
    plan: str
    units: int
    price_minor: int
    currency: str
    prices: tuple[str, ...] = ()
    trial_units: int | None = None
    trial_grants: TrialGrants = "once"
    on_upgrade: OnUpgrade = "prorated"
    on_upgrade_unbilled: OnUpgradeUnbilled = "wait"
    paused_grants: bool = False

    @property
    def units_of_trial(self) -> int:
        """The units of a trial."""
        return self.units if self.trial_units is None else self.trial_units

    @property
    def content(self) -> tuple[object, ...]:
        """The terms, without when they began."""
        return (
            *(self.plan, self.units, self.price_minor, self.currency, self.prices, self.trial_units),
            *(self.trial_grants, self.on_upgrade, self.on_upgrade_unbilled, self.paused_grants),
        )


def of_plan(plan: Plan, since: datetime) -> Terms:
    """The terms that the catalog has now."""
    return Terms(
        since=since,
        plan=plan.key,
        units=plan.units,
        price_minor=plan.price_minor,
        currency=plan.currency,
        prices=(*plan.prices, *((plan.paypal_plan,) if plan.paypal_plan else ())),
        trial_units=plan.trial_units,
        trial_grants=plan.trial_grants,
        on_upgrade=plan.on_upgrade,
        on_upgrade_unbilled=plan.on_upgrade_unbilled,
        paused_grants=plan.paused_grants,
    )


class TermsBook:
    """All terms of an app, oldest first. A plan or price once known stays known."""

    def __init__(self, rows: Iterable[Terms]) -> None:
        self.rows = sorted(rows, key=attrgetter("since", "plan"))

    def plan_of(self, price: str | None, at: datetime) -> str | None:
        """The plan that the price belonged to at that time; if to none yet, the first one that it belonged to."""
        found = self._in_force([row for row in self.rows if price and price in row.prices], at)
        return found.plan if found else None

    def terms(self, plan: str | None, at: datetime) -> Terms | None:
        """The terms of the plan at that time; before its first ones, those."""
        return self._in_force([row for row in self.rows if row.plan == plan], at)

    def prices_minor(self, plan: str, price: str | None, at: datetime) -> tuple[int, ...]:
        """What the plan cost under this price id, in minor units: the amount in force at that time first.

        A provider may go on charging an amount that the catalog had before.
        """
        rows = [row for row in self.rows if row.plan == plan]
        named = [row for row in rows if price and price in row.prices] or rows
        in_force = self._in_force(named, at)
        amounts = [row.price_minor for row in reversed(named)]
        return tuple(dict.fromkeys([*([in_force.price_minor] if in_force else []), *amounts]))

    def latest(self, plan: str) -> Terms | None:
        """The latest terms of the plan."""
        return next((row for row in reversed(self.rows) if row.plan == plan), None)

    @staticmethod
    def _in_force(rows: list[Terms], at: datetime) -> Terms | None:
        """Of rows in order, the last one since before that time, else the first one."""
        return next((row for row in reversed(rows) if row.since <= at), rows[0] if rows else None)
