"""Revenue: what was paid, refunded and disputed, by currency and by group; and monthly recurring revenue.

A payment counts at the time it was made (`created_at`), once it has settled, even if it was refunded or disputed later.
A refund counts where its payment counts. Payments of zero (a trial's invoice, a 100 % coupon) do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from models import database, money
from models.catalog.apps import App
from models.reports.periods import Span, amount, day, month, share

Group = Literal["day", "month", "pack", "customer"]
# As Stripe does (docs.stripe.com/billing/subscriptions/analytics/glossary): a trial does not pay yet, and a payment
# that is being retried is not lost yet.
RECURRING = ("active", "past_due")

KEYS = {
    "day": day("p.created_at"),
    "month": month("p.created_at"),
    "pack": "coalesce(p.pack, 'plan:' || p.plan, 'other')",
    "customer": "a.customer",
}
ORDERS = {
    "day": "key, currency",
    "month": "key, currency",
    "pack": "currency, gross DESC, key",
    "customer": "currency, gross DESC, key",
}
SUMS = """lower(p.currency) AS currency, sum(p.amount_minor) AS gross, sum(p.refunded_minor) AS refunded,
       sum(p.disputed_minor) AS disputed, count(*) AS payments"""
COUNTED = """
FROM payment p JOIN account a ON a.id = p.account_id
WHERE p.app = %(app)s AND p.state IN ('settled', 'partly_refunded', 'refunded', 'disputed')
  AND p.amount_minor > 0 AND p.currency IS NOT NULL"""
TOTALS = f"SELECT {SUMS} {COUNTED} {{within}} GROUP BY 1 ORDER BY 1"
GROUPS = f"SELECT {{key}} AS key, {SUMS} {COUNTED} {{within}} GROUP BY 1, 2 ORDER BY {{order}}"
MOST_POPULAR = f"""
SELECT p.pack {COUNTED} {{within}} AND p.pack IS NOT NULL
GROUP BY p.pack ORDER BY count(*) DESC, sum(p.quantity) DESC, p.pack LIMIT 1
"""
# If the last payment of a subscription covered more than a month: the amount and the number of months.
RECURRING_NOW = """
SELECT s.plan, last.months, CASE WHEN last.months > 1 THEN last.amount_minor END AS paid,
       CASE WHEN last.months > 1 THEN lower(last.currency) END AS currency, count(*)
FROM subscription s LEFT JOIN LATERAL (
    SELECT p.amount_minor, p.currency,
           greatest(1, round(extract(epoch FROM p.period_end - p.period_start) / 86400 / 30.4375))::int AS months
    FROM payment p WHERE p.subscription_id = s.id AND p.amount_minor > 0 AND p.period_end > p.period_start
    ORDER BY p.period_start DESC LIMIT 1
) AS last ON true
WHERE s.app = %(app)s AND s.status = ANY(%(statuses)s) GROUP BY 1, 2, 3, 4
"""


def summary(app: App, span: Span) -> dict[str, Any]:
    """`{"currencies", "most_popular_pack", "mrr"}`. Amounts have all of the currency's decimals.

    Raises:
        Invalid: the span is invalid.
    """
    span.check()
    totals = database.read(TOTALS.format(within=span.within("p.created_at")), span.values())
    popular = database.read(MOST_POPULAR.format(within=span.within("p.created_at")), span.values())
    return {
        "currencies": {currency: _total(currency, *map(int, sums)) for currency, *sums in totals},
        "most_popular_pack": popular[0][0] if popular else None,
        "mrr": list(_recurring(app)),
    }


def groups(span: Span, group: Group, *, limit: int | None = None) -> list[dict[str, Any]]:
    """`{"key", "currency", "gross", "refunded", "disputed", "net", "payments"}` for each group and currency.

    Days and months are in order; packs and customers are sorted by currency, then by gross, highest first. The key of a
    plan is `plan:KEY`.

    Raises:
        Invalid: the span is invalid.
    """
    span.check()
    statement = GROUPS.format(key=KEYS[group], within=span.within("p.created_at"), order=ORDERS[group])
    rows = database.read(f"{statement} LIMIT %(limit)s", {**span.values(), "limit": limit})
    return [{"key": key, "currency": currency, **_sums(currency, *map(int, sums))} for key, currency, *sums in rows]


def _sums(currency: str, gross: int, refunded: int, disputed: int, payments: int) -> dict[str, Decimal | int]:
    return {
        "gross": amount(gross, currency),
        "refunded": amount(refunded, currency),
        "disputed": amount(disputed, currency),
        "net": amount(gross - refunded - disputed, currency),
        "payments": payments,
    }


def _total(currency: str, gross: int, refunded: int, disputed: int, payments: int) -> dict[str, Decimal | int]:
    return {
        **_sums(currency, gross, refunded, disputed, payments),
        "average": amount(Fraction(gross, payments), currency),
        "refund_rate": share(refunded, gross),
    }


def _recurring(app: App) -> Iterator[dict[str, str]]:
    """Monthly recurring revenue by currency: plans at the catalog's price, longer periods at the amount paid."""
    totals: dict[str, Fraction] = {}
    for plan, months, paid, currency, count in database.read(
        RECURRING_NOW, {"app": app.slug, "statuses": list(RECURRING)}
    ):
        cataloged = app.plans.get(plan or "")
        if currency is None and cataloged is not None:
            paid, currency, months = cataloged.price_minor, cataloged.currency, 1
        if currency is not None:
            totals[currency] = totals.get(currency, Fraction(0)) + Fraction(int(paid) * count, months)
    for currency, minor in sorted(totals.items()):
        if minor:
            yield money.as_json(round(minor), currency)
