"""Reports, against figures that were worked out by hand."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from jobs import usage
from jobs.ledger import charges, holds, refunds
from models import database
from models.errors import Invalid
from models.planning.movements import Take
from models.reports import liability
from models.reports import margin as reports_margin
from models.reports import revenue as reports_revenue
from models.reports import usage as reports_usage
from models.reports.periods import Span, amount, share
from tests.support.cast import ADA, BO, CY, app, deliver, give, post, settle_all
from tests.support.providers.stripe_events import event, invoice, subscription
from tests.support.sales import buy, claw, returned
from tests.support.web_calls import OTHER_KEY, bearer, fields

SONGS = OTHER_KEY
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def revenue(**span: Any) -> dict[str, Any]:
    return reports_revenue.summary(app("songs"), Span(app="songs", **span))


def by(group: Any, limit: int | None = None, **span: Any) -> list[tuple[str, str, str, int]]:
    """(key, currency, net, payments) of each group."""
    rows = reports_revenue.groups(Span(app="songs", **span), group, limit=limit)
    return [(row["key"], row["currency"], str(row["net"]), row["payments"]) for row in rows]


def used(group: Any, slug: str = "songs", limit: int | None = None, **span: Any) -> list[tuple[str, int, int]]:
    rows = reports_usage.groups(Span(app=slug, **span), group, limit=limit)
    return [(row["key"], row["units"], row["reports"]) for row in rows]


def margin(slug: str = "songs", **span: Any) -> dict[str, tuple[Any, ...]]:
    """(currency, units, revenue, cost, margin) by rate, where each has one currency."""
    rows = reports_margin.rates(app(slug), Span(app=slug, **span))
    texts = [{name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()} for row in rows]
    return {row["rate"]: (row["currency"], row["units"], row["revenue"], row["cost"], row["margin"]) for row in texts}


def charge(customer: str, rate: str, quantity: int, key: str, now: datetime, slug: str = "songs") -> int:
    body = {"id": key, "customer": customer, "rate": rate, "quantity": quantity}
    return int(charges.charge(app(slug), body, now=now)[0]["entry"])


def give_back(entry_id: int, key: str, now: datetime, units: int | None = None, slug: str = "songs") -> None:
    refunds.refund(app(slug), {"id": key, "entry": entry_id, "units": units, "reason": "sorry"}, now=now)


def sell(now: datetime) -> None:
    """Three customers and five payments, one of them in yen; one given back, one disputed in part."""
    buy(ADA, "starter", "1", now=utc("2026-01-31T23:30"), amount_total=499)
    buy(BO, "popular", "2", now=utc("2026-02-10T08:00"), amount_total=1999)
    buy(CY, "starter", "3", now=utc("2026-02-10T09:00"), amount_total=499)
    buy(CY, "pro", "4", now=utc("2026-03-01T00:00"), amount_total=5200, currency="jpy")
    buy(ADA, "starter", "5", now=utc("2026-03-02T12:00"), amount_total=503)
    claw(CY, "3", 100, now=now)
    returned("3", state="refunded", refunded_minor=499)
    returned("2", state="disputed", disputed_minor=1000)
    buy(BO, "starter", "6", now=utc("2026-02-11T08:00"), payment_status="unpaid", amount_total=499)


# --- revenue


def test_nothing_sold_is_no_currency_at_all(db):
    assert revenue() == {"currencies": {}, "most_popular_pack": None, "mrr": []}
    assert by("month") == by("customer") == []


def test_revenue_by_currency(db, now):
    sell(now)
    told = revenue()
    # 4.99 + 19.99 + 4.99 + 5.03 = 35.00; ÷ 4 = 8.75; 4.99 ÷ 35 = 0.14257
    assert told["currencies"]["usd"] == {
        "gross": Decimal("35.00"),
        "refunded": Decimal("4.99"),
        "disputed": Decimal("10.00"),
        "net": Decimal("20.01"),
        "payments": 4,
        "average": Decimal("8.75"),
        "refund_rate": Decimal("0.1426"),
    }
    assert {name: str(value) for name, value in told["currencies"]["jpy"].items()} == {
        "gross": "5200",
        "refunded": "0",
        "disputed": "0",
        "net": "5200",
        "payments": "1",
        "average": "5200",
        "refund_rate": "0.00",
    }
    assert told["most_popular_pack"] == "starter"


def test_a_span_includes_its_start_and_not_its_end(db, now):
    sell(now)
    february = revenue(since=utc("2026-02-10T08:00"), until=utc("2026-03-01T00:00"))
    assert list(february["currencies"]) == ["usd"]
    assert february["currencies"]["usd"]["gross"] == Decimal("24.98")
    assert february["most_popular_pack"] == "popular"
    assert by("day", since=utc("2026-03-01T00:00")) == [
        ("2026-03-01", "jpy", "5200", 1),
        ("2026-03-02", "usd", "5.03", 1),
    ]


def test_revenue_by_month_pack_and_customer(db, now):
    sell(now)
    assert by("month") == [
        ("2026-01", "usd", "4.99", 1),
        ("2026-02", "usd", "9.99", 2),
        ("2026-03", "jpy", "5200", 1),
        ("2026-03", "usd", "5.03", 1),
    ]
    assert by("pack") == [("pro", "jpy", "5200", 1), ("popular", "usd", "9.99", 1), ("starter", "usd", "10.02", 3)]
    assert by("customer") == [
        ("cy", "jpy", "5200", 1),
        ("bo", "usd", "9.99", 1),
        ("ada", "usd", "10.02", 2),
        ("cy", "usd", "0.00", 1),
    ]
    assert by("customer", limit=2) == by("customer")[:2]


def test_days_and_months_are_those_of_the_time_zone(db, now):
    sell(now)
    assert by("month", zone="Europe/Berlin")[0] == ("2026-02", "usd", "14.98", 3)
    assert by("month", zone="America/New_York")[1:] == [
        ("2026-02", "jpy", "5200", 1),
        ("2026-02", "usd", "9.99", 2),
        ("2026-03", "usd", "5.03", 1),
    ]


def test_a_day_has_23_hours_when_the_clocks_go_forward(db):
    # In Berlin 29 March lasts from 23:00 UTC on the 28th to 22:00 UTC on the 29th.
    for number, at in enumerate(("28T22:59", "28T23:00", "29T21:59", "29T22:00")):
        buy(ADA, "starter", str(number), now=utc(f"2026-03-{at}"), amount_total=100)
    assert by("day", zone="Europe/Berlin") == [
        ("2026-03-28", "usd", "1.00", 1),
        ("2026-03-29", "usd", "2.00", 2),
        ("2026-03-30", "usd", "1.00", 1),
    ]
    assert by("day") == [("2026-03-28", "usd", "2.00", 2), ("2026-03-29", "usd", "2.00", 2)]


def test_the_average_is_rounded_once_and_three_decimals_stay(db, now):
    for number, minor in enumerate((1000, 1001, 1001)):
        buy(ADA, "starter", str(number), now=now, amount_total=minor, currency="kwd")
    assert revenue()["currencies"]["kwd"]["average"] == Decimal("1.001")


def test_what_was_free_or_of_another_app_is_no_revenue(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=0)
    buy(ADA, "starter", "2", now=now, amount_total=1000, slug="ai-services")
    assert revenue()["currencies"] == {}
    assert by("pack") == []


@pytest.mark.parametrize(
    ("span", "field"),
    [
        ({"zone": "Mars/Olympus"}, "tz"),
        ({"zone": "<+03>-3"}, "tz"),
        ({"zone": "utc+3"}, "tz"),
        ({"zone": ""}, "tz"),
        ({"since": utc("2026-02-01T00:00"), "until": utc("2026-01-01T00:00")}, "from"),
    ],
)
def test_a_bad_span_is_refused(db, span, field):
    for report in (revenue, lambda **span: by("day", **span), lambda **span: used("day", **span), margin):
        with pytest.raises(Invalid) as refusal:
            report(**span)
        assert refusal.value.errors[0][0] == field


# --- what recurs


def subscribe(customer: str, number: str, now: datetime, *, status: str = "active", months: int = 1) -> None:
    start, end = now, now + months * timedelta(days=365) / 12
    it = subscription("songs", customer, "pro", anchor=now, start=start, end=end, number=number, status=status)
    deliver("songs", event("customer.subscription.created", it, created=now), now=now)


def pay(customer: str, number: str, now: datetime, *, minor: int = 2900, months: int = 1) -> None:
    it = invoice(
        "songs", customer, "pro", start=now, end=now + months * timedelta(days=365) / 12, number=number,
        subscription_number=number, amount_paid=minor,
    )  # fmt: skip
    deliver("songs", event("invoice.paid", it, created=now), now=now)


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        ("active", True),
        ("past_due", True),
        ("trialing", False),
        ("canceled", False),
        ("unpaid", False),
        ("paused", False),
        ("incomplete", False),
    ],
)
def test_what_recurs_is_the_price_of_plans_that_are_active_or_past_due(db, now, status, counts):
    for number in ("1", "2"):
        subscribe(ADA, number, now, status=status)
    assert revenue()["mrr"] == ([{"amount": "58.00", "currency": "usd"}] if counts else [])


def test_a_year_paid_at_once_recurs_by_the_twelfth(db, now):
    subscribe(ADA, "1", now)
    pay(ADA, "1", now)
    subscribe(BO, "2", now, months=12)
    pay(BO, "2", now, minor=29_000, months=12)
    # 29.00 + 290.00 ÷ 12 = 53.1667
    assert revenue()["mrr"] == [{"amount": "53.17", "currency": "usd"}]
    assert by("pack") == [("plan:pro", "usd", "319.00", 2)]


def test_a_plan_that_left_the_catalog_recurs_no_more(db, now):
    subscribe(ADA, "1", now)
    database.write("UPDATE subscription SET plan = 'ancient'")
    assert revenue()["mrr"] == []


# --- use


def test_use_by_rate_customer_and_day(db):
    for customer in (ADA, BO, CY):
        give(customer, 1000, now=utc("2026-03-01T00:00"), slug="songs", key=f"gift:{customer}")
    charge(ADA, "song_generation", 2, "a1", utc("2026-03-01T23:30"))  # 50
    charge(BO, "song_generation", 1, "b1", utc("2026-03-02T10:00"))  # 25
    given_back = charge(BO, "lyrics_generation", 10, "b2", utc("2026-03-02T11:00"))  # 40
    charges.charge(app("songs"), {"id": "c1", "customer": CY, "units": 60}, now=utc("2026-03-03T00:00"))
    give_back(given_back, "r1", utc("2026-03-05T00:00"), units=12)
    assert used("rate") == [("song_generation", 75, 2), ("other", 60, 1), ("lyrics_generation", 28, 1)]
    assert used("customer") == [("cy", 60, 1), ("bo", 53, 2), ("ada", 50, 1)]
    assert used("customer", limit=2) == [("cy", 60, 1), ("bo", 53, 2)]
    assert used("day") == [("2026-03-01", 50, 1), ("2026-03-02", 53, 2), ("2026-03-03", 60, 1)]
    assert used("day", zone="Asia/Tokyo") == [("2026-03-02", 103, 3), ("2026-03-03", 60, 1)]
    assert used("rate", since=utc("2026-03-02T00:00"), until=utc("2026-03-03T00:00")) == [
        ("lyrics_generation", 28, 1),
        ("song_generation", 25, 1),
    ]


def test_reports_holds_and_charges_of_a_rate_add_up_and_other_entries_do_not_count(db, now):
    services = app("ai-services")
    give(ADA, 100, now=now)
    reports = [{"id": f"u{n}", "customer": ADA, "rate": "voice_call", "quantity": 61} for n in range(2)]
    assert usage.accept(services, [{**report, "occurred_at": None} for report in reports], now=now) == (2, 0)
    settle_all(now=now)
    charge(ADA, "voice_call", 60, "c1", now, "ai-services")
    holds.create(services, {"id": "h1", "customer": ADA, "rate": "voice_call", "quantity": 600}, now=now)
    holds.capture(services, "h1", {"units": 7}, now=now)
    post(Take(app="ai-services", customer=ADA, key="adjustment:1", units=5, type="admin_adjustment"), now=now)
    assert used("rate", "ai-services") == [("voice_call", 2 + 2 + 1 + 7, 4)]
    assert used("rate", "songs") == []


def test_what_was_refunded_in_full_still_counts_as_a_report(db, now):
    give(ADA, 100, now=now, slug="songs")
    give_back(charge(ADA, "song_generation", 1, "c1", now), "r1", now)
    assert used("rate") == [("song_generation", 0, 1)]


# --- margin


def test_a_song_paid_from_a_starter_pack(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    charge(ADA, "song_generation", 1, "c1", now)
    # 25 × 4.99 ÷ 100 = 1.2475; 0.40; the difference of what is shown
    assert margin() == {"song_generation": ("usd", 25, "1.25", "0.40", "0.85")}


def test_sums_are_exact_and_rounded_once(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    for number in range(3):
        charge(ADA, "lyrics_generation", 1, f"c{number}", now)
    # 12 × 4.99 ÷ 100 = 0.5988, three times 0.20 would be 0.60 as well; 3 × 0.064 = 0.192
    assert margin() == {"lyrics_generation": ("usd", 12, "0.60", "0.19", "0.41")}
    for number in range(3, 20):
        charge(ADA, "lyrics_generation", 1, f"c{number}", now)
    # 80 × 4.99 ÷ 100 = 3.992, twenty times 0.20 would be 4.00; 20 × 0.064 = 1.28
    assert margin() == {"lyrics_generation": ("usd", 80, "3.99", "1.28", "2.71")}


def test_each_lot_counts_at_its_own_price_and_a_gift_at_none(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    buy(ADA, "popular", "2", now=now, amount_total=1999)
    give(ADA, 50, now=now, slug="songs")
    charge(ADA, "song_generation", 26, "c1", now)
    # 100 units at 4.99, 500 at 19.99, 50 at nothing; 26 × 0.40
    assert margin() == {"song_generation": ("usd", 650, "24.98", "10.40", "14.58")}


def test_a_refund_takes_its_part_out_of_revenue_and_cost(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    entry_id = charge(ADA, "song_generation", 4, "c1", now)
    give_back(entry_id, "r1", now + 40 * DAY, units=25)
    # 75 × 4.99 ÷ 100 = 3.7425; 4 songs × ¾ × 0.40; counted with the deduction, not when it was given back
    assert margin(until=now + DAY) == {"song_generation": ("usd", 75, "3.74", "1.20", "2.54")}
    assert margin(since=now + DAY) == {}
    give_back(entry_id, "r2", now)
    assert margin() == {"song_generation": ("usd", 0, "0.00", "0.00", "0.00")}


def test_two_currencies_make_two_lines_and_the_margin_is_known_where_the_cost_is_of_the_same(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=500, currency="jpy")
    buy(ADA, "starter", "2", now=now, amount_total=499)
    charge(ADA, "song_generation", 5, "c1", now)
    rows = reports_margin.rates(app("songs"), Span(app="songs"))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == [
        # 100 of 125 units: 500 yen, 4 of 5 songs
        {
            "rate": "song_generation",
            "currency": "jpy",
            "units": "100",
            "revenue": "500",
            "cost": "1.60",
            "cost_currency": "usd",
            "margin": "None",
        },
        {
            "rate": "song_generation",
            "currency": "usd",
            "units": "25",
            "revenue": "1.25",
            "cost": "0.40",
            "cost_currency": "usd",
            "margin": "0.85",
        },
    ]


def test_a_hold_captured_in_part_cost_a_part_and_use_that_found_too_little_cost_all(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    holds.create(app("songs"), {"id": "h1", "customer": ADA, "rate": "song_generation", "quantity": 4}, now=now)
    holds.capture(app("songs"), "h1", {"units": 50}, now=now)
    # 50 × 4.99 ÷ 100 = 2.495, half a cent to the even one; 4 songs × ½ × 0.40
    assert margin() == {"song_generation": ("usd", 50, "2.50", "0.80", "1.70")}
    report = {"id": "u1", "customer": ADA, "rate": "song_generation", "quantity": 3, "occurred_at": None}
    usage.accept(app("songs"), [report], now=now)
    settle_all(now=now)
    # 100 × 4.99 ÷ 100; 0.80 + 3 × 0.40 although only 2 songs' units were there
    assert margin() == {"song_generation": ("usd", 100, "4.99", "2.00", "2.99")}


def test_what_the_catalog_gives_no_cost_for_has_none(db, now):
    buy(ADA, "starter", "1", now=now, slug="ai-services")
    charge(ADA, "sms", 3, "c1", now, "ai-services")
    charges.charge(app("ai-services"), {"id": "c2", "customer": ADA, "units": 2}, now=now)
    assert margin("ai-services") == {
        "sms": ("usd", 3, "0.30", None, None),
        "other": ("usd", 2, "0.20", None, None),
    }


def test_debt_brings_no_revenue(db, now):
    buy(ADA, "starter", "1", now=now, amount_total=499)
    terms = {"rate": "song_generation", "quantity": 5, "price": [25, 1, 0]}
    movement = Take(app="songs", customer=ADA, key="usage:1", units=125, on_shortfall="debt", meta=terms)
    post(movement, now=now)
    assert margin() == {"song_generation": ("usd", 125, "4.99", "2.00", "2.99")}


# --- liability


def test_liability_is_what_may_still_be_spent_and_what_was_paid_for_it(db, now):
    slug = "voice-therapy"
    buy(ADA, "voice_15", "1", now=now, slug=slug, amount_total=999)
    buy(BO, "voice_15", "2", now=now + 5 * DAY, slug=slug, amount_total=999)
    give(CY, 7, now=now, slug=slug)
    give(CY, 9, now=now, slug="songs")
    charges.charge(app(slug), {"id": "c1", "customer": ADA, "units": 4}, now=now)
    holds.create(app(slug), {"id": "h1", "customer": BO, "units": 5}, now=now + 5 * DAY)

    def told(at: datetime) -> tuple[int, list[str], int]:
        answer = liability.outstanding(app(slug), now=at)
        assert all(money["currency"] == "usd" for money in answer["cost_basis"])
        return answer["units"], [money["amount"] for money in answer["cost_basis"]], answer["customers"]

    # 11 + 15 + 7; 9.99 × 26 ÷ 15 = 17.316
    assert told(now + 6 * DAY) == (33, ["17.32"], 3)
    # Ada's have expired, unswept
    assert told(now + 30 * DAY) == (22, ["9.99"], 2)
    # of Bo's only what is held is left: 9.99 × 5 ÷ 15
    assert told(now + 35 * DAY) == (12, ["3.33"], 2)


def test_liability_of_nothing(db, now):
    assert liability.outstanding(app("songs"), now=now) == {"units": 0, "cost_basis": [], "customers": 0}
    give(ADA, 5, now=now, slug="songs")
    assert liability.outstanding(app("songs"), now=now) == {"units": 5, "cost_basis": [], "customers": 1}


# --- amounts


def test_amounts_are_rounded_half_to_even_and_keep_their_decimals():
    assert [str(amount(Fraction(n, 2), "usd")) for n in (1, 3, -1, 200)] == ["0.00", "0.02", "0.00", "1.00"]
    assert [str(amount(1234, currency)) for currency in ("usd", "jpy", "kwd")] == ["12.34", "1234", "1.234"]
    assert [str(share(part, 3)) for part in (0, 1, 3)] == ["0.00", "0.3333", "1.00"]
    assert str(share(1, 8)) == "0.1250"


# --- over HTTP


def test_the_reports_over_http(client, now):
    sell(now)
    charge(ADA, "song_generation", 1, "c1", now)
    told = client.get("/v1/reports/revenue", headers=SONGS).json
    assert told["currencies"]["usd"]["gross"] == "35.00"
    assert told["currencies"]["usd"]["refund_rate"] == "0.1426"
    assert told["currencies"]["jpy"]["net"] == "5200"
    assert [group["key"] for group in told["groups"]] == ["2026-01", "2026-02", "2026-03", "2026-03"]
    assert told["groups"][0] == {
        "key": "2026-01",
        "currency": "usd",
        "gross": "4.99",
        "refunded": "0.00",
        "disputed": "0.00",
        "net": "4.99",
        "payments": 1,
    }
    assert told["more"] is False
    told = client.get("/v1/reports/usage?group=customer", headers=SONGS).json
    assert told == {"groups": [{"key": "ada", "units": 25, "reports": 1}], "more": False}
    (row,) = client.get("/v1/reports/margin", headers=SONGS).json["rates"]
    assert (row["revenue"], row["cost"], row["margin"]) == ("1.25", "0.40", "0.85")
    # Ada 75 of 4.99 and 100 of 5.03, Bo 500 of 19.99, Cy 1000 of 5200 yen
    assert client.get("/v1/reports/liability", headers=SONGS).json == {
        "units": 1675,
        "cost_basis": [{"amount": "5200", "currency": "jpy"}, {"amount": "28.76", "currency": "usd"}],
        "customers": 3,
    }


def test_the_query_chooses_span_zone_group_and_number(client, now):
    sell(now)
    path = "/v1/reports/revenue?from=2026-02-01T00:00:00%2B01:00&to=2026-03-01T00:00:00Z&tz=Europe/Berlin&group=day"
    told = client.get(path, headers=SONGS).json
    assert [(group["key"], group["payments"]) for group in told["groups"]] == [("2026-02-01", 1), ("2026-02-10", 2)]
    told = client.get("/v1/reports/revenue?group=customer&limit=3", headers=SONGS).json
    assert ([group["key"] for group in told["groups"]], told["more"]) == (["cy", "bo", "ada"], True)
    assert client.get("/v1/reports/revenue?group=customer&limit=4", headers=SONGS).json["more"] is False
    assert len(client.get("/v1/reports/revenue?group=month&limit=1", headers=SONGS).json["groups"]) == 4


def test_groups_are_also_csv(client, now):
    sell(now)
    answer = client.get("/v1/reports/revenue?group=pack", headers={**SONGS, "Accept": "text/csv"})
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.text.splitlines() == [
        "key,currency,gross,refunded,disputed,net,payments",
        "pro,jpy,5200,0,0,5200,1",
        "popular,usd,19.99,0.00,10.00,9.99,1",
        "starter,usd,15.01,4.99,0.00,10.02,3",
    ]
    give(ADA, 1000, now=now, slug="songs")
    database.write("UPDATE lot SET price_minor = NULL")
    charge(ADA, "song_generation", 2, "c1", now)
    for path, line in (
        ("usage", "song_generation,50,1"),
        ("margin", "song_generation,usd,50,0.00,0.80,usd,-0.80"),
    ):
        answer = client.get(f"/v1/reports/{path}", headers={**SONGS, "Accept": "text/csv"})
        assert answer.text.splitlines()[1:] == [line]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("tz=Mars/Olympus", "tz"),
        ("tz=" + "x" * 65, "tz"),
        ("group=week", "group"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=10001", "limit"),
        ("from=yesterday", "from"),
        ("to=2026-01-01", "to"),
        ("from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("tz=%00", "tz"),
    ],
)
def test_bad_requests_name_the_field(client, query, named):
    for report in ("revenue", "usage"):
        assert fields(client.get(f"/v1/reports/{report}?{query}", headers=SONGS)) == [named]
    if named in ("from", "to"):
        assert fields(client.get(f"/v1/reports/margin?{query}", headers=SONGS)) == [named]


def test_reports_are_for_operators(client):
    from models.access import keys

    reader = bearer(keys.create("songs", ["read", "write"], now=utc("2026-01-01T00:00")))
    for report in ("revenue", "usage", "margin", "liability"):
        assert client.get(f"/v1/reports/{report}", headers=reader).status_code == 403
        assert client.get(f"/v1/reports/{report}").status_code == 401


def test_every_time_zone_that_python_knows_is_answered(db):
    from zoneinfo import available_timezones

    refused = []
    for zone in sorted(available_timezones())[::40]:
        try:
            used("day", zone=zone)
        except Invalid:
            refused.append(zone)
    assert refused == []
