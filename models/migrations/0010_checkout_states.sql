-- A checkout whose money is on its way is `pending`; one whose payment did not come off is `failed`.

ALTER TABLE checkout DROP CONSTRAINT checkout_state_check;
ALTER TABLE checkout ADD CONSTRAINT checkout_state_check
    CHECK (state IN ('new', 'open', 'expired', 'pending', 'failed', 'paid'));
-- Reconciliation looks after what is on its way, too.
DROP INDEX checkout_open;
CREATE INDEX checkout_open ON checkout (app, provider, id) WHERE state IN ('open', 'pending');
