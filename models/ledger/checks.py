"""The SQL of `verify`: for each invariant its name, the rows that it counts, and the statements that find failures.

A statement returns one text per failure. Placeholders such as `{lot}` stand for the table, or for its rows of one app.
Hot tables have no foreign keys, so the statements also find rows whose references do not exist: hence the full joins.
"""

from __future__ import annotations

BALANCES = """
SELECT format('account %%s: balance %%s, lots less debt %%s, entries %%s; held %%s, in lots %%s; debt %%s, payable %%s',
              coalesce(a.id, l.account_id, e.account_id), a.balance, coalesce(l.units, 0) - a.debt,
              coalesce(e.units, 0), a.held, coalesce(l.held, 0), a.debt, coalesce(l.payable, 0))
FROM {account} AS a
FULL JOIN (
    SELECT account_id, sum(remaining + held) AS units, sum(held) AS held,
           sum(remaining) FILTER (WHERE NOT frozen AND (expires_at IS NULL OR expires_at > %(now)s)) AS payable
    FROM {lot} AS l GROUP BY account_id
) AS l ON l.account_id = a.id
FULL JOIN (SELECT account_id, sum(amount) AS units FROM {entry} AS e GROUP BY account_id) AS e
  ON e.account_id = coalesce(a.id, l.account_id)
WHERE a.id IS NULL OR a.balance <> coalesce(l.units, 0) - a.debt OR a.balance <> coalesce(e.units, 0)
   OR a.held <> coalesce(l.held, 0) OR (a.debt > 0 AND l.payable > 0)
"""

LOTS = """
SELECT format('lot %%s (%%s): remaining %%s, held %%s, its allocations %%s', coalesce(l.id, x.lot_id),
              CASE WHEN l.open THEN 'open' ELSE 'closed' END, l.remaining, l.held, coalesce(x.units, 0))
FROM {lot} AS l
FULL JOIN (
    SELECT lot_id, sum(amount) AS units FROM {allocation} AS x WHERE lot_id IS NOT NULL GROUP BY lot_id
) AS x ON x.lot_id = l.id
WHERE l.id IS NULL OR l.remaining < 0 OR l.held < 0 OR l.remaining + l.held <> coalesce(x.units, 0)
   OR l.open <> (l.remaining + l.held > 0)
"""
EXPIRED = """
SELECT format('lot %%s: expired %%s, its expiry entries took %%s', coalesce(l.id, x.lot_id), l.lapsed, x.units)
FROM (SELECT id, lapsed FROM {lot} AS l WHERE lapsed <> 0) AS l
FULL JOIN (
    SELECT x.lot_id, -sum(x.amount) AS units
    FROM {entry} AS e JOIN allocation AS x ON x.entry_id = e.id WHERE e.type = 'expiry' GROUP BY x.lot_id
) AS x ON x.lot_id = l.id
WHERE l.lapsed IS DISTINCT FROM x.units
"""

ALLOCATED = """
SELECT format('entry %%s: amount %%s, its allocations %%s', coalesce(e.id, x.entry_id), e.amount,
              coalesce(x.units, 0))
FROM {entry} AS e
FULL JOIN (SELECT entry_id, sum(amount) AS units FROM {allocation} AS x GROUP BY entry_id) AS x
  ON x.entry_id = e.id
WHERE e.id IS NULL OR e.amount <> coalesce(x.units, 0)
"""
CHAIN = """
SELECT format('entry %%s: number %%s of account %%s, from %%s by %%s to %%s, after number %%s at %%s', id, seq,
              account_id, balance_before, amount, balance_after, seq_before, after_before)
FROM (
    SELECT id, account_id, seq, amount, balance_before, balance_after,
           lag(seq, 1, 0::bigint) OVER chain AS seq_before,
           lag(balance_after, 1, 0::bigint) OVER chain AS after_before
    FROM {entry} AS e WINDOW chain AS (PARTITION BY account_id ORDER BY seq)
) AS e
WHERE seq <> seq_before + 1 OR balance_before <> after_before OR balance_after <> balance_before + amount
"""
DEBTS = """
SELECT format('account %%s: debt %%s, allocations to the debt %%s', coalesce(a.id, x.account_id), a.debt, x.units)
FROM (SELECT id, debt FROM {account} AS a WHERE debt <> 0) AS a
FULL JOIN (
    SELECT e.account_id, sum(x.amount) AS units
    FROM {entry} AS e JOIN allocation AS x ON x.entry_id = e.id WHERE x.lot_id IS NULL
    GROUP BY e.account_id HAVING sum(x.amount) <> 0
) AS x ON x.account_id = a.id
WHERE a.debt IS DISTINCT FROM -x.units
"""

# Target: the units in proportion to the refunded or disputed part of the price, at most all of them; 0 if it was free.
# The keys of several purchases of one payment end with the line of their session or invoice.
PAYMENTS = """
SELECT format('payment %%s (%%s): names entry %%s of %%s purchases, granted %%s; clawed back %%s, target %%s,'
              ' expired %%s; lot frozen %%s, payment frozen %%s',
              id, state, entry_id, purchases, units_granted, clawed, target, lapsed, frozen, payment_frozen)
FROM (
    SELECT p.id, p.state, p.entry_id, p.units_granted, p.frozen AS payment_frozen, count(l.entry_id) AS purchases,
           coalesce(sum(l.granted), 0) AS granted, coalesce(sum(l.lapsed), 0) AS lapsed,
           coalesce(sum(c.units), 0) AS clawed, coalesce(sum(t.target), 0) AS target, bool_or(l.frozen) AS frozen,
           bool_or(l.frozen <> p.frozen) AS is_other, coalesce(bool_or(l.entry_id = p.entry_id), false) AS is_named,
           bool_or(coalesce(c.units, 0) NOT BETWEEN greatest(0, t.target - l.lapsed) AND t.target) AS is_off,
           count(DISTINCT l.document) > 1 OR bool_or(l.document IS NULL) AS has_no_lines
    FROM {payment} AS p
    LEFT JOIN (
        SELECT l.*, substring(e.key FROM '^(purchase:[^:]+:[^:]+):[^:]+$') AS document FROM {lot} AS l
        JOIN {entry} AS e ON e.id = l.entry_id WHERE l.payment_id IS NOT NULL AND e.type = 'purchase'
    ) AS l ON l.payment_id = p.id
    LEFT JOIN (
        SELECT reverses_id, -sum(amount) AS units FROM {entry} AS e
        WHERE reverses_id IS NOT NULL AND type IN ('clawback', 'reinstatement') GROUP BY reverses_id
    ) AS c ON c.reverses_id = l.entry_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.amount_minor > 0 THEN least(l.granted, div(
            l.granted::numeric * (p.refunded_minor + p.disputed_minor), p.amount_minor)) ELSE 0 END AS target
    ) AS t
    WHERE p.pack IS NOT NULL GROUP BY p.id, p.state, p.entry_id, p.units_granted, p.frozen
) AS p
WHERE (purchases > 1 AND has_no_lines) OR (purchases = 0 AND (state = 'settled' OR entry_id IS NOT NULL))
   OR (purchases > 0 AND (NOT is_named OR granted <> units_granted OR is_off OR is_other))
"""

SETTLED = """
SELECT format('usage report %%s (%%s): settled at %%s units, entry %%s has %%s', r.id, r.external_id, r.units,
              r.entry_id, -e.amount)
FROM (SELECT * FROM {usage_report} AS r WHERE state = 'settled' AND (units <> 0 OR entry_id IS NOT NULL)) AS r
LEFT JOIN {entry} AS e ON e.app = r.app AND e.id = r.entry_id
LEFT JOIN {account} AS a ON a.app = r.app AND a.customer = r.customer
WHERE e.id IS NULL OR e.amount <> -r.units OR e.key <> 'usage:' || r.external_id
   OR e.account_id IS DISTINCT FROM a.id
"""
UNCHARGED = """
SELECT format('usage report %%s (%%s): %%s at %%s units, but entry %%s has %%s', r.id, r.external_id, r.state,
              r.units, e.id, -e.amount)
FROM (SELECT * FROM {usage_report} AS r WHERE state <> 'settled' OR (units = 0 AND entry_id IS NULL)) AS r
JOIN entry AS e ON e.app = r.app AND e.key = 'usage:' || r.external_id
"""
WAITING = """
SELECT format('usage report %%s: %%s', coalesce(r.id, q.report_id), CASE
                  WHEN q.report_id IS NULL THEN 'pending but not queued'
                  WHEN r.id IS NULL THEN 'queued but not pending'
                  ELSE 'pending since ' || q.received_at END)
FROM (SELECT id FROM {usage_report} AS r WHERE state = 'pending') AS r
FULL JOIN (SELECT report_id, received_at FROM {usage_queue} AS q WHERE NOT dead) AS q ON q.report_id = r.id
WHERE r.id IS NULL OR q.report_id IS NULL OR q.received_at < %(overdue)s
"""

# Sums the amounts again in the order in which they were written, without relying on lots or entry numbers.
REPLAY = """
SELECT CASE WHEN r.balance <> r.balance_after
            THEN format('entry %%s of account %%s: replayed %%s, written %%s', r.id, r.account_id, r.balance,
                        r.balance_after)
            ELSE format('account %%s: replayed %%s, written %%s', r.account_id, r.balance, a.balance) END
FROM (
    SELECT id, account_id, balance_after, sum(amount) OVER replay AS balance,
           lead(id) OVER replay IS NULL AS last
    FROM {entry} AS e
    WINDOW replay AS (PARTITION BY account_id ORDER BY id ROWS UNBOUNDED PRECEDING)
) AS r
LEFT JOIN {account} AS a ON r.last AND a.id = r.account_id
WHERE r.balance <> r.balance_after OR (r.last AND r.balance IS DISTINCT FROM a.balance)
"""
NEVER_MOVED = """
SELECT format('account %%s: no entries, written %%s', a.id, a.balance)
FROM {account} AS a WHERE balance <> 0 AND NOT EXISTS (SELECT FROM entry AS e WHERE e.account_id = a.id)
"""

PARTS = """
SELECT h.id, (part->>0)::bigint AS lot_id, (part->>1)::bigint AS units
FROM {hold} AS h, jsonb_array_elements(h.lots) AS part WHERE h.state = 'held'
"""
HOLDS = f"""
SELECT format('hold %%s: %%s units, in lots %%s', h.id, h.units, coalesce(p.units, 0))
FROM (SELECT id, units FROM {{hold}} AS h WHERE state = 'held') AS h
LEFT JOIN (SELECT id, sum(units) AS units FROM ({PARTS}) AS p GROUP BY id) AS p ON p.id = h.id
WHERE h.units <> coalesce(p.units, 0)
"""
HELD_LOTS = f"""
SELECT format('lot %%s: held %%s, by open holds %%s', coalesce(l.id, p.lot_id), l.held, p.units)
FROM (SELECT id, held FROM {{lot}} AS l WHERE held <> 0) AS l
FULL JOIN (SELECT lot_id, sum(units) AS units FROM ({PARTS}) AS p GROUP BY lot_id) AS p ON p.lot_id = l.id
WHERE l.held IS DISTINCT FROM p.units
"""
HELD_ACCOUNTS = """
SELECT format('account %%s: held %%s, by open holds %%s', coalesce(a.id, h.account_id), a.held, h.units)
FROM (SELECT id, held FROM {account} AS a WHERE held <> 0) AS a
FULL JOIN (
    SELECT account_id, sum(units) AS units FROM {hold} AS h WHERE state = 'held'
    GROUP BY account_id HAVING sum(units) <> 0
) AS h ON h.account_id = a.id
WHERE a.held IS DISTINCT FROM h.units
"""

# A metered session has an open hold exactly while it is active; its units equal the amount of its entry.
SESSIONS = """
SELECT format('session %%s (%%s): %%s, its hold is %%s', s.id, s.external_id, s.state, coalesce(h.state, 'missing'))
FROM (SELECT * FROM {session} AS s WHERE rate IS NOT NULL) AS s
FULL JOIN (SELECT * FROM {hold} AS h WHERE key LIKE 'session:%%') AS h
  ON h.app = s.app AND h.key = 'session:' || s.external_id
WHERE h.id IS NULL OR s.id IS NULL OR h.account_id <> s.account_id OR (s.state = 'active') <> (h.state = 'held')
UNION ALL
SELECT format('session %%s (%%s): took %%s, entry %%s has %%s', s.id, s.external_id, s.units, s.entry_id, -e.amount)
FROM (SELECT * FROM {session} AS s WHERE units <> 0 OR entry_id IS NOT NULL) AS s
LEFT JOIN {entry} AS e ON e.app = s.app AND e.id = s.entry_id
WHERE e.id IS NULL OR -e.amount <> s.units OR e.account_id <> s.account_id OR e.key <> 'session:' || s.external_id
"""

# Computed in Python, by the caller's function.
PLANS = "plans were granted what they are owed"
CHECKS: list[tuple[str, str, list[str]]] = [
    ("balances agree with lots, debt and entries", "{account} AS a", [BALANCES]),
    ("lots agree with their allocations", "{lot} AS l", [LOTS, EXPIRED]),
    ("entries agree with their allocations and form a chain", "{entry} AS e", [ALLOCATED, CHAIN, DEBTS]),
    (
        "packs were granted once, and units of refunded or disputed payments were clawed back",
        "{payment} AS p WHERE pack IS NOT NULL",
        [PAYMENTS],
    ),
    ("usage reports were charged once or are pending", "{usage_report} AS r", [SETTLED, UNCHARGED, WAITING]),
    (PLANS, "subscription WHERE true", []),
    ("a replay of the entries yields the balances", "{entry} AS e", [REPLAY, NEVER_MOVED]),
    (
        "open holds and sessions agree with the held units",
        "{hold} AS h WHERE state = 'held'",
        [HOLDS, HELD_LOTS, HELD_ACCOUNTS, SESSIONS],
    ),
]
