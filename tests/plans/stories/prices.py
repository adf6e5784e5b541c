"""The prices of the stories' catalog (catalog/stories.toml).

A family is a group of plans between which a subscription may change.
"""

from __future__ import annotations

from pathlib import Path

from tests.plans.stories.months import Price

APP = "stories"
CATALOG = Path(__file__).parent / "catalog"
MONTHLY = {
    "lite": 1200,
    "pro": 2400,
    "max": 12000,
    "extra": 600,
    "support": 480,
    "flat": 1200,
    "flat_max": 12000,
    "sure": 1200,
}
MONTHLY |= {"sure_max": 12000, "gift": 1200, "taste": 1200, "tasty": 1200, "brief": 1200}
UNITS = {"lite": 100, "pro": 1000, "max": 5000, "extra": 300, "support": 0, "flat": 100, "flat_max": 5000, "sure": 100}
UNITS |= {"sure_max": 5000, "gift": 200, "taste": 1000, "tasty": 400, "brief": 200}
# What may be sold beside a plan: another plan, and a price that the catalog does not know.
BESIDE = ("extra", "support")
FAMILIES = {
    "plain": ("lite", "pro", "max"),
    "full": ("flat", "flat_max"),  # on_upgrade = "full"
    "trust": ("sure", "sure_max"),  # on_upgrade_unbilled = "trust"
    "gift": ("gift",),  # paused_grants = true
    "taste": ("taste",),  # trial_units = 50
    "tasty": ("tasty",),  # trial_grants = "monthly"
    "brief": ("brief",),  # expires_after = "period"
}
TRIAL_UNITS = {"taste": 50}
TIMES = {("month", 1): 1, ("month", 3): 3, ("year", 1): 12, ("week", 1): 1, ("week", 2): 1, ("day", 1): 1}
PACK_UNITS, PACK = 40, Price("pack", "once", 1, 999)


def price(plan: str, interval: str = "month", count: int = 1) -> Price:
    """The plan's price for this interval. Amounts divide by twelve, so that shares of them are whole."""
    return Price(plan, interval, count, MONTHLY[plan] * TIMES[interval, count])


def family_of(plan: str) -> str:
    """The family that the plan belongs to."""
    return next(family for family, plans in FAMILIES.items() if plan in (*plans, *BESIDE))
