"""The kernel on a real database against the plain ledger: any movements, in any order, in batches, as time goes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from models import database
from models.ledger import post as ledger
from models.planning.movements import (
    Capture,
    Clawback,
    Expire,
    Extend,
    Freeze,
    Grant,
    Hold,
    Movement,
    Release,
    Reverse,
    Take,
)
from tests.properties.plain_ledger import FOREVER, PlainAccount, PlainLot, Said
from tests.support.kernel import GRACE, START, failures, kernel, report, slug

__all__ = ["kernel"]

CUSTOMERS = 3
UNITS = st.integers(0, 40)
GRANTED = st.integers(0, 100)
PICK = st.integers(0, 1000)
RULE = st.sampled_from([None, None, "partial", "debt", "reject"])
KEY = st.sampled_from(["", "new", "new", "again"])


@dataclass
class Wish:
    """What a movement is to be, before it is known what there is to refer to."""

    kind: str
    who: int
    key: str
    pick: int
    values: dict[str, Any] = field(default_factory=dict)


def wish(kind: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Wish]:
    who = st.integers(0, CUSTOMERS - 1)
    return st.builds(Wish, st.just(kind), who, KEY, PICK, st.fixed_dictionaries(values))


HOURS = st.none() | st.integers(-10, 50) | st.integers(1, 200)
GRANT = wish(
    "grant",
    units=GRANTED,
    hours=HOURS,
    relative=st.booleans(),
    priority=st.sampled_from([0, 0, 0, 1]),
    payment=st.sampled_from([None, 1, 2]),
)
FIRST = {"units": 50, "hours": None, "relative": False, "priority": 0, "payment": 1}
WISHES = st.one_of(
    GRANT,
    GRANT,
    wish(
        "cycle",
        units=GRANTED,
        cycle=st.integers(0, 2),
        hours=st.integers(-10, 200) | st.integers(790, 840),
        plan=st.sampled_from(["lite", "lite", "max"]),
        rollover=st.sampled_from([0, 0, 3, 20]),
    ),
    *[
        wish(
            "cycle",
            units=st.integers(5, 30),
            cycle=st.integers(0, 3),
            hours=st.integers(790, 840),
            plan=st.just("lite"),
            rollover=st.sampled_from([3, 20]),
        )
    ]
    * 2,
    wish("take", units=UNITS, rule=RULE),
    wish("take", units=UNITS, rule=RULE),
    wish("settle", units=UNITS, rule=RULE),
    wish("place", units=UNITS, up_to=st.booleans()),
    wish("place", units=UNITS, up_to=st.booleans()),
    wish("extend", units=UNITS),
    wish("capture", units=st.none() | UNITS, rule=st.sampled_from(["reject", "reject", "partial", "debt"])),
    wish("release", expired=st.booleans()),
    wish("refund", units=st.none() | st.integers(0, 40), any=st.booleans()),
    wish("refund", units=st.none() | st.integers(0, 40), any=st.just(False)),
    wish("clawback", target=st.integers(0, 70), any=st.booleans()),
    wish("clawback", target=st.integers(0, 70), any=st.just(False)),
    wish("freeze", payment=st.sampled_from([1, 2]), frozen=st.booleans()),
    wish("lapse"),
)


class Kernel(RuleBasedStateMachine):
    """Three customers, each under a policy of its own; every step does the same to both ledgers and compares."""

    @initialize(
        burns=st.tuples(*[st.sampled_from(["expiring_first", "largest_first", "oldest_first"])] * CUSTOMERS),
        rules=st.tuples(*[st.sampled_from(["partial", "debt", "reject"])] * CUSTOMERS),
        graces=st.tuples(*[st.booleans()] * CUSTOMERS),
    )
    def open(self, burns: tuple[str, ...], rules: tuple[str, ...], graces: tuple[bool, ...]) -> None:
        database.connection().execute(
            "TRUNCATE account, lot, entry, allocation, hold, usage_report, usage_queue RESTART IDENTITY"
        )
        self.now = START
        self.count = 0
        self.names = [f"customer-{n}" for n in range(CUSTOMERS)]
        self.apps = [slug(*policy) for policy in zip(burns, rules, graces, strict=True)]
        self.plain = [
            PlainAccount(burn, shortfall, GRACE if grace else timedelta(0))
            for burn, shortfall, grace in zip(burns, rules, graces, strict=True)
        ]
        self.ids: list[list[int]] = [[] for _ in range(CUSTOMERS)]
        self.lot_ids: list[list[int]] = [[] for _ in range(CUSTOMERS)]
        self.queued: list[list[int]] = [[] for _ in range(CUSTOMERS)]
        self.batch(0, [], [Wish("grant", who, "new", 0, FIRST) for who in range(CUSTOMERS)])

    @precondition(lambda self: any(self.queued))
    @rule()
    def the_oldest_report_dies(self) -> None:
        who = next(who for who, queued in enumerate(self.queued) if queued)
        dead = [self.queued[who].pop(0)]
        self.plain[who].waiting.pop(0)
        database.connection().execute("UPDATE usage_queue SET dead = true WHERE report_id = %s", dead)
        database.connection().execute("UPDATE usage_report SET state = 'dead' WHERE id = %s", dead)

    def receive(self, who: int, hours_ago: int) -> None:
        received = self.now - timedelta(hours=hours_ago)
        report(received, of=self.names[who], app=self.apps[who])
        self.plain[who].waiting.append(received)
        self.queued[who].append(database.read("SELECT max(report_id) FROM usage_queue")[0][0])

    def wait(self, pause: int | str) -> None:
        """So many hours, or until the next lot expires."""
        if isinstance(pause, int):
            self.now += timedelta(hours=pause)
        else:
            lots = [lot for plain in self.plain for lot in plain.lots]
            self.now = min((lot.expires_at for lot in lots if self.now < lot.expires_at < FOREVER), default=self.now)

    @rule(
        pause=st.one_of(st.just(0), st.integers(1, 60), st.just("expiry")),
        reports=st.lists(st.tuples(st.integers(0, CUSTOMERS - 1), st.integers(0, 5)), max_size=1),
        wishes=st.lists(WISHES, min_size=1, max_size=6),
        all_of=st.sampled_from([None, 0, 0, 1]),
    )
    def batch(
        self, pause: int | str, reports: list[tuple[int, int]], wishes: list[Wish], all_of: int | None = None
    ) -> None:
        self.wait(pause)
        for who, hours_ago in reports:
            self.receive(who, hours_ago)
        self.settled: list[int] = []
        movements: list[Movement] = []
        expected: list[tuple[Wish, Said, int, int]] = []
        for it in wishes:
            it.who = it.who if all_of is None else all_of
            made = self.fulfil(it)
            if made is None:
                continue
            movement, do = made
            plain = self.plain[it.who]
            said = plain.begin(self.now, movement.key)
            if said is None:
                said = do(plain)
                if it.kind != "place":
                    plain.remember(movement.key, said)
            movements.append(movement)
            expected.append((it, said, plain.balance, plain.available))
        for movement in movements:
            note(f"{self.now:%d %H:%M} {movement}")
        outcomes = self.post(movements)
        self.compare_tables()
        for (it, said, balance, available), outcome in zip(expected, outcomes, strict=True):
            assert (outcome.status, outcome.refusal) == (said.status, said.refusal), it
            assert (outcome.balance, outcome.available) == (balance, available), it
            if said.status != "refused":
                assert (outcome.units, outcome.shortfall) == (said.units, said.shortfall), it
                assert outcome.entry_id == (None if said.entry is None else self.ids[it.who][said.entry]), it

    def post(self, movements: list[Movement]) -> list[Any]:
        """Like a drain: what is settled leaves the queue in the same transaction, before the post."""

        def work(conn: Any) -> list[Any]:
            conn.execute("DELETE FROM usage_queue WHERE report_id = ANY(%s)", [self.settled])
            conn.execute("DELETE FROM usage_report WHERE id = ANY(%s)", [self.settled])
            return ledger.post(conn, movements, now=self.now)

        outcomes = database.transaction(work)
        for plain, queued in zip(self.plain, self.queued, strict=True):
            for hold in reversed([n for n, it in enumerate(queued) if it in self.settled]):
                del queued[hold], plain.waiting[hold]
        return outcomes

    # --- from a wish to a movement, and to what the plain ledger does for it

    def fulfil(self, it: Wish) -> tuple[Movement, Callable[[PlainAccount], Said]] | None:
        return getattr(self, f"make_{it.kind}")(it, self.plain[it.who], **it.values)

    def key(self, it: Wish) -> str:
        known = list(self.plain[it.who].keys)
        if it.key == "again" and known:
            return known[it.pick % len(known)]
        self.count += 1
        return f"key:{self.count}" if it.key else ""

    def common(self, it: Wish) -> dict[str, Any]:
        return {"app": self.apps[it.who], "customer": self.names[it.who]}

    def make_grant(self, it: Wish, plain: PlainAccount, units: int, hours: int | None, **more: Any) -> Any:
        after = None if hours is None else timedelta(hours=hours)
        relative = more["relative"] and after is not None and after > timedelta(0)
        movement = Grant(
            **self.common(it),
            key=self.key(it),
            units=units,
            type="purchase",
            source="pack",
            expires_after=after if relative else None,
            expires_at=None if relative or after is None else self.now + after,
            priority=more["priority"],
            payment_id=more["payment"],
        )
        expires_at = FOREVER if after is None else self.now + after
        lot = PlainLot(units, 0, self.now, expires_at, priority=more["priority"], payment=more["payment"])
        return movement, lambda plain: plain.grant(units, lot, "purchase")

    def make_cycle(self, it: Wish, plain: PlainAccount, units: int, cycle: int, hours: int, **more: Any) -> Any:
        subscription = 1 + (it.pick % 4 == 0)
        starts_at = START + cycle * timedelta(days=31)
        expires_at = self.now + timedelta(hours=hours)
        movement = Grant(
            **self.common(it),
            key=self.key(it),
            units=units,
            type="subscription_grant",
            source=f"plan:{more['plan']}",
            expires_at=expires_at,
            subscription_id=subscription + 10 * it.who,
            period_start=starts_at,
            per_period=True,
            rollover=more["rollover"],
            meta={"plan": "pro", "units": 10**6},
        )
        lot = PlainLot(
            *(units, 0, self.now, expires_at),
            subscription=subscription,
            cycle=cycle,
            per_period=True,
            plan=more["plan"],
        )
        rollover = more["rollover"]
        return movement, lambda plain: plain.grant(units, lot, "subscription_grant", rollover, starts_at)

    def make_take(self, it: Wish, plain: PlainAccount, units: int, rule: Any) -> Any:
        movement = Take(**self.common(it), key=self.key(it), units=units, on_shortfall=rule)
        return movement, lambda plain: plain.take(units, None, rule)

    def make_settle(self, it: Wish, plain: PlainAccount, units: int, rule: Any) -> Any:
        waiting = [n for n, queued in enumerate(self.queued[it.who]) if queued not in self.settled]
        if not waiting:
            return None
        self.settled.append(self.queued[it.who][waiting[0]])
        received = plain.waiting[waiting[0]]
        self.count += 1
        movement = Take(
            **self.common(it), key=f"usage:{self.count}", units=units, on_shortfall=rule, received_at=received
        )
        return movement, lambda plain: plain.take(units, received, rule)

    def make_place(self, it: Wish, plain: PlainAccount, units: int, up_to: bool) -> Any:
        holds = list(plain.holds)
        again = it.key == "again" and holds
        key = holds[it.pick % len(holds)] if again else f"hold:{it.who}:{len(holds)}"
        expires_at = self.now + timedelta(hours=1)
        movement = Hold(**self.common(it), key=key, units=units, up_to=up_to, expires_at=expires_at)
        return movement, lambda plain: plain.hold(key, units, up_to)

    def hold_key(self, it: Wish, plain: PlainAccount) -> str | None:
        """Of an open hold, now and then of a closed one or of none."""
        known = [key for key, hold in plain.holds.items() if hold.state == "held"]
        if it.pick % 8 == 0:
            known = [*plain.holds, "hold:none"]
        return known[it.pick % len(known)] if known else None

    def make_extend(self, it: Wish, plain: PlainAccount, units: int) -> Any:
        hold = self.hold_key(it, plain)
        if hold is None:
            return None
        movement = Extend(**self.common(it), hold_key=hold, units=units)
        return movement, lambda plain: plain.extend(hold, units)

    def make_capture(self, it: Wish, plain: PlainAccount, units: int | None, rule: Any) -> Any:
        hold = self.hold_key(it, plain)
        if hold is None:
            return None
        movement = Capture(**self.common(it), key=self.key(it), hold_key=hold, units=units, on_shortfall=rule)
        return movement, lambda plain: plain.end_hold(hold, units, "captured", rule)

    def make_release(self, it: Wish, plain: PlainAccount, expired: bool) -> Any:
        hold = self.hold_key(it, plain)
        if hold is None:
            return None
        movement = Release(**self.common(it), hold_key=hold, expired=expired)
        return movement, lambda plain: plain.end_hold(hold, 0, "expired" if expired else "released")

    def entry(self, it: Wish, plain: PlainAccount, any: bool, fits: Callable[[Any], bool]) -> int | None:
        """The place of an entry of an earlier batch: one that fits, or, if `any` will do, any."""
        known = plain.entries[: len(self.ids[it.who])]
        fitting = [n for n, entry in enumerate(known) if fits(entry)]
        if any and it.pick % 5 == 0:
            fitting = list(range(len(known)))
        return fitting[it.pick % len(fitting)] if fitting else None

    def make_refund(self, it: Wish, plain: PlainAccount, units: int | None, any: bool) -> Any:
        entry = self.entry(it, plain, any, lambda entry: entry.type == "deduction")
        if entry is None:
            return None
        entry_id = self.ids[it.who][entry]
        movement = Reverse(**self.common(it), key=self.key(it), entry_id=entry_id, units=units)
        return movement, lambda plain: plain.refund(entry, units)

    def make_clawback(self, it: Wish, plain: PlainAccount, target: int, any: bool) -> Any:
        entry = self.entry(it, plain, any, lambda entry: entry.grants_lot is not None)
        if entry is None:
            return None
        movement = Clawback(**self.common(it), entry_id=self.ids[it.who][entry], target_units=target)
        return movement, lambda plain: plain.clawback(entry, target)

    def make_freeze(self, it: Wish, plain: PlainAccount, payment: int, frozen: bool) -> Any:
        """All lots that a payment bought in earlier batches."""
        entries = [n for n, entry in enumerate(plain.entries[: len(self.ids[it.who])]) if entry.grants_lot is not None]
        bought = [n for n in entries if plain.lots[plain.entries[n].grants_lot or 0].payment == payment]
        movement = Freeze(**self.common(it), entry_ids=[self.ids[it.who][n] for n in bought], frozen=frozen)
        return movement, lambda plain: plain.freeze([plain.entries[n].grants_lot for n in bought], frozen)

    def make_lapse(self, it: Wish, plain: PlainAccount) -> Any:
        return Expire(**self.common(it)), lambda plain: plain.expire()

    # --- the tables

    def compare_tables(self) -> None:
        for who, plain in enumerate(self.plain):
            rows = database.read(ACCOUNT, [self.apps[who], self.names[who]])
            if rows:
                self.compare_account(who, plain, *rows[0])
            else:
                assert not plain.entries

    def compare_account(self, who: int, plain: PlainAccount, id: int, *row: int) -> None:
        lots = database.read(LOTS, [id])
        assert [lot[1:] for lot in lots] == [
            (lot.granted, lot.remaining, lot.held, lot.expired, lot.frozen, bool(lot.remaining or lot.held), ends(lot))
            for lot in plain.lots
        ]
        position = {lot[0]: n for n, lot in enumerate(lots)} | {None: None}
        entries = database.read(ENTRIES, [id])
        found = [(type, amount, parts_of(parts, position)) for _, type, amount, parts in entries]
        assert found == [(it.type, it.amount, sorted(it.parts, key=by_lot)) for it in plain.entries]
        self.ids[who] = [entry for entry, *_ in entries]
        assert row == (plain.book, plain.held, plain.debt, len(plain.entries))

    def teardown(self) -> None:
        if hasattr(self, "now"):
            assert failures(self.now) == {}


ACCOUNT = "SELECT id, balance, held, debt, seq FROM account WHERE app = %s AND customer = %s"
LOTS = """
SELECT id, granted, remaining, held, lapsed, frozen, open, expires_at FROM lot WHERE account_id = %s ORDER BY id
"""
ENTRIES = """
SELECT id, type, amount,
       ARRAY(SELECT ARRAY[x.lot_id, x.amount] FROM allocation AS x WHERE x.entry_id = e.id)
FROM entry AS e WHERE account_id = %s ORDER BY seq
"""


def ends(lot: PlainLot) -> datetime | None:
    return None if lot.expires_at == FOREVER else lot.expires_at


def by_lot(part: tuple[int | None, int]) -> tuple[bool, int, int]:
    lot, units = part
    return lot is None, lot or 0, units


def parts_of(parts: list[list[Any]], position: dict[int | None, int | None]) -> list[tuple[int | None, int]]:
    return sorted(((position[lot], units) for lot, units in parts), key=by_lot)


@pytest.mark.usefixtures("kernel")
def test_the_kernel_does_what_the_plain_ledger_does() -> None:
    run_state_machine_as_test(Kernel)
