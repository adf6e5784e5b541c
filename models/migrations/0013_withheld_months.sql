-- Which months of a subscription are withheld, by why: [from, until) of their starts, `until` null while it goes on, or
-- null where nobody told which. Keys are an unpaid invoice, `returned:` a payment, `paused` with since when.
-- `paid` are the same for what was paid for and did not go back whole: those months are owed in any case.
-- `unpaid_invoices` is no longer written.

ALTER TABLE subscription ADD COLUMN withheld jsonb NOT NULL DEFAULT '{}';
ALTER TABLE subscription ADD COLUMN paid jsonb NOT NULL DEFAULT '[]';

CREATE TEMPORARY TABLE period ON COMMIT DROP AS
SELECT p.subscription_id, p.reference, p.period_start,
       jsonb_build_array(p.period_start - interval '1 day', p.period_end - interval '1 day') AS months,
       coalesce(p.amount_minor, 0) > 0 AND p.refunded_minor + p.disputed_minor >= p.amount_minor AS went_back
FROM payment p JOIN subscription s ON s.id = p.subscription_id
WHERE p.change_cycle IS NULL AND p.period_start >= s.anchor - interval '1 day' AND p.period_end IS NOT NULL
  AND p.state NOT IN ('pending', 'failed');
UPDATE subscription s SET
    withheld = (
        SELECT coalesce(jsonb_object_agg(name, months), '{}') FROM (
            SELECT name, NULL AS months FROM unnest(s.unpaid_invoices) AS name WHERE name NOT LIKE 'returned:%'
            UNION ALL
            SELECT 'returned:' || reference, months FROM period WHERE subscription_id = s.id AND went_back
        ) AS why),
    paid = (
        SELECT coalesce(jsonb_agg(months ORDER BY period_start), '[]') FROM period
        WHERE subscription_id = s.id AND NOT went_back);
