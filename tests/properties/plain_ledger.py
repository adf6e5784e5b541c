"""The ledger's rules once more, plain and slow: what the kernel is compared with.

Written from the rules, not from the kernel: nothing is cached, nothing is incremental, every rule is a few lines.
Lots and entries of an account are counted from 0; the debt is the lot None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

FOREVER = datetime.max.replace(tzinfo=timezone.utc)


@dataclass
class PlainLot:
    granted: int
    remaining: int
    made_at: datetime
    expires_at: datetime
    priority: int = 0
    held: int = 0
    expired: int = 0
    frozen: bool = False
    payment: int | None = None
    subscription: int | None = None
    cycle: int | None = None
    per_period: bool = False
    plan: str = ""


@dataclass
class PlainEntry:
    type: str
    amount: int
    parts: list[tuple[int | None, int]]
    reverses: int | None = None
    grants_lot: int | None = None


@dataclass
class PlainHold:
    units: int
    parts: list[tuple[int, int]]
    state: str = "held"


@dataclass
class Said:
    """What the ledger is to answer; `entry` is the place of the entry in the account."""

    status: str
    units: int = 0
    shortfall: int = 0
    refusal: str | None = None
    entry: int | None = None


def refused(why: str) -> Said:
    return Said("refused", refusal=why)


@dataclass
class PlainAccount:
    """One customer. `waiting` are the times at which unsettled reports were received."""

    burn: str
    shortfall: str
    grace: timedelta
    lots: list[PlainLot] = field(default_factory=list)
    entries: list[PlainEntry] = field(default_factory=list)
    holds: dict[str, PlainHold] = field(default_factory=dict)
    keys: dict[str, Said] = field(default_factory=dict)
    waiting: list[datetime] = field(default_factory=list)
    debt: int = 0
    now: datetime = FOREVER
    swept: int = 0

    # --- what is shown

    @property
    def held(self) -> int:
        return sum(lot.held for lot in self.lots)

    @property
    def book(self) -> int:
        return sum(lot.remaining + lot.held for lot in self.lots) - self.debt

    @property
    def balance(self) -> int:
        return sum(lot.remaining for lot in self.lots if lot.expires_at > self.now) + self.held - self.debt

    @property
    def available(self) -> int:
        return max(0, sum(self.lots[n].remaining for n in self.payers(self.now)) - self.debt)

    def payers(self, at: datetime) -> list[int]:
        """The lots that may pay at this time, in the order in which they pay."""
        able = [n for n, lot in enumerate(self.lots) if lot.expires_at > at and not lot.frozen and lot.remaining > 0]
        if self.burn == "expiring_first":
            return sorted(able, key=lambda n: (self.lots[n].priority, self.lots[n].expires_at, n))
        if self.burn == "oldest_first":
            return sorted(able, key=lambda n: (self.lots[n].priority, self.lots[n].made_at, n))
        return sorted(able, key=lambda n: (self.lots[n].priority, -self.lots[n].remaining, n))

    # --- steps that several rules share

    def enter(self, type: str, parts: list[tuple[int | None, int]], reverses: int | None = None) -> int:
        self.entries.append(PlainEntry(type, sum(units for _, units in parts), parts, reverses))
        return len(self.entries) - 1

    def sweep(self) -> int:
        """One expiry a lot, the one that expired first in front; lots that a waiting report was in time for stay."""
        swept = 0
        for n in sorted(range(len(self.lots)), key=lambda n: (self.lots[n].expires_at, n)):
            lot = self.lots[n]
            kept = any(received < lot.expires_at for received in self.waiting)
            if lot.expires_at <= self.now and lot.remaining > 0 and not kept:
                units, lot.remaining = lot.remaining, 0
                lot.expired += units
                swept += units
                self.enter("expiry", [(n, -units)])
        return swept

    def burn_units(self, order: list[int], units: int) -> list[tuple[int | None, int]]:
        parts: list[tuple[int | None, int]] = []
        for n in order:
            part = min(units, self.lots[n].remaining)
            if part:
                self.lots[n].remaining -= part
                units -= part
                parts.append((n, -part))
        return parts

    def owe(self, units: int) -> list[tuple[int | None, int]]:
        self.debt += units
        return [(None, -units)] if units else []

    def repay(self, units: int) -> list[tuple[int | None, int]]:
        part = min(self.debt, units)
        self.debt -= part
        return [(None, part)] if part else []

    def free(self, n: int, units: int) -> None:
        """Units of a lot that were held or frozen can be spent again: they repay debt, if the lot can pay at all."""
        lot = self.lots[n]
        if lot.expires_at > self.now and not lot.frozen:
            repaid = self.repay(units)
            if repaid:
                lot.remaining -= repaid[0][1]
                self.enter("clawback", [(n, -repaid[0][1]), *repaid])

    def give_back(self, units: int, owed: dict[int, int], spare: int | None) -> list[tuple[int | None, int]]:
        """Debt first, then the lots that paid, then the spare lot or a new one."""
        parts = self.repay(units)
        units -= sum(part for _, part in parts)
        for n in sorted(owed):
            part = min(units, owed[n])
            if part > 0:
                self.refill(n, part)
                parts.append((n, part))
                units -= part
        if units:
            if spare is None:
                self.lots.append(PlainLot(units, 0, self.now, FOREVER))
                spare = len(self.lots) - 1
            self.refill(spare, units)
            parts.append((spare, units))
        return parts

    def refill(self, n: int, units: int) -> None:
        lot = self.lots[n]
        lot.remaining += units
        if lot.expires_at <= self.now and self.grace:
            lot.expires_at = self.now + self.grace

    def owed(self, entry: int) -> dict[int, int]:
        """What each lot paid for the deduction, or for the clawbacks of the grant, and has not got back."""
        own = self.entries[entry].parts if self.entries[entry].amount < 0 else []
        later = [part for it in self.entries if it.reverses == entry for part in it.parts]
        net: dict[int, int] = {}
        for n, units in [*own, *later]:
            if n is not None:
                net[n] = net.get(n, 0) - units
        return {n: units for n, units in net.items() if units > 0}

    def reversed(self, entry: int) -> int:
        return sum(it.amount for it in self.entries if it.reverses == entry)

    # --- the movements; `begin` comes before each

    def begin(self, now: datetime, key: str) -> Said | None:
        self.now = now
        self.swept = self.sweep()
        said = self.keys.get(key)
        return Said("already", units=said.units, entry=said.entry) if key and said else None

    def remember(self, key: str, said: Said) -> None:
        """A key is used up by an entry; what made none may be tried again."""
        if key and said.status == "applied" and said.entry is not None:
            self.keys[key] = said

    def grant(self, units: int, lot: PlainLot, type: str, rollover: int = 0, starts_at: datetime = FOREVER) -> Said:
        if units == 0:
            return Said("applied")
        if lot.per_period:
            self.end_cycles(lot, rollover, starts_at)
            self.sweep()
        repaid = self.repay(units)
        lot.remaining = units - sum(part for _, part in repaid)
        self.lots.append(lot)
        n = len(self.lots) - 1
        entry = self.enter(type, ([(n, lot.remaining)] if lot.remaining else []) + repaid)
        self.entries[entry].grants_lot = n
        self.sweep()
        return Said("applied", units=units, entry=entry)

    def end_cycles(self, lot: PlainLot, rollover: int, starts_at: datetime) -> None:
        """Earlier cycles of the plan end, and those of other plans that are over and began no later than its last."""
        earlier = [
            other
            for other in self.lots
            if other.per_period
            and other.subscription == lot.subscription
            and (other.cycle or 0) < (lot.cycle or 0)
            and other.expires_at > other.made_at + timedelta(days=3)
            and other.expires_at > self.now
        ]
        own = [other.cycle or 0 for other in earlier if other.plan == lot.plan]
        ended = [
            other
            for other in earlier
            if other.plan == lot.plan
            or (
                (other.cycle or 0) <= max(own, default=999)
                and other.expires_at - timedelta(days=3) <= starts_at + timedelta(hours=8)
            )
        ]
        for other in ended:
            kept = min(rollover, other.remaining) if other.cycle == max(it.cycle or 0 for it in ended) else 0
            rollover -= kept
            if not kept:
                other.expires_at = self.now
                continue
            if not self.waiting and other.remaining > kept:
                n = next(n for n, it in enumerate(self.lots) if it is other)
                units = other.remaining - kept
                other.remaining, other.expired = kept, other.expired + units
                self.enter("expiry", [(n, -units)])
            other.expires_at = max(other.expires_at, lot.expires_at)

    def take(self, units: int, received_at: datetime | None, rule: str | None) -> Said:
        order = self.payers(received_at or self.now)
        there = sum(self.lots[n].remaining for n in order)
        rule = rule or self.shortfall
        if there < units and rule == "reject":
            return refused("insufficient")
        parts = self.burn_units(order, units)
        missing = max(0, units - there)
        if missing and rule == "debt":
            parts += self.owe(missing)
            missing = 0
        entry = self.enter("deduction", parts) if parts else None
        return Said("applied", units=units - missing, shortfall=missing, entry=entry)

    def hold(self, key: str, units: int, up_to: bool) -> Said:
        if key in self.holds:
            return Said("already", units=self.holds[key].units)
        order = self.payers(self.now)
        there = sum(self.lots[n].remaining for n in order)
        if up_to:
            units = min(units, there)
        if units > there:
            return refused("insufficient")
        parts = [(n, -part) for n, part in self.burn_units(order, units) if n is not None]
        for n, part in parts:
            self.lots[n].held += part
        self.holds[key] = PlainHold(units, parts)
        return Said("applied", units=units)

    def extend(self, key: str, units: int) -> Said:
        hold = self.holds.get(key)
        if hold is None:
            return refused("unknown")
        if hold.state != "held":
            return refused("closed")
        if units > hold.units:
            parts = [
                (n, -part) for n, part in self.burn_units(self.payers(self.now), units - hold.units) if n is not None
            ]
            for n, part in parts:
                self.lots[n].held += part
                hold.units += part
            hold.parts = hold.parts + parts
        return Said("applied", units=hold.units)

    def end_hold(self, key: str, units: int | None, state: str, rule: str = "reject") -> Said:
        """A capture of so many units (None: all), or with 0 units a release."""
        hold = self.holds.get(key)
        if hold is None:
            return refused("unknown")
        if hold.state != "held":
            return refused("closed")
        units = hold.units if units is None else units
        order = self.payers(self.now)
        missing = max(0, units - hold.units - sum(self.lots[n].remaining for n in order))
        if missing and rule == "reject":
            return refused("insufficient")
        units -= missing
        hold.state = state
        spent: list[tuple[int | None, int]] = []
        freed: list[tuple[int, int]] = []
        left = units
        for n, part in hold.parts:
            pay = min(part, left)
            left -= pay
            self.lots[n].held -= part
            self.lots[n].remaining += part - pay
            spent += [(n, -pay)] if pay else []
            freed += [(n, part - pay)] if part > pay else []
        spent += self.burn_units(order, left)
        if rule == "debt":
            spent += self.owe(missing)
            units, missing = units + missing, 0
        entry = self.enter("deduction", spent) if units else None
        for n, part in freed:
            self.free(n, part)
        self.sweep()
        return Said("applied", units if state == "captured" else hold.units, missing, entry=entry)

    def refund(self, entry: int, units: int | None) -> Said:
        if self.entries[entry].type != "deduction":
            return refused("unknown")
        left = -self.entries[entry].amount - self.reversed(entry)
        units = left if units is None else units
        if not 0 < units <= left:
            return refused("beyond")
        parts = self.give_back(units, self.owed(entry), None)
        given = self.enter("refund", parts, entry)
        self.sweep()
        return Said("applied", units=units, entry=given)

    def clawback(self, entry: int, target: int) -> Said:
        own = self.entries[entry].grants_lot
        if own is None:
            return refused("unknown")
        lot = self.lots[own]
        target = min(target, lot.granted)
        clawed = -self.reversed(entry)
        if max(0, target - lot.expired) > clawed:
            units = max(0, target - lot.expired) - clawed
            parts = self.burn_units([own], units)
            parts += self.burn_units(self.payers(self.now), units + sum(part for _, part in parts))
            parts += self.owe(units + sum(part for _, part in parts))
            return Said("applied", units=units, entry=self.enter("clawback", parts, entry))
        if target < clawed:
            parts = self.give_back(clawed - target, self.owed(entry), own)
            given = self.enter("reinstatement", parts, entry)
            self.sweep()
            return Said("applied", units=clawed - target, entry=given)
        return Said("applied")

    def freeze(self, lots: list[int | None], frozen: bool) -> Said:
        changed = 0
        for n, lot in enumerate(self.lots):
            if n in lots and lot.frozen != frozen:
                lot.frozen = frozen
                changed += lot.remaining
                if not frozen:
                    self.free(n, lot.remaining)
        return Said("applied", units=changed)

    def expire(self) -> Said:
        return Said("applied", units=self.swept)
