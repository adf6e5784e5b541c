-- Which months of a subscription are withheld, by why: [from, until) of their starts, `until` null while it goes on, or
-- null where nobody told which. Keys are an unpaid invoice, `returned:` a payment, `paused:` since when.
-- `unpaid_invoices` is no longer written.

ALTER TABLE subscription ADD COLUMN withheld jsonb NOT NULL DEFAULT '{}';
UPDATE subscription SET withheld = (
    SELECT coalesce(jsonb_object_agg(name, NULL), '{}') FROM unnest(unpaid_invoices) AS name);
