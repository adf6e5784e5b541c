-- Checkouts: what was promised when it was sold, whatever the catalog says by the time the money comes.
-- A row is stored before its provider is asked; `new` is one whose provider has not answered yet.

CREATE TABLE checkout (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app           text COLLATE "C" NOT NULL,
    external_id   text COLLATE "C" NOT NULL,
    customer      text COLLATE "C" NOT NULL,
    content       jsonb NOT NULL,
    pack          text,
    plan          text,
    quantity      bigint NOT NULL,
    units         bigint NOT NULL,
    price_minor   bigint NOT NULL,
    currency      text NOT NULL,
    expires_after text,
    refundable    boolean NOT NULL,
    title         text NOT NULL,
    stripe_price  text,
    email         text,
    success_url   text NOT NULL,
    cancel_url    text NOT NULL,
    provider      text COLLATE "C" NOT NULL,
    provider_id   text COLLATE "C",
    url           text,
    state         text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'open', 'paid', 'expired')),
    payment_id    bigint,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CHECK ((pack IS NULL) <> (plan IS NULL)),
    UNIQUE (app, external_id)
);
CREATE INDEX checkout_customer ON checkout (app, customer, id);
CREATE INDEX checkout_app ON checkout (app, id);
CREATE INDEX checkout_payment ON checkout (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX checkout_provider ON checkout (app, provider, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX checkout_open ON checkout (app, provider, id) WHERE state = 'open';

-- Since when an app is at home here: reconciliation looks no further back.
CREATE INDEX account_first ON account (app, id);

-- Refunds that we asked a provider for. What came of one is told by its webhook, and is no business of this row.
CREATE TABLE refund_request (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app          text COLLATE "C" NOT NULL,
    external_id  text COLLATE "C" NOT NULL,
    payment_id   bigint NOT NULL,
    amount_minor bigint,
    reason       text NOT NULL,
    answer       json,
    created_at   timestamptz NOT NULL,
    UNIQUE (app, external_id)
);
CREATE INDEX refund_request_payment ON refund_request (payment_id);

-- When the provider last said that the payment is there and paid.
ALTER TABLE payment ADD COLUMN confirmed_at timestamptz;

-- Where a long run goes on when its time was up.
ALTER TABLE schedule_run ADD COLUMN reached jsonb;
