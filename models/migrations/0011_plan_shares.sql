-- Which payment paid for how much of what a plan granted, and what is owed back of it.
-- A month's units are layered: the payment of its period pays for the first `monthly_units`, and each payment for a
-- change to a larger plan (`change_cycle`: the month it was made in) for what lies above them, to the period's end.

ALTER TABLE payment ADD COLUMN monthly_units bigint;
ALTER TABLE payment ADD COLUMN change_cycle integer;
ALTER TABLE payment ADD COLUMN frozen boolean NOT NULL DEFAULT false;
UPDATE payment p SET frozen = true WHERE EXISTS (SELECT FROM lot l WHERE l.payment_id = p.id AND l.frozen);
-- Since when a subscription has its plan, as far as events told: what tells of an earlier time does not change it.
ALTER TABLE subscription ADD COLUMN plan_at timestamptz NOT NULL DEFAULT '0001-01-01 00:00:00+00';
UPDATE subscription SET plan_at = changed_at;

-- A period may start seconds after the month that it pays for: hence the day to spare. Of several payments for one month
-- the one whose period began last pays, and of those of one period, or for one change, the one of which least went back.
-- A lot names its payment only where that granted it: a trial's, whose month begins before its period.
CREATE VIEW plan_share AS
SELECT m.subscription_id, m.lot_id, m.entry_id, p.id AS payment_id,
       greatest(0, least(m.upto, p.upto) - greatest(m.above, p.above)) AS units
FROM (
    SELECT l.subscription_id, l.id AS lot_id, l.entry_id, l.payment_id, l.cycle,
           (e.meta ->> 'cycle_start')::timestamptz + interval '1 day' AS start,
           (e.meta ->> 'units')::bigint AS upto, (e.meta ->> 'units')::bigint - l.granted AS above
    FROM lot l JOIN account a ON a.id = l.account_id
    CROSS JOIN LATERAL (SELECT meta FROM entry WHERE app = a.app AND id = l.entry_id LIMIT 1) AS e
    WHERE l.subscription_id IS NOT NULL
) AS m
CROSS JOIN LATERAL (
    SELECT id, coalesce(max(monthly_units) OVER (layers ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS above,
           CASE WHEN lead(id) OVER layers IS NULL THEN 9223372036854775807 ELSE monthly_units END AS upto
    FROM (
        (SELECT id, false AS changes, coalesce(monthly_units, 9223372036854775807) AS monthly_units, 0 AS back FROM payment
         WHERE subscription_id = m.subscription_id AND change_cycle IS NULL
           AND (id = m.payment_id OR (period_start <= m.start AND period_end > m.start))
         ORDER BY period_start < max(period_start) OVER () - interval '1 day',
                  coalesce((refunded_minor + disputed_minor)::numeric / nullif(amount_minor, 0), 0),
                  id IS NOT DISTINCT FROM m.payment_id DESC, id LIMIT 1)
        UNION ALL
        (SELECT id, true, monthly_units, coalesce((refunded_minor + disputed_minor)::numeric / nullif(amount_minor, 0), 0)
         FROM payment
         WHERE subscription_id = m.subscription_id AND change_cycle <= m.cycle AND period_end > m.start)
    ) AS paying
    WINDOW layers AS (ORDER BY changes, monthly_units, back, id)
) AS p;

-- Of each grant: the share of the money that went back of what paid for it, in units, and whether one asked about it.
CREATE VIEW plan_target AS
SELECT s.subscription_id, s.lot_id, s.entry_id,
       sum(CASE WHEN coalesce(p.amount_minor, 0) <= 0 THEN 0
                ELSE div(s.units::numeric * (p.refunded_minor + p.disputed_minor), p.amount_minor) END)::bigint AS target,
       bool_or(p.frozen) AS frozen,
       array_agg(p.reference ORDER BY p.id) AS payments,
       array_agg(p.state ORDER BY p.id) AS states
FROM plan_share s JOIN payment p ON p.id = s.payment_id
WHERE s.units > 0
GROUP BY s.subscription_id, s.lot_id, s.entry_id;
