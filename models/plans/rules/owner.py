"""Whose a subscription is, at each time. Without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from models.cycles import LONG_AGO
from models.plans.facts import SALE, Bill, Facts
from models.plans.rules.by_status import PATIENCE
from models.plans.rules.timeline import AT_START, Timeline


@dataclass(frozen=True, slots=True)
class Owner:
    """The customers that were named, each with the time since when; the first one also owns what precedes.

    `decided_at`: the time from which the answer counts. `problem`: why no customer is known.
    """

    named: Sequence[tuple[datetime, str]] = ()
    decided_at: datetime = LONG_AGO
    problem: str | None = None

    def at(self, start: datetime) -> str | None:
        """The owner of a period that begins then."""
        found = None
        for since, customer in self.named:
            if found is not None and since > start + AT_START:
                break
            found = customer
        return found

    @property
    def latest(self) -> str | None:
        """The present owner."""
        return self.named[-1][1] if self.named else None


def of(facts: Facts, bills: Sequence[Bill], timeline: Timeline, now: datetime) -> Owner:
    """Whose the subscription is: as its metadata say, else the session that names it, else our checkout's promise, else
    the only customer behind the provider's customer, once an hour has passed without a session.
    """
    named = [(snapshot.at, snapshot.customer) for snapshot in timeline.snapshots if snapshot.customer]
    named += [(bill.at, bill.customer) for bill in bills if bill.customer]
    changes = _changes(sorted(named, key=itemgetter(0)))
    base = next(
        (one.customer for one in sorted(facts.sessions, key=lambda one: (one.at, one.key)) if one.customer), None
    )
    base = base or (facts.promise.customer if facts.promise else None)
    first = timeline.snapshots[0] if timeline.snapshots else None
    if changes:
        is_named_from_the_start = first is None or bool(first.customer) or changes[0][0] <= first.at
        if base and not is_named_from_the_start and base != changes[0][1]:
            changes = [(LONG_AGO, base), *changes]
        return Owner(changes)
    if base:
        return Owner([(LONG_AGO, base)])
    if len(facts.mapped) == 1:
        return Owner([(LONG_AGO, next(iter(facts.mapped)))], decided_at=facts.first_seen_at + PATIENCE)
    return Owner(problem=_problem(facts, timeline))


def _changes(named: Sequence[tuple[datetime, str]]) -> list[tuple[datetime, str]]:
    """Only those that name another customer than the one before."""
    found: list[tuple[datetime, str]] = []
    for since, customer in named:
        if not found or found[-1][1] != customer:
            found.append((since, customer))
    return found


def _problem(facts: Facts, timeline: Timeline) -> str:
    latest = timeline.latest
    provider_customer = latest.provider_customer if latest else None
    if (latest and latest.is_billed_by_sales) or any(bill.reason == SALE for bill in facts.bills):
        return (
            "no customer: no report of the subscription that could be read has a custom_id of the form"
            " customer=…&plan=…; correct its BILLING.SUBSCRIPTION event if that is dead, or credit the units with"
            " POST /v1/adjustments"
        )
    if len(facts.mapped) > 1:
        some = ", ".join(sorted(facts.mapped)[:3])
        return (
            f"no customer: metadata.customer of the subscription is empty, and {provider_customer!r} stands for"
            f" several customers ({some}); put metadata.customer on the subscription"
        )
    if provider_customer:
        return (
            "no customer: metadata.customer of the subscription is empty, and no checkout that came so far names"
            f" {provider_customer!r}; put metadata.customer on the subscription"
        )
    return "no customer: metadata.customer of the subscription is empty; put it there"
