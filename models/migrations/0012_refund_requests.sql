-- Who asked for a refund, of whose payment, and when the provider answered: the operation log tells of it.

ALTER TABLE refund_request ADD COLUMN customer text COLLATE "C";
ALTER TABLE refund_request ADD COLUMN actor text NOT NULL DEFAULT 'operator';
ALTER TABLE refund_request ADD COLUMN answered_at timestamptz;
UPDATE refund_request r SET
    customer = (SELECT a.customer FROM payment p JOIN account a ON a.id = p.account_id WHERE p.id = r.payment_id),
    answered_at = CASE WHEN answer IS NOT NULL THEN created_at END;
CREATE INDEX refund_request_app ON refund_request (app, id);
CREATE INDEX refund_request_customer ON refund_request (app, customer, id);

-- Answers that were kept in a provider's own words say it in ours.
UPDATE refund_request SET answer = jsonb_set(answer::jsonb, '{state}', to_jsonb(CASE
        WHEN answer ->> 'state' = 'completed' THEN 'succeeded'
        WHEN answer ->> 'state' IN ('canceled', 'cancelled') THEN 'failed'
        ELSE 'pending' END))::json
WHERE answer ->> 'state' NOT IN ('pending', 'succeeded', 'failed');
