-- Webhooks that go out. What is told is stored in the transaction that did it, with one delivery for each endpoint that
-- wants it; these rows are the queue. No foreign keys, as in the ledger: what tells must not wait for an endpoint's row.

CREATE TABLE endpoint (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app              text COLLATE "C" NOT NULL,
    external_id      text COLLATE "C" NOT NULL,
    url              text NOT NULL,
    events           text[] NOT NULL DEFAULT '{}',  -- empty: all
    secret           text NOT NULL,
    old_secret       text,
    old_secret_until timestamptz,
    state            text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    disabled_reason  text,
    failing_since    timestamptz,
    last_failed_at   timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
-- The id of a deleted endpoint is free again; its deliveries stay readable by the row that it leaves behind.
CREATE UNIQUE INDEX endpoint_external_id ON endpoint (app, external_id) WHERE state <> 'deleted';
CREATE INDEX endpoint_enabled ON endpoint (app) WHERE state = 'enabled';

-- `uid` is the webhook-id, by which receivers drop what they have seen: a number would begin anew with the database.
CREATE TABLE outbox_message (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid        uuid NOT NULL DEFAULT gen_random_uuid(),
    app        text COLLATE "C" NOT NULL,
    type       text COLLATE "C" NOT NULL,
    customer   text COLLATE "C",
    data       json NOT NULL,
    key        text COLLATE "C",
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX outbox_message_key ON outbox_message (app, key) WHERE key IS NOT NULL;
CREATE INDEX outbox_message_customer ON outbox_message (app, customer) WHERE customer IS NOT NULL;
CREATE INDEX outbox_message_age ON outbox_message (created_at);

-- A sender takes a delivery by moving next_attempt_at ahead, to leased_until: if it dies, the delivery is due again by
-- itself. Few rows are pending at any time, so only the partial indexes are worked on.
CREATE TABLE outbox_delivery (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app             text COLLATE "C" NOT NULL,
    message_id      bigint NOT NULL,
    endpoint_id     bigint NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    leased_until    timestamptz,
    status_code     integer,
    error           text,
    created_at      timestamptz NOT NULL,
    delivered_at    timestamptz
) WITH (fillfactor = 80);
CREATE INDEX outbox_delivery_app ON outbox_delivery (app, id);
CREATE INDEX outbox_delivery_message ON outbox_delivery (message_id);
CREATE INDEX outbox_delivery_due ON outbox_delivery (next_attempt_at) WHERE state = 'pending';
CREATE INDEX outbox_delivery_endpoint ON outbox_delivery (endpoint_id, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX outbox_delivery_leased ON outbox_delivery (endpoint_id) WHERE leased_until IS NOT NULL;
CREATE INDEX outbox_delivery_failed ON outbox_delivery (app, id) WHERE state = 'failed';
