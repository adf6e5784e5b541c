"""Driving the kernel in tests: apps of every policy, short ways to post, and what the tables say afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest

from models import database
from models.catalog import catalog
from models.catalog.apps import Alerts, App, CheckoutRules
from models.catalog.catalog import Catalog
from models.catalog.provider_accounts import PayPalAccount, StripeAccount
from models.ledger import post as ledger
from models.ledger.verify import verify
from models.planning.movements import (
    Capture,
    Clawback,
    Expire,
    Extend,
    Freeze,
    Grant,
    Hold,
    Movement,
    Outcome,
    Release,
    Reverse,
    Take,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
BURN_ORDERS = ("expiring_first", "largest_first", "oldest_first")
SHORTFALLS = ("partial", "debt", "reject")
GRACE = timedelta(days=7)
ADA, BO, CY = "ada", "bo", "cy"


def day(number: float) -> datetime:
    """So many days after the start."""
    return START + timedelta(days=number)


def slug(burn: str = "expiring_first", shortfall: str = "partial", grace: bool = False) -> str:
    """The app of this policy."""
    return f"{burn}-{shortfall}" + ("-grace" if grace else "")


APP = slug()
PATIENT = slug(grace=True)


def _app(burn: Any, shortfall: Any, grace: bool) -> App:
    return App(
        slug=slug(burn, shortfall, grace),
        name="A kernel's app",
        unit="credit",
        provider="stripe",
        burn_order=burn,
        on_shortfall=shortfall,
        packs={},
        rates={},
        plans={},
        sessions=None,
        alerts=Alerts(),
        refund_grace=GRACE if grace else timedelta(0),
        checkout=CheckoutRules(),
        stripe=StripeAccount(),
        paypal=PayPalAccount(),
    )


APPS = [_app(burn, rule, grace) for burn in BURN_ORDERS for rule in SHORTFALLS for grace in (False, True)]


@pytest.fixture
def kernel(db: str) -> Iterator[str]:
    """An empty ledger under a catalog that has an app of every policy."""
    catalog.use(Catalog({app.slug: app for app in APPS}))
    yield db
    catalog.use(None)


def post(*movements: Movement, at: datetime = START) -> list[Outcome]:
    """Post the movements in one transaction."""
    return database.transaction(lambda conn: ledger.post(conn, movements, now=at))


def grant(units: int, *, to: str = ADA, app: str = APP, at: datetime = START, **more: Any) -> int:
    """A grant; returns its entry."""
    named: dict[str, Any] = {"type": "bonus", "source": "gift", **more}
    return applied(post(Grant(app=app, customer=to, units=units, **named), at=at)[0])


def take(units: int, *, of: str = ADA, app: str = APP, at: datetime = START, **more: Any) -> Outcome:
    """A deduction."""
    return post(Take(app=app, customer=of, units=units, **more), at=at)[0]


def hold(
    units: int, key: str = "hold:h", *, of: str = ADA, app: str = APP, at: datetime = START, **more: Any
) -> Outcome:
    """A hold for an hour."""
    named: dict[str, Any] = {"expires_at": at + timedelta(hours=1), **more}
    return post(Hold(app=app, customer=of, key=key, units=units, **named), at=at)[0]


def extend(units: int, key: str = "hold:h", *, of: str = ADA, app: str = APP, at: datetime = START) -> Outcome:
    """A hold that is to grow to so many units."""
    return post(Extend(app=app, customer=of, hold_key=key, units=units), at=at)[0]


def capture(
    units: int | None = None, key: str = "hold:h", *, of: str = ADA, app: str = APP, at: datetime = START, **more: Any
) -> Outcome:
    """The end of a hold that is spent."""
    return post(Capture(app=app, customer=of, hold_key=key, units=units, **more), at=at)[0]


def release(key: str = "hold:h", *, of: str = ADA, app: str = APP, at: datetime = START, **more: Any) -> Outcome:
    """The end of a hold that is given up."""
    return post(Release(app=app, customer=of, hold_key=key, **more), at=at)[0]


def refund(
    entry: int, units: int | None = None, *, of: str = ADA, app: str = APP, at: datetime = START, **more: Any
) -> Outcome:
    """A deduction given back, all of what is left or some units."""
    return post(Reverse(app=app, customer=of, entry_id=entry, units=units, **more), at=at)[0]


def claw(entry: int, target: int, *, of: str = ADA, app: str = APP, at: datetime = START) -> Outcome:
    """Bring what was clawed back of a grant to `target`."""
    return post(Clawback(app=app, customer=of, entry_id=entry, target_units=target), at=at)[0]


def freeze(*entries: int, frozen: bool = True, of: str = ADA, app: str = APP, at: datetime = START) -> Outcome:
    """Freeze or thaw the lots of these grants."""
    return post(Freeze(app=app, customer=of, entry_ids=entries, frozen=frozen), at=at)[0]


def expire(*, of: str = ADA, app: str = APP, at: datetime = START) -> Outcome:
    """Lapse what has expired."""
    return post(Expire(app=app, customer=of), at=at)[0]


def applied(outcome: Outcome) -> int:
    """The entry of an outcome that must have been applied with one."""
    assert outcome.status == "applied", outcome
    assert outcome.entry_id
    return outcome.entry_id


def report(received: datetime, *, of: str = ADA, app: str = APP, dead: bool = False) -> None:
    """A usage report that waits to be settled."""
    database.connection().execute(
        """WITH stored AS (
               INSERT INTO usage_report (app, external_id, customer, rate, quantity, received_at, state)
               SELECT %(app)s, gen_random_uuid(), %(of)s, 'call', 1, %(at)s, %(state)s
               RETURNING id)
           INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at, dead)
           SELECT id, %(app)s, %(of)s, 0, %(at)s, %(at)s, %(dead)s FROM stored""",
        {"app": app, "of": of, "at": received, "dead": dead, "state": "dead" if dead else "pending"},
    )


def unqueue() -> None:
    """Take every report off the queue, as a drain does before it posts."""
    database.connection().execute("DELETE FROM usage_queue; DELETE FROM usage_report WHERE state = 'pending'")


class Account(NamedTuple):
    """The account's row: book balance, units in holds, debt."""

    balance: int
    held: int
    debt: int


def account(of: str = ADA, app: str = APP) -> Account:
    """What the account's row says."""
    sql = "SELECT balance, held, debt FROM account WHERE app = %s AND customer = %s"
    return Account(*database.read(sql, [app, of])[0])


def remaining(of: str = ADA, app: str = APP) -> list[int]:
    """What remains in each lot, oldest first."""
    return [units for (units,) in _of_lots("remaining", of, app)]


def expiries(of: str = ADA, app: str = APP) -> list[datetime | None]:
    """When each lot expires, oldest first."""
    return [at for (at,) in _of_lots("expires_at", of, app)]


def _of_lots(columns: str, of: str, app: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT lot.{columns} FROM lot JOIN account ON account.id = account_id WHERE app = %s AND customer = %s"
    return database.read(sql + " ORDER BY lot.id", [app, of])


def entries(of: str = ADA, app: str = APP) -> list[tuple[str, int]]:
    """(type, amount) of the account's entries, in order."""
    sql = """SELECT type, amount FROM entry JOIN account ON account.id = account_id
             WHERE account.app = %s AND customer = %s ORDER BY entry.seq"""
    return database.read(sql, [app, of])


def allocations(entry: int) -> list[tuple[int | None, int]]:
    """(lot counted from 0, or None for the debt; amount) of an entry, by lot, the debt last."""
    sql = """SELECT x.lot_id, (SELECT count(*) FROM lot WHERE account_id = e.account_id AND id < x.lot_id),
                    sum(x.amount)
             FROM allocation AS x JOIN entry AS e ON e.id = x.entry_id WHERE e.id = %s
             GROUP BY e.account_id, x.lot_id ORDER BY x.lot_id NULLS LAST"""
    return [(None if lot is None else at, int(amount)) for lot, at, amount in database.read(sql, [entry])]


def last_entry() -> int:
    """The entry that was posted last."""
    return int(database.read("SELECT max(id) FROM entry")[0][0])


def failures(at: datetime = START) -> dict[int, list[str]]:
    """What `verify` finds wrong, by the number of the check; nothing when all is well."""
    checks = verify(database.connection(), now=at, alarm_age=timedelta(days=365))
    return {check.number: check.failures for check in checks if not check.ok}
