-- One customer of Scrip's own at each provider stands for an account.
CREATE UNIQUE INDEX provider_customer_own ON provider_customer (account_id, provider) WHERE is_own;

-- `given_id`: the id that a customer's token gave; `external_id` is then made of the customer and that id, so that
-- such ids are private to their customer. `options`: what the catalog's [checkout] and the request's metadata said at
-- the time of sale; NULL: sold by an earlier version.
ALTER TABLE checkout ADD COLUMN given_id text COLLATE "C", ADD COLUMN options jsonb;

-- Reports of a schedule are facts too: they hold the changes that wait for the end of a period.
ALTER TABLE plan_fact DROP CONSTRAINT plan_fact_kind_check;
ALTER TABLE plan_fact ADD CONSTRAINT plan_fact_kind_check
    CHECK (kind IN ('snapshot', 'bill', 'session', 'credit_note', 'opening', 'schedule'));

-- What a subscription's facts say of changes that wait, of its pause, and of an invoice that can be paid.
ALTER TABLE subscription ADD COLUMN pending_change jsonb, ADD COLUMN paused_until timestamptz,
    ADD COLUMN open_invoice_url text;
