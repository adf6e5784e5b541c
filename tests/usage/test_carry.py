"""Rates with rounding = "carry": the fraction of a unit stays with the customer and rate, in any way usage comes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from jobs import usage
from jobs.ledger import charges, holds, quotes, refunds
from jobs.sessions import sessions
from models import clock, database
from models.catalog import catalog
from models.catalog.apps import Rate, Sessions
from models.errors import Conflict, InsufficientBalance, NotFound
from models.ledger import entries, explain
from models.ledger.verify import verify
from models.usage import queue, reports
from tests.support.cast import ADA, BO, app, balance, give, settle_all
from tests.support.killed import killed_at

pytestmark = pytest.mark.usefixtures("db")
SLUG = "ai-services"


@pytest.fixture(autouse=True)
def books_add_up(db: str, now: datetime) -> Iterator[None]:
    """Whatever a test did, `verify` finds nothing wrong."""
    yield
    assert failures(now) == []


def failures(now: datetime, slug: str | None = None) -> list[str]:
    checks = verify(database.connection(), now=now, app=slug, alarm_age=timedelta(days=365))
    return [text for check in checks for text in check.failures]


def token(number: int, quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": f"call-{number}", "customer": ADA, "rate": "gpt4", "quantity": quantity, **more}


def accept(*given: dict[str, Any], now: datetime) -> None:
    assert usage.accept(app(), given, now=now) == (len(given), 0)


def charge(number: int, quantity: int = 1, *, now: datetime, **more: Any) -> dict[str, Any]:
    body = {"id": f"charge-{number}", "customer": ADA, "rate": "gpt4", "quantity": quantity, **more}
    return charges.charge(app(), body, now=now)[0]


def carried(customer: str = ADA, rate: str = "gpt4") -> tuple[int, str]:
    """(units charged, the fraction paid ahead), as `explain` shows them."""
    shown = explain.for_customer(app(), customer, now=datetime.now().astimezone())["carried"][rate]
    return shown["charged"], shown["ahead"]


def use_rate(slug: str = SLUG, **terms: Any) -> None:
    """A catalog with one rate replaced, or dropped if it has no terms."""
    whole = catalog.current()
    rates = {**whole.apps[slug].rates}
    rate = replace(rates.pop("gpt4", Rate("gpt4", 60)), **terms)
    if terms:
        rates["gpt4"] = rate
    catalog.use(catalog.Catalog({**whole.apps, slug: replace(whole.apps[slug], rates=rates)}))


def test_a_thousand_reports_of_a_token_cost_sixty(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(*[token(n) for n in range(1000)], now=now)
    settle_all(now=now)
    assert (balance(ADA), carried()) == (40, (60, "0"))


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_size_of_the_batches_changes_nothing(batch: int, now: datetime) -> None:
    give(ADA, 100, now=now)
    give(BO, 100, now=now)
    accept(*[token(n, customer=ADA if n % 2 else BO) for n in range(200)], now=now)
    while usage.settle(now=now, limit=batch):
        pass
    assert (balance(ADA), balance(BO)) == (94, 94)


def test_each_report_is_told_what_it_was_charged_and_all_add_up(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(*[token(n, 10) for n in range(5)], now=now)
    settle_all(now=now)
    shown = [reports.get(SLUG, f"call-{n}") for n in range(5)]
    assert [(row["units"], row["shortfall"]) for row in shown] == [(1, 0), (1, 0), (0, 0), (1, 0), (0, 0)]
    assert [row["entry"] is None for row in shown] == [False, False, True, False, True]


def test_one_large_report_costs_what_it_costs_with_each(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(token(1, 1000), token(2, 1), now=now)
    settle_all(now=now)
    assert (reports.get(SLUG, "call-1")["units"], reports.get(SLUG, "call-2")["units"]) == (60, 1)


def test_customers_and_rates_carry_apart(now: datetime) -> None:
    give(ADA, 100, now=now)
    give(BO, 100, now=now)
    accept(token(1), token(2, rate="gpt35"), token(3, customer=BO), now=now)
    settle_all(now=now)
    assert (balance(ADA), balance(BO)) == (98, 99)


def test_charges_and_reports_share_the_fraction(now: datetime) -> None:
    give(ADA, 100, now=now)
    answer = charge(1, 10, now=now)
    assert (answer["units"], answer["balance"]) == (1, 99)
    accept(token(1, 6), now=now)
    settle_all(now=now)
    assert (balance(ADA), carried()) == (99, (1, "1/25"))
    assert charge(2, 1, now=now)["units"] == 1


def test_a_charge_that_costs_nothing_now_has_no_entry_and_is_carried(now: datetime) -> None:
    give(ADA, 100, now=now)
    charge(1, 1, now=now)
    answer = charge(2, 15, now=now)
    assert (answer["units"], answer["entry"]) == (0, None)
    assert carried() == (1, "1/25")


def test_a_repeated_charge_is_carried_once(now: datetime) -> None:
    give(ADA, 100, now=now)
    first = charge(1, 10, now=now)
    assert charge(1, 10, now=now) == first
    charge(2, 6, now=now)
    assert charge(2, 6, now=now)["units"] == 0
    assert carried() == (1, "1/25")
    with pytest.raises(Conflict):
        charge(2, 7, now=now)


def test_a_refused_charge_is_not_carried(now: datetime) -> None:
    give(ADA, 1, now=now)
    charge(1, 10, now=now)
    with pytest.raises(InsufficientBalance) as refused:
        charge(2, 10, now=now)
    assert refused.value.extra["required"] == 1
    assert charge(3, 6, now=now)["units"] == 0


def test_a_shortfall_is_priced_with_the_carry(now: datetime) -> None:
    give(ADA, 1, now=now)
    accept(*[token(n, 30) for n in range(3)], now=now)
    settle_all(now=now)
    shown = [reports.get(SLUG, f"call-{n}") for n in range(3)]
    assert [(row["state"], row["units"], row["shortfall"]) for row in shown] == [
        ("settled", 1, 1),
        ("settled", 0, 2),
        ("settled", 0, 2),
    ]
    assert carried() == (6, "3/5")


def test_a_refused_report_is_carried_when_it_is_replayed(now: datetime) -> None:
    whole = catalog.current()
    catalog.use(catalog.Catalog({**whole.apps, SLUG: replace(whole.apps[SLUG], on_shortfall="reject")}))
    accept(token(1, 10), now=now)
    settle_all(now=now)
    assert reports.get(SLUG, "call-1")["state"] == "refused"
    give(ADA, 10, now=now)
    accept(token(2, 10), now=now)
    settle_all(now=now)
    assert carried() == (1, "2/5")
    usage.replay(app(), "call-1", now=now)
    settle_all(now=now)
    assert (reports.get(SLUG, "call-1")["units"], balance(ADA), carried()) == (1, 8, (2, "4/5"))


def test_a_refund_returns_units_and_the_sum_stays(now: datetime) -> None:
    give(ADA, 10, now=now)
    entry = charge(1, 10, now=now)["entry"]
    refunds.refund(app(), {"id": "r", "entry": entry, "reason": "sorry"}, now=now)
    assert (balance(ADA), carried()) == (10, (1, "2/5"))
    accept(token(1, 6), now=now)
    settle_all(now=now)
    assert (reports.get(SLUG, "call-1")["units"], balance(ADA)) == (0, 10)


def test_the_entry_and_explain_show_the_fraction(now: datetime) -> None:
    give(ADA, 10, now=now)
    charge(1, 10, now=now)
    entry = charge(2, 10, now=now, metadata={"chat": 7})["entry"]
    part = {"gpt4": {"units": 1, "before": "2/5", "after": "4/5"}}
    assert entries.get(SLUG, entry)["metadata"] == {
        "rate": "gpt4",
        "quantity": 10,
        "price": [60, 1000, 0],
        "rounding": "carry",
        "carried": part,
        "chat": 7,
    }
    shown = explain.for_customer(app(), ADA, now=now)
    assert shown["lots"][0]["took"][-1]["carried"] == part
    assert shown["carried"] == {"gpt4": {"charged": 2, "used": "6/5", "ahead": "4/5"}}


def test_a_quote_is_what_the_next_charge_costs(now: datetime) -> None:
    give(ADA, 10, now=now)
    charge(1, 10, now=now)
    quote = quotes.quote(app(), ADA, {"rate": "gpt4", "quantity": 6}, now=now)
    assert quote == {"units": 0, "available": 9, "enough": True, "rounded_up": 1, "carried": {"gpt4": "2/5"}}
    assert charge(2, 6, now=now)["units"] == 0
    quote = quotes.quote(app(), ADA, {"lines": [{"rate": "gpt4", "quantity": n} for n in (1, 16)]}, now=now)
    assert (quote["units"], quote["rounded_up"], quote["carried"]) == (1, 2, {"gpt4": "1/25"})


def test_a_hold_rounds_up_and_its_capture_leaves_the_sum(now: datetime) -> None:
    give(ADA, 10, now=now)
    charge(1, 10, now=now)
    body = {"id": "h", "customer": ADA, "rate": "gpt4", "quantity": 1}
    assert holds.create(app(), body, now=now)[0]["units"] == 1
    assert holds.capture(app(), "h", {}, now=now)["units"] == 1
    assert (balance(ADA), carried()) == (8, (1, "2/5"))


def test_a_new_price_keeps_the_fraction_exactly(now: datetime) -> None:
    give(ADA, 100, now=now)
    charge(1, 10, now=now)
    use_rate(units=1, per=7)
    assert charge(2, 1, now=now)["units"] == 0
    assert carried() == (1, "9/35")
    use_rate(units=60, per=1000)
    assert charge(3, 4, now=now)["units"] == 0
    assert carried() == (1, "3/175")
    assert charge(4, 1, now=now)["units"] == 1


def test_an_accepted_report_keeps_its_terms(now: datetime) -> None:
    give(ADA, 2000, now=now)
    accept(token(1, 10), token(2, 3, rate="sms"), now=now)
    use_rate(units=1000, per=1, rounding="each")
    accept(token(3, 1), now=now)
    use_rate()
    settle_all(now=now)
    assert [reports.get(SLUG, f"call-{n}")["units"] for n in (1, 2, 3)] == [1, 3, 1000]
    assert carried() == (1, "2/5")


def test_terms_outlive_a_death_and_a_replay(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    give(ADA, 100, now=now)
    accept(token(1, 10), now=now)
    real = usage._movement

    def broken(it: queue.Report) -> Any:
        raise RuntimeError("poison")

    monkeypatch.setattr(usage, "_movement", broken)
    for hours in range(0, 24, 2):
        settle_all(now=now + timedelta(hours=hours))
    assert reports.get(SLUG, "call-1")["state"] == "dead"
    monkeypatch.setattr(usage, "_movement", real)
    use_rate(units=1000)
    usage.replay(app(), "call-1", now=now)
    settle_all(now=now)
    assert (reports.get(SLUG, "call-1")["units"], carried()) == (1, (1, "2/5"))


def test_a_report_that_is_repeated_under_a_new_price_keeps_the_first(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(token(1, 10), now=now)
    use_rate(units=1000)
    assert usage.accept(app(), [token(1, 10)], now=now) == (0, 1)
    settle_all(now=now)
    assert reports.get(SLUG, "call-1")["units"] == 1


def test_a_report_of_an_earlier_version_is_priced_when_it_settles(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(token(1, 1), token(2, 101), now=now)
    database.write("UPDATE usage_report SET price = NULL")
    use_rate(units=120)
    settle_all(now=now)
    assert [reports.get(SLUG, f"call-{n}")["units"] for n in (1, 2)] == [1, 13]
    assert explain.for_customer(app(), ADA, now=now)["carried"] == {}


def test_a_report_of_an_earlier_version_whose_rate_is_gone_dies_and_can_be_replayed(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(token(1, 1), now=now)
    database.write("UPDATE usage_report SET price = NULL")
    use_rate()
    for hours in range(0, 24, 2):
        settle_all(now=now + timedelta(hours=hours))
    assert "no longer has the rate 'gpt4'" in reports.get(SLUG, "call-1")["error"]
    catalog.use(None)
    usage.replay(app(), "call-1", now=now)
    settle_all(now=now)
    assert reports.get(SLUG, "call-1")["units"] == 1


@pytest.mark.parametrize("at", ["usage-before-take", "usage-before-post", "usage-after-post", "usage-before-commit"])
def test_a_drain_that_is_cut_off_carries_nothing(at: str, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    give(ADA, 100, now=now)
    accept(*[token(n, 10) for n in range(7)], now=now)

    def cut(point: str) -> None:
        if point == at:
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(usage, "crashpoint", cut)
    with pytest.raises(Exception, match=r"lost|unavailable|reached"):
        settle_all(now=now)
    monkeypatch.undo()
    database.release()
    for hours in range(0, 8, 2):
        settle_all(now=now + timedelta(hours=hours))
    assert (balance(ADA), carried()) == (95, (5, "4/5"))


DRAIN = """
import bootstrap
from models import clock, database
from jobs import usage
from settings import settings
database.bind(settings.database_url)
usage.settle(now=clock.now())
"""


@pytest.mark.parametrize("point", ["usage-after-post", "usage-before-commit"])
def test_a_drain_that_is_killed_carries_nothing(point: str) -> None:
    give(ADA, 100, now=clock.now())
    accept(*[token(n, 10) for n in range(7)], now=clock.now())
    killed_at(point, "-c", DRAIN)
    assert database.read("SELECT count(*) FROM carry") == [(0,)]
    for hours in range(0, 8, 2):
        settle_all(now=clock.now() + timedelta(hours=hours))
    assert (balance(ADA), carried()) == (95, (5, "4/5"))


def test_drains_and_charges_at_once_carry_each_token_once(now: datetime) -> None:
    give(ADA, 10_000, now=now)
    for chunk in range(5):
        accept(*[token(chunk * 100 + n, rate=("gpt4", "gpt35")[n % 2]) for n in range(100)], now=now)

    def work(number: int) -> None:
        try:
            if number % 2:
                for index in range(25):
                    charge(number * 100 + index, now=now)
            while usage.settle(now=now, limit=37):
                pass
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    settle_all(now=now)
    assert balance(ADA) == 10_000 - 21 - 1, "350 tokens of gpt4 are 21 units, 250 of gpt35 are half a unit"


def test_the_statements_of_a_batch_do_not_depend_on_its_size(now: datetime) -> None:
    """And a batch without a carried rate runs the same ones as ever: none for carried totals."""
    give(ADA, 100_000, now=now)
    counted = {}
    for name, rate, size in (
        ("each", "sms", 3),
        ("each, many", "sms", 300),
        ("carry", "gpt4", 3),
        ("many", "gpt4", 300),
    ):
        accept(*[{**token(n, 20, rate=rate), "id": f"{name}-{n}"} for n in range(size)], now=now)
        with Statements() as ran:
            assert usage.settle(now=now) == size
        counted[name] = len(ran)
        assert any("carry" in sql for sql in ran) == (rate == "gpt4")
    assert counted["each"] == counted["each, many"] == 16
    assert counted["carry"] == counted["many"] == 18


def test_accepting_is_one_statement(now: datetime) -> None:
    with Statements() as ran:
        accept(*[token(n) for n in range(300)], {"id": "l", "customer": ADA, "lines": [_line("sms", 1)]}, now=now)
    assert len(ran) == 1


class Statements:
    """The statements that the thread's connection runs in the block."""

    def __enter__(self) -> list[str]:
        self.ran: list[str] = []
        self.patch = pytest.MonkeyPatch()
        real = psycopg.Connection.execute

        def execute(conn: Any, query: Any, *args: Any, **options: Any) -> Any:
            self.ran.append(str(query))
            return real(conn, query, *args, **options)

        self.patch.setattr(psycopg.Connection, "execute", execute)
        return self.ran

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def _line(rate: str, quantity: int) -> dict[str, Any]:
    return {"rate": rate, "quantity": quantity}


# --- metered sessions


@pytest.fixture
def talking(db: str) -> str:
    """An app whose sessions are metered at a carried rate: a credit for each 60 seconds."""
    whole = catalog.current()
    rate = Rate("talk", 1, 60, "second", rounding="carry")
    terms = Sessions(
        rate="talk",
        charge=None,
        minimum_balance=1,
        reserve=timedelta(minutes=5),
        concurrent=1,
        cooldown=timedelta(0),
        first_free=0,
        requires_tier=None,
        wait_timeout=timedelta(hours=1),
        heartbeat_timeout=timedelta(minutes=2),
        max_duration=timedelta(hours=2),
    )
    changed = replace(whole.apps[SLUG], rates={**whole.apps[SLUG].rates, "talk": rate}, sessions=terms)
    catalog.use(catalog.Catalog({**whole.apps, SLUG: changed}))
    return SLUG


def talk(number: int, seconds: int, now: datetime) -> dict[str, Any]:
    started, _ = sessions.start(app(), {"id": f"s{number}", "customer": ADA}, now=now)
    assert started["state"] == "active"
    return sessions.end(app(), f"s{number}", {"seconds": seconds}, now=now)


def test_sessions_of_twenty_seconds_cost_a_minute_together(talking: str, now: datetime) -> None:
    give(ADA, 10, now=now)
    ended = [talk(number, 20, now) for number in range(4)]
    assert [answer["units"] for answer in ended] == [1, 0, 0, 1]
    assert (balance(ADA), carried(rate="talk")) == (8, (2, "2/3"))


def test_a_repeated_end_is_carried_once(talking: str, now: datetime) -> None:
    give(ADA, 10, now=now)
    first = talk(1, 20, now)
    assert sessions.end(app(), "s1", {"seconds": 20}, now=now) == first
    assert carried(rate="talk") == (1, "2/3")


def test_a_session_that_outlasts_the_balance_is_carried_with_its_shortfall(talking: str, now: datetime) -> None:
    give(ADA, 2, now=now)
    ended = talk(1, 150, now)
    assert (ended["units"], ended["shortfall"], carried(rate="talk")) == (2, 1, (3, "1/2"))


def test_a_session_keeps_the_terms_that_it_started_with(talking: str, now: datetime) -> None:
    give(ADA, 10, now=now)
    sessions.start(app(), {"id": "s1", "customer": ADA}, now=now)
    whole = catalog.current()
    dear = {**whole.apps[SLUG].rates, "talk": Rate("talk", 5, 1, "second")}
    catalog.use(catalog.Catalog({**whole.apps, SLUG: replace(whole.apps[SLUG], rates=dear)}))
    assert sessions.end(app(), "s1", {"seconds": 20}, now=now)["units"] == 1
    assert carried(rate="talk") == (1, "2/3")


# --- lost commits and killed processes leave all or nothing; what is altered is found


def _by_hand(sql: str) -> None:
    conn = database.connection()
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(sql)


ALTERED = {
    "UPDATE carry SET charged = charged + 1": "UPDATE carry SET charged = charged - 1",
    "UPDATE carry SET numerator = numerator + 1": "UPDATE carry SET numerator = numerator - 1",
    "UPDATE carry SET unlisted = unlisted + 1": "UPDATE carry SET unlisted = unlisted - 1",
    "UPDATE carry SET denominator = denominator * 2": "UPDATE carry SET denominator = denominator / 2",
    "UPDATE carry SET rate = 'claude'": "UPDATE carry SET rate = 'gpt4'",
    "UPDATE carry SET account_id = account_id + 7": "UPDATE carry SET account_id = account_id - 7",
    "UPDATE usage_report SET quantity = quantity + 1 WHERE external_id = 'call-1'": (
        "UPDATE usage_report SET quantity = quantity - 1 WHERE external_id = 'call-1'"
    ),
    "UPDATE usage_report SET shortfall = 1 WHERE external_id = 'call-2'": "UPDATE usage_report SET shortfall = 0",
    "UPDATE usage_report SET price = '[61, 1000, \"carry\"]' WHERE external_id = 'call-1'": (
        "UPDATE usage_report SET price = '[60, 1000, \"carry\"]' WHERE external_id = 'call-1'"
    ),
    "UPDATE entry SET meta = jsonb_set(meta, '{quantity}', '11') WHERE key = 'charge:charge-1'": (
        "UPDATE entry SET meta = jsonb_set(meta, '{quantity}', '10') WHERE key = 'charge:charge-1'"
    ),
}


@pytest.mark.parametrize("altered", ALTERED)
def test_a_row_that_was_altered_is_named(altered: str, now: datetime) -> None:
    give(ADA, 100, now=now)
    charge(1, 10, now=now)
    charge(2, 3, now=now)
    lines = [_line("gpt4", 10), _line("sms", 2)]
    accept(token(1, 10), token(2, 2), {"id": "both", "customer": ADA, "lines": lines}, now=now)
    settle_all(now=now)
    assert failures(now) == failures(now, SLUG) == []
    _by_hand(altered)
    assert failures(now) != []
    assert failures(now, SLUG) != []
    assert failures(now, "songs") == []
    _by_hand(ALTERED[altered])


def test_a_total_that_is_missing_is_named(now: datetime) -> None:
    give(ADA, 100, now=now)
    charge(1, 10, now=now)
    _by_hand("CREATE TABLE kept AS TABLE carry; DELETE FROM carry")
    assert len(failures(now)) == 2
    _by_hand("INSERT INTO carry TABLE kept; DROP TABLE kept")


def test_no_customer_has_carried_anything_at_first(now: datetime) -> None:
    assert quotes.quote(app(), "stranger", _line("gpt4", 1), now=now)["carried"] == {"gpt4": "0"}
    with pytest.raises(NotFound):
        reports.get(SLUG, f"call-{random.random()}")
