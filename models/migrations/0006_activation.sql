-- Activation keys of subscriptions: one each, made once. A key is kept readable because its owner may ask to see it
-- again; it is looked up by its hash, so that the time of an answer tells nothing of a key that was guessed in part.

CREATE TABLE activation_key (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app             text COLLATE "C" NOT NULL,
    account_id      bigint NOT NULL,
    subscription_id bigint NOT NULL UNIQUE,
    key             text COLLATE "C" NOT NULL,
    hash            bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    UNIQUE (app, hash)
);
CREATE INDEX activation_key_account ON activation_key (account_id);
