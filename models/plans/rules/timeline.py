"""The snapshots of a subscription in the order of the provider's clock. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from models.cycles import LONG_AGO
from models.plans.facts import ENDED, PAYING, Item, Snapshot

# A change that is reported this soon after the start of a period belongs to the start.
AT_START = timedelta(hours=1)
# Clocks differ; a report from farther in the future is not known yet.
SKEW = timedelta(days=1)
LONGEST_TIE = 20


class Timeline:
    """The snapshots known at `now`, in order, without those that repeat the one before and the one after."""

    def __init__(self, snapshots: Iterable[Snapshot], now: datetime) -> None:
        known = [snapshot for snapshot in snapshots if snapshot.at <= now + SKEW]
        self.now = now
        self.snapshots = _without_repetitions(list(_in_order(known)))
        self.unknown_until = min(
            (snapshot.at - SKEW for snapshot in snapshots if snapshot.at > now + SKEW), default=None
        )

    @property
    def latest(self) -> Snapshot | None:
        """The latest snapshot."""
        return self.snapshots[-1] if self.snapshots else None

    def in_force(self, at: datetime, slack: timedelta = AT_START) -> Snapshot | None:
        """The last snapshot of that time; before the first one, that."""
        found = None
        for snapshot in self.snapshots:
            if found is not None and snapshot.at > at + slack:
                break
            found = snapshot
        return found

    @property
    def ended_at(self) -> datetime | None:
        """When the subscription ended; None while it runs. A time in the future is unknown until it comes."""
        latest = self.latest
        if latest is None:
            return None
        if latest.status in ENDED:
            ended = latest.ended_at or latest.at
            return ended if ended <= self.now else None
        return latest.ended_at if latest.ended_at and latest.ended_at <= self.now else None

    def items_at(self, at: datetime) -> tuple[Item, ...]:
        """The items at that time."""
        snapshot = self.in_force(at)
        return snapshot.items if snapshot else ()

    def anchors(self, at: datetime) -> list[datetime]:
        """All anchors, each once: the one in force at that time, then the others, the latest first.

        A later anchor does not cut what was billed before it.
        """
        in_force = self.in_force(at)
        named = [snapshot.anchor for snapshot in reversed(self.snapshots) if snapshot.anchor]
        return list(dict.fromkeys(filter(None, [in_force.anchor if in_force else None, *named])))

    def running(self) -> Iterator[list[Snapshot]]:
        """Runs of consecutive snapshots in which the subscription was active or on trial."""
        for is_paying, run in groupby(self.snapshots, key=lambda snapshot: snapshot.status in PAYING):
            if is_paying:
                yield list(run)


def _in_order(snapshots: Iterable[Snapshot]) -> Iterator[Snapshot]:
    ordered = sorted(snapshots, key=_place)
    before: Snapshot | None = None
    for _, tied in groupby(ordered, key=lambda snapshot: (snapshot.at, snapshot.rank)):
        chained = list(_chained(_distinct(tied), before))
        before = chained[-1]
        yield from chained


def _place(snapshot: Snapshot) -> tuple[Any, ...]:
    """Where the snapshot is among all. Of one moment, what was asked for later has the later state."""
    asked_at = snapshot.received_at if snapshot.is_fetched else LONG_AGO
    return snapshot.at, snapshot.rank, asked_at, snapshot.key


def _distinct(tied: Iterable[Snapshot]) -> list[Snapshot]:
    """Without those that say the same of one moment under another event's id."""
    found: list[Snapshot] = []
    for snapshot in tied:
        if not any((one.said, one.previous) == (snapshot.said, snapshot.previous) for one in found[-LONGEST_TIE:]):
            found.append(snapshot)
    return found


def _chained(tied: list[Snapshot], before: Snapshot | None) -> Iterator[Snapshot]:
    """Snapshots of one moment: each after the one whose values it reports as previous ones, else by key.

    `before`: the snapshot before that moment. It decides where changes were undone in the same moment.
    """
    if len(tied) > LONGEST_TIE:
        yield from tied
        return
    left = list(tied)
    while left:
        free = [one for one in left if not any(_precedes(other, one) for other in left if other is not one)]
        chosen = max(free or left, key=lambda one: _agreeing(before, one))
        left.remove(chosen)
        yield chosen
        before = chosen


def _precedes(before: Snapshot, after: Snapshot) -> bool:
    return _has(before, after) and not _has(after, before)


def _has(snapshot: Snapshot, changed: Snapshot) -> bool:
    """Whether the snapshot has the values that `changed` had before."""
    return bool(changed.previous) and all(getattr(snapshot, name) == value for name, value in changed.previous.items())


def _agreeing(snapshot: Snapshot | None, changed: Snapshot) -> int:
    """How many of the values that `changed` had before the snapshot has."""
    if snapshot is None:
        return 0
    return sum(getattr(snapshot, name) == value for name, value in changed.previous.items())


def _without_repetitions(ordered: Sequence[Snapshot]) -> list[Snapshot]:
    """Without snapshots that say the same as the one before and the one after them."""
    kept: list[Snapshot] = []
    for index, snapshot in enumerate(ordered):
        following = ordered[index + 1] if index + 1 < len(ordered) else None
        repeats = kept and following and kept[-1].said == snapshot.said == following.said
        if not repeats:
            kept.append(snapshot)
    return kept
