"""The rules of `owed`, each removed by a small patch: `python -m tests.plans.stories.rules tests.plans.broken_rules`.

Stories must notice each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from models.plans import differences, owed
from models.plans.rules import bills, by_bills, by_status, changes, months, owner, timeline
from models.plans.rules.owner import Owner
from models.plans.terms import TermsBook

Patch = pytest.MonkeyPatch


def _no_precedence_of_paid(patch: Patch) -> None:
    real = bills._merge

    def merge(reports: Any, notes: Any) -> Any:
        latest = max(reports, key=lambda one: one.key)
        return replace(real(reports, notes), state=latest.state)

    patch.setattr(bills, "_merge", merge)


def _unpaid_bills_count(patch: Patch) -> None:
    real = owed.merged
    patch.setattr(
        owed,
        "merged",
        lambda *given: [replace(bill, state="paid" if bill.state != "void" else "void") for bill in real(*given)],
    )


def _status_covers_billed_periods(patch: Patch) -> None:
    patch.setattr(by_status, "_is_billed", lambda *_, **__: False)


def _unpaid_sessions_are_ignored(patch: Patch) -> None:
    patch.setattr(by_status, "_has_unpaid_session", lambda facts: False)


def _guesses_do_not_wait(patch: Patch) -> None:
    patch.setattr(by_status, "PATIENCE", timedelta(0))
    patch.setattr(by_status, "_trusted_at", lambda *_: by_status.LONG_AGO)
    patch.setattr(owner, "PATIENCE", timedelta(0))


def _quantity_is_ignored(patch: Patch) -> None:
    real = bills.PlanLine.units
    patch.setattr(bills.PlanLine, "units", lambda one, start: real(one, start) // one.line.quantity)


def _years_are_one_period(patch: Patch) -> None:
    patch.setattr(months, "of_line", lambda start, end, interval, anchors: [(start, end)])


def _shares_are_whole(patch: Patch) -> None:
    real = changes.Change.leading.fget  # type: ignore[attr-defined]

    def leading(change: Any) -> Any:
        one = real(change)
        return replace(one, terms=replace(one.terms, on_upgrade="full"))

    patch.setattr(changes.Change, "leading", property(leading))


def _credits_are_ignored(patch: Patch) -> None:
    patch.setattr(changes.Change, "delta", lambda change, start: sum(one.units(start) for one in change.added))


def _no_peak(patch: Patch) -> None:
    class Forgetful(dict):  # type: ignore[type-arg]
        def __setitem__(self, start: Any, levels: tuple[int, int]) -> None:
            super().__setitem__(start, (levels[0], levels[0]))

    real = by_bills.Coverage.apply

    def apply(self: Any, lines: Any) -> None:
        self.levels = Forgetful()
        real(self, lines)

    patch.setattr(by_bills.Coverage, "apply", apply)


def _nothing_ends_earlier_lines(patch: Patch) -> None:
    patch.setattr(by_bills.Coverage, "_end_earlier", lambda self, one: None)
    patch.setattr(changes, "_is_credited", lambda part, one: False)


def _trials_are_lines_as_others(patch: Patch) -> None:
    patch.setattr(bills, "_is_trial", lambda *_: False)


def _trials_grant_again(patch: Patch) -> None:
    real = by_status.trial

    def trial(facts: Any, bills_: Any, lines: Any, *rest: Any) -> Any:
        found = []
        for one in [line for line in lines if line.is_trial]:
            found += real(facts, bills_, [one], *rest)
        return found

    patch.setattr(by_status, "trial", trial)


def _trials_after_paid_periods(patch: Patch) -> None:
    real = by_status.trial
    patch.setattr(
        by_status,
        "trial",
        lambda facts, bills_, lines, *rest: real(facts, bills_, [line for line in lines if line.is_trial], *rest),
    )


def _refunds_after_the_end_take_shares(patch: Patch) -> None:
    patch.setattr(owed, "_is_in_force", lambda bill, ended_at: False)


def _refunds_take_nothing(patch: Patch) -> None:
    patch.setattr(owed, "_share", lambda units, back: 0)


def _credit_notes_are_ignored(patch: Patch) -> None:
    for module in (by_bills, changes):
        patch.setattr(module, "covered_share", lambda bill: (1, 1))


def _the_latest_customer_owns_all(patch: Patch) -> None:
    patch.setattr(Owner, "at", lambda self, start: self.latest)


def _mappings_decide_before_sessions(patch: Patch) -> None:
    real = owner.of

    def of(facts: Any, bills_: Any, line: Any, now: Any) -> Owner:
        if len(facts.mapped) == 1 and not any(one.customer for one in facts.snapshots):
            return Owner([(owner.LONG_AGO, next(iter(facts.mapped)))])
        return real(facts, bills_, line, now)

    patch.setattr(owner, "of", of)


def _the_last_terms_hold_for_all_time(patch: Patch) -> None:
    patch.setattr(TermsBook, "terms", lambda self, plan, at: self.latest(plan) if plan else None)


def _pauses_are_ignored(patch: Patch) -> None:
    real = timeline.Timeline.__init__

    def init(self: Any, snapshots: Any, now: Any) -> None:
        real(self, [replace(one, is_paused=False) for one in snapshots], now)

    patch.setattr(timeline.Timeline, "__init__", init)


def _the_end_is_unknown(patch: Patch) -> None:
    patch.setattr(timeline.Timeline, "ended_at", None)


def _order_of_arrival(patch: Patch) -> None:
    patch.setattr(timeline, "_in_order", lambda snapshots: iter(sorted(snapshots, key=lambda one: one.received_at)))


def _stubs_are_whole(patch: Patch) -> None:
    real = bills.plan_lines

    def plan_lines(bill: Any, *given: Any) -> Any:
        found = real(bill, *given)
        has_credit = any(one.is_credit for one in found)
        return [one if has_credit else replace(one, line=replace(one.line, is_prorated=False)) for one in found]

    patch.setattr(owed, "plan_lines", plan_lines)


def _starts_must_be_equal(patch: Patch) -> None:
    patch.setattr(differences.Period, "is_at", lambda self, customer, start: False)


def _only_one_item(patch: Patch) -> None:
    real = bills.plan_lines
    patch.setattr(owed, "plan_lines", lambda *given: real(*given)[:1])


BROKEN: list[tuple[str, Callable[[Patch], None]]] = [
    (breaks.__name__.strip("_").replace("_", " "), breaks)
    for breaks in (
        *(_no_precedence_of_paid, _unpaid_bills_count, _status_covers_billed_periods, _unpaid_sessions_are_ignored),
        *(_guesses_do_not_wait, _quantity_is_ignored, _years_are_one_period, _shares_are_whole, _credits_are_ignored),
        *(_no_peak, _nothing_ends_earlier_lines, _trials_are_lines_as_others, _trials_grant_again),
        *(_trials_after_paid_periods, _refunds_after_the_end_take_shares, _refunds_take_nothing),
        *(_credit_notes_are_ignored, _the_latest_customer_owns_all, _mappings_decide_before_sessions),
        *(_the_last_terms_hold_for_all_time, _pauses_are_ignored, _the_end_is_unknown, _order_of_arrival),
        *(_stubs_are_whole, _starts_must_be_equal, _only_one_item),
    )
]
