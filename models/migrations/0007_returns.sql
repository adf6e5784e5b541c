-- Money that went back, as a set keyed by the provider's ids: any order and any repetition of events ends the same.
-- A row knows its payment by all ids that events named it by; the payment itself may come later.

CREATE TABLE payment_return (
    app              text COLLATE "C" NOT NULL,
    provider         text COLLATE "C" NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('refund', 'refunded', 'dispute', 'alias')),
    reference        text COLLATE "C" NOT NULL,
    payment          text[] COLLATE "C" NOT NULL,
    amount_minor     bigint NOT NULL DEFAULT 0,
    failed           boolean NOT NULL DEFAULT false,
    stage            smallint NOT NULL DEFAULT 0,
    withdrawn_minor  bigint NOT NULL DEFAULT 0,
    reinstated_minor bigint NOT NULL DEFAULT 0,
    moves            jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (app, provider, kind, reference)
);
CREATE INDEX payment_return_payment ON payment_return USING gin (payment);
CREATE INDEX payment_aliases ON payment USING gin (aliases);
