-- Disputes end by their status. `decided_at`: the provider's time of the event that decided a dispute, so that a later
-- decision replaces an earlier one in any order of arrival. `occurred_at`: when the refund or dispute was made.
-- Each move of a dispute has its currency and its time, because accounts may settle in another currency.
ALTER TABLE payment_return ADD COLUMN decided_at timestamptz;
ALTER TABLE payment_return ADD COLUMN occurred_at timestamptz;
UPDATE payment_return SET moves = (
    SELECT jsonb_object_agg(move.key, jsonb_build_object('minor', move.value)) FROM jsonb_each(moves) AS move)
WHERE moves <> '{}';

-- One customer of a provider may stand for several of Scrip's; then it alone does not say whose a payment is.
ALTER TABLE provider_customer DROP CONSTRAINT provider_customer_pkey;
ALTER TABLE provider_customer ADD PRIMARY KEY (app, provider, provider_id, account_id);

-- The SHA-256 of the body of each transmission of PayPal's, whose signature covers only a CRC-32 of it.
CREATE TABLE paypal_transmission (
    app        text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    body_hash  bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE INDEX paypal_transmission_age ON paypal_transmission (created_at);

-- What of a payment was tax, discount and the provider's fee, in its currency; NULL: the provider did not report it.
ALTER TABLE payment ADD COLUMN tax_minor bigint;
ALTER TABLE payment ADD COLUMN discount_minor bigint;
ALTER TABLE payment ADD COLUMN fee_minor bigint;

-- Credit notes on paid invoices are returns; `moves` of one are the refunds that it names. What was captured of an
-- authorised payment is stored beside the returns, because it may be reported before the payment too.
ALTER TABLE payment_return DROP CONSTRAINT payment_return_kind_check;
ALTER TABLE payment_return ADD CONSTRAINT payment_return_kind_check
    CHECK (kind IN ('refund', 'refunded', 'credit_note', 'dispute', 'alias', 'capture'));

-- What a payment buys that was not paid when its session was reported: its lines, or the amount before discount and tax.
ALTER TABLE payment ADD COLUMN pending_sale jsonb;
