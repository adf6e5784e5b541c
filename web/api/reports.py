"""Reports: revenue, usage, margin and liability. docs/reports.md defines each figure."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from models.reports import liability as reports_liability
from models.reports import margin as reports_margin
from models.reports import revenue as reports_revenue
from models.reports import usage as reports_usage
from models.reports.periods import Span
from web.api.payments import Money
from web.http import csv
from web.http.call import Call
from web.http.fields import LongLimit, Query, Shape, Time
from web.http.routes import Answer, Routes

routes = Routes("Reports")

CSV = ("text/csv",)
REVENUE_COLUMNS = ("key", "currency", "gross", "refunded", "disputed", "net", "payments")
USAGE_COLUMNS = ("key", "units", "reports")
MARGIN_COLUMNS = ("rate", "currency", "units", "revenue", "cost", "cost_currency", "margin")


class SpanQuery(Query):
    since: Time | None = Field(None, alias="from", description="The start of the period, inclusive.")
    until: Time | None = Field(None, alias="to", description="The end of the period, exclusive; now by default.")


class GroupQuery(SpanQuery):
    tz: str = Field(
        "UTC", max_length=64, description="The timezone of days and months: a tz database name, such as Europe/Berlin."
    )
    limit: LongLimit = Field(100, description="The maximum number of groups, if grouped by customer.")


class RevenueQuery(GroupQuery):
    group: reports_revenue.Group = Field("month", description="The dimension of `groups`.")


class UsageQuery(GroupQuery):
    group: reports_usage.Group = Field("rate", description="The dimension of `groups`.")


class CurrencyRevenue(Shape):
    gross: str
    refunded: str
    disputed: str
    net: str
    payments: int
    average: str
    refund_rate: str


class RevenueGroup(Shape):
    key: str
    currency: str
    gross: str
    refunded: str
    disputed: str
    net: str
    payments: int


class Revenue(Shape):
    currencies: dict[str, CurrencyRevenue]
    most_popular_pack: str | None
    mrr: list[Money]
    groups: list[RevenueGroup]
    more: bool
    example = {
        "currencies": {
            "usd": {
                "gross": "40.00",
                "refunded": "10.00",
                "disputed": "0.00",
                "net": "30.00",
                "payments": 4,
                "average": "10.00",
                "refund_rate": "0.25",
            }
        },
        "most_popular_pack": "starter",
        "mrr": [{"amount": "29.00", "currency": "usd"}],
        "groups": [
            {
                "key": "2026-01",
                "currency": "usd",
                "gross": "40.00",
                "refunded": "10.00",
                "disputed": "0.00",
                "net": "30.00",
                "payments": 4,
            }
        ],
        "more": False,
    }


class UsageGroup(Shape):
    key: str
    units: int
    reports: int


class Usage(Shape):
    groups: list[UsageGroup]
    more: bool
    example = {
        "groups": [
            {"key": "gpt4", "units": 120, "reports": 2},
            {"key": "voice_call", "units": 3, "reports": 1},
        ],
        "more": False,
    }


class RateMargin(Shape):
    rate: str
    currency: str | None
    units: int
    revenue: str | None
    cost: str | None
    cost_currency: str | None
    margin: str | None


class Margin(Shape):
    rates: list[RateMargin]
    example = {
        "rates": [
            {
                "rate": "song_generation",
                "currency": "usd",
                "units": 25,
                "revenue": "1.25",
                "cost": "0.40",
                "cost_currency": "usd",
                "margin": "0.85",
            }
        ]
    }


class Liability(Shape):
    units: int
    cost_basis: list[Money]
    customers: int
    example = {"units": 175, "cost_basis": [{"amount": "8.73", "currency": "usd"}], "customers": 2}


@routes.get("/v1/reports/revenue", scope="admin", query=RevenueQuery, answer=Revenue, also=CSV)
def revenue(call: Call) -> Answer:
    """Retrieve the revenue report.

    Returns payments, refunds, disputes and monthly recurring revenue (`mrr`), by currency and by group. Refunds and
    disputes are counted at the time of their payment. Pending and failed payments are not counted. `more` is true if
    `limit` left out customers. `Accept: text/csv` returns the groups as CSV.
    """
    span = _span(call)
    rows, more = _truncated(reports_revenue.groups(span, call.query.group, limit=_limit(call)), call)
    if csv.is_wanted(call.request):
        return csv.stream(rows, REVENUE_COLUMNS, "revenue")
    return {**reports_revenue.summary(call.app, span), "groups": rows, "more": more}


@routes.get("/v1/reports/usage", scope="admin", query=UsageQuery, answer=Usage, also=CSV)
def usage(call: Call) -> Answer:
    """Retrieve the usage report.

    Returns the units spent, by rate, customer or day. Groups are sorted by units, largest first; days by date. Units
    are deductions minus their refunds. Deductions without a rate are in the group `other`. `more` is true if `limit`
    left out customers. `Accept: text/csv` returns the groups as CSV.
    """
    rows, more = _truncated(reports_usage.groups(_span(call), call.query.group, limit=_limit(call)), call)
    if csv.is_wanted(call.request):
        return csv.stream(rows, USAGE_COLUMNS, "usage")
    return {"groups": rows, "more": more}


@routes.get("/v1/reports/margin", scope="admin", query=SpanQuery, answer=Margin, also=CSV)
def margin(call: Call) -> Answer:
    """Retrieve the margin report.

    Returns the revenue and the cost of the spent units, by rate and currency. Revenue is the cost basis of the lots
    that were used, cost is the `cost` of the rate in the catalog; each is rounded once, and `margin` is their
    difference. Values that cannot be determined are null. `Accept: text/csv` returns the rates as CSV.
    """
    rows = reports_margin.rates(call.app, Span(app=call.app.slug, since=call.query.since, until=call.query.until))
    if csv.is_wanted(call.request):
        return csv.stream(rows, MARGIN_COLUMNS, "margin")
    return {"rates": rows}


@routes.get("/v1/reports/liability", scope="admin", answer=Liability)
def liability(call: Call) -> Answer:
    """Retrieve the liability report.

    Returns the units that customers can still spend, and the amounts paid for them.
    """
    return reports_liability.outstanding(call.app, now=call.now)


def _span(call: Call) -> Span:
    return Span(app=call.app.slug, since=call.query.since, until=call.query.until, zone=call.query.tz)


def _limit(call: Call) -> int | None:
    """One more than the limit, to detect further groups. Only groups of customers are limited."""
    return call.query.limit + 1 if call.query.group == "customer" else None


def _truncated(rows: list[dict[str, Any]], call: Call) -> tuple[list[dict[str, Any]], bool]:
    limit = call.query.limit if call.query.group == "customer" else len(rows)
    return rows[:limit], len(rows) > limit
