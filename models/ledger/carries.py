"""What customers used at rates with rounding = "carry": as stored, and the SQL that checks it for `verify`.

`post` is the only writer (docs/decisions/0012-carry.md).
"""

from __future__ import annotations

from models import database
from models.planning.carry import Carry

OF_CUSTOMER = """
SELECT c.account_id, c.rate, c.charged::text, c.numerator::text, c.denominator::text
FROM carry c JOIN account a ON a.id = c.account_id WHERE a.app = %s AND a.customer = %s ORDER BY c.rate
"""

# Usage at such rates, from the rows that list it: settled reports, ended sessions, and the entries of charges. A
# carried line costs amount ÷ per units, any other line `units`; all lines of a row together cost `taken`.
_REPORT_LINES = """
SELECT a.id AS account_id, r.id, coalesce(l.line->>'rate', r.rate) AS rate, (p.price->>1)::numeric AS per,
       coalesce((l.line->>'quantity')::numeric, r.quantity) * (p.price->>0)::numeric AS amount,
       p.price->>2 = 'carry' AS carried, r.units + r.shortfall AS taken, (p.price->>3)::numeric AS units
FROM {usage_report} AS r JOIN account AS a ON a.app = r.app AND a.customer = r.customer
CROSS JOIN LATERAL json_array_elements(CASE WHEN r.lines IS NULL THEN '[' || r.price || ']' ELSE r.price END::json)
  WITH ORDINALITY AS p(price, position)
LEFT JOIN LATERAL jsonb_array_elements(r.lines) WITH ORDINALITY AS l(line, position) ON l.position = p.position
WHERE r.state = 'settled' AND r.price LIKE '%%"carry"%%'
"""
_SESSION_LINES = """
SELECT s.account_id, s.id, s.rate, s.price[2], s.duration_seconds::numeric * s.price[1], true, s.units + s.shortfall,
       NULL::numeric
FROM {session} AS s WHERE s.state = 'ended' AND NOT s.free AND cardinality(s.price) = 2
"""
_CHARGE_LINES = """
SELECT e.account_id, e.id, l.line->>'rate', (l.line->'price'->>1)::numeric,
       (l.line->>'quantity')::numeric * (l.line->'price'->>0)::numeric, coalesce(l.line->>'rounding' = 'carry', false),
       -e.amount, (l.line->>'units')::numeric
FROM {entry} AS e
CROSS JOIN LATERAL jsonb_array_elements(coalesce(e.meta->'lines', jsonb_build_array(e.meta))) AS l(line)
WHERE e.meta ? 'carried' AND e.actor = 'charge'
"""
_LINES = f"""
SELECT 'report' AS source, * FROM ({_REPORT_LINES}) AS reports
UNION ALL SELECT 'session', * FROM ({_SESSION_LINES}) AS sessions
UNION ALL SELECT 'charge', * FROM ({_CHARGE_LINES}) AS charges
"""

ROUNDED = """
SELECT format('account %%s, rate %%s: %%s units charged for %%s/%%s', c.account_id, c.rate, c.charged, c.numerator,
              c.denominator)
FROM {carry} AS c
WHERE c.charged <> div(c.numerator + c.denominator - 1, c.denominator) OR c.unlisted > c.numerator
"""
ADDED_UP = f"""
WITH lines AS MATERIALIZED ({_LINES})
SELECT format('account %%s, rate %%s: carried total %%s/%%s, listed usage %%s/%%s', account_id, rate, total,
              denominator, listed, denominator)
FROM (
    SELECT coalesce(c.account_id, u.account_id) AS account_id, coalesce(c.rate, u.rate) AS rate, c.denominator,
           c.numerator - c.unlisted AS total, sum(u.amount * div(c.denominator, u.per)) AS listed,
           coalesce(bool_or(mod(c.denominator, u.per) <> 0), false) AS apart
    FROM {{carry}} AS c
    FULL JOIN (SELECT account_id, rate, per, sum(amount) AS amount FROM lines WHERE carried GROUP BY 1, 2, 3) AS u
      ON u.account_id = c.account_id AND u.rate = c.rate
    GROUP BY c.account_id, c.rate, u.account_id, u.rate, c.denominator, c.numerator, c.unlisted
) AS t WHERE apart OR total IS DISTINCT FROM coalesce(listed, 0)
UNION ALL
SELECT format('account %%s: %%s units charged at carried rates, listed usage cost %%s', account_id, charged, priced)
FROM (
    SELECT coalesce(c.account_id, u.account_id) AS account_id, coalesce(c.charged, 0) AS charged,
           coalesce(u.priced, 0) AS priced
    FROM (SELECT account_id, sum(charged) AS charged FROM {{carry}} AS c GROUP BY 1) AS c
    FULL JOIN (
        SELECT account_id, sum(priced) AS priced FROM (
            SELECT account_id, max(taken) - coalesce(sum(units) FILTER (WHERE NOT carried), 0) AS priced
            FROM lines GROUP BY source, id, account_id
        ) AS by_row GROUP BY 1
    ) AS u ON u.account_id = c.account_id
) AS t WHERE charged <> priced
"""
CHECK = ("usage at carried rates adds up to the units charged", "{carry} AS c", [ROUNDED, ADDED_UP])


def of_customer(app: str, customer: str) -> dict[str, Carry]:
    """The carried totals of a customer, by rate; empty for an unknown customer. Nothing is locked."""
    rows = database.read(OF_CUSTOMER, [app, customer])
    return {rate: Carry(account_id, rate, *map(int, numbers)) for account_id, rate, *numbers in rows}
