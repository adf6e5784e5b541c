"""Random sets of facts of one subscription: snapshots and bills in any state, also contradictory ones."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from models.plans.facts import STATES, Bill, CreditNote, Facts, Line, Returned, Snapshot
from tests.plans.rules.samples import DAY, MONTH, START, UNITS, WEEK, YEAR, bill, facts, item, line, month, snapshot

PLANS = st.sampled_from([*UNITS, "none"])
QUANTITIES = st.integers(0, 4)
INTERVALS = st.sampled_from([MONTH, YEAR, WEEK, None])
# Starts of months and days within them, a few seconds apart at times.
TIMES = st.builds(
    lambda number, days, seconds: month(number) + days * DAY + timedelta(seconds=seconds),
    st.integers(0, 5), st.sampled_from([0, 0, 0, 7, 15, 15.5]), st.sampled_from([0, 0, 0, 1, 40]),
)  # fmt: skip
STATUSES = st.sampled_from(["active"] * 4 + ["trialing", "past_due", "unpaid", "incomplete", "canceled"])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    at, status = draw(TIMES), draw(STATUSES)
    items = [
        item(draw(PLANS), draw(QUANTITIES), id=f"si_{n}", start=at, interval=draw(INTERVALS))
        for n in range(draw(st.integers(0, 2)))
    ]
    is_trial = status == "trialing"
    return snapshot(
        at, *items, key=f"evt_{draw(st.integers(0, 10**6))}", status=status, rank=draw(st.integers(0, 2)),
        trial_end=at + 14 * DAY if is_trial else None, trial_start=at if is_trial else None,
        anchor=draw(st.sampled_from([START, START, at])), customer=draw(st.sampled_from(["ada", "ada", "bo", None])),
        is_paused=draw(st.sampled_from([False, False, True])), latest_invoice=draw(st.sampled_from([None, "in_1"])),
        previous=draw(st.sampled_from([{}, {"status": "active"}])), ended_at=at if status == "canceled" else None,
    )  # fmt: skip


@st.composite
def lines(draw: st.DrawFn, number: int) -> Line:
    start, plan = draw(TIMES), draw(PLANS)
    length = draw(st.sampled_from([31 * DAY, 31 * DAY, 7 * DAY, 365 * DAY, 16 * DAY, 0 * DAY]))
    known = plan if plan in UNITS else "lite"
    return line(
        known, start, start + length, draw(QUANTITIES), id=f"il_{number}", price=f"price_{plan}",
        amount_minor=draw(st.sampled_from([500, 500, 0, -500])), is_prorated=draw(st.booleans()),
        interval=draw(INTERVALS), item=draw(st.sampled_from([None, "si_0", "si_1"])),
        credits=draw(st.sampled_from([(), ("in_1",), ("in_1", "il_0")])),
    )  # fmt: skip


@st.composite
def bills(draw: st.DrawFn) -> Bill:
    name, state = f"in_{draw(st.integers(0, 3))}", draw(st.sampled_from([*STATES, "paid", "paid", "paid"]))
    made = [draw(lines(n)) for n in range(draw(st.integers(1, 3)))]
    return bill(name, *made, state=state, key=f"evt_{draw(st.integers(0, 10**6))}:{state}",
                customer=draw(st.sampled_from([None, "ada"])))  # fmt: skip


@st.composite
def sets(draw: st.DrawFn) -> Facts:
    """Facts of distinct keys, and what was returned of some bills."""
    told = draw(st.lists(st.one_of(snapshots(), bills()), max_size=7, unique_by=lambda fact: fact.key))
    names = sorted({fact.bill for fact in told if isinstance(fact, Bill)})
    returned = {
        name: Returned(draw(st.integers(0, 600)), 500, draw(st.booleans())) for name in names if draw(NOW_AND_THEN)
    }
    notes = tuple(CreditNote(f"cn_{name}", f"cn_{name}", name, 100) for name in names if draw(NOW_AND_THEN))
    return facts(*told, returned=returned, notes=notes, mapped=frozenset(draw(st.sets(st.sampled_from(["ada", "di"])))))


NOW_AND_THEN = st.sampled_from([False, False, True])
