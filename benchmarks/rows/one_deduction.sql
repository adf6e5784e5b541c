-- L1: one deduction, one transaction: what an application that settles each report by itself does at best. The real
-- tables with all their indexes; no allocation, no key looked up before, no report marked.
\set account random(1, :accounts)
BEGIN;
UPDATE account SET balance = balance - 1, seq = seq + 1, updated_at = now() WHERE id = :account
    RETURNING balance, seq \gset
UPDATE lot SET remaining = remaining - 1 WHERE id = :account;
INSERT INTO entry (id, app, account_id, seq, amount, type, reason, key, balance_before, balance_after, actor, meta,
                   occurred_at, created_at)
    SELECT id, 'ai-services', :account, :seq, -1, 'deduction', 'voice_call', 'usage:' || id, :balance + 1, :balance,
           'usage', '{"rate": "voice_call", "price": [1, 60, 0], "quantity": 60}', now(), now()
    FROM nextval('entry_id_seq') AS id;
COMMIT;
