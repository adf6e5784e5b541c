-- An order at PayPal may hold several captures, each a payment of its own: it names none of them, so it is no alias.
-- PayPal's payments had no other alias. A return named the capture and the order: the capture alone tells whose it is.

ALTER TABLE payment ADD COLUMN order_id text COLLATE "C";
CREATE TEMPORARY TABLE paypal_order ON COMMIT DROP AS
SELECT DISTINCT app, alias AS id FROM payment p CROSS JOIN unnest(p.aliases) AS alias
WHERE provider = 'paypal' AND NOT EXISTS (
    SELECT 1 FROM payment c WHERE c.app = p.app AND c.provider = p.provider AND c.reference = alias);
UPDATE payment p SET aliases = '{}', order_id = (
    SELECT alias FROM unnest(p.aliases) AS alias JOIN paypal_order o ON o.app = p.app AND o.id = alias LIMIT 1)
WHERE provider = 'paypal' AND aliases <> '{}';
UPDATE payment_return r SET payment = ARRAY(
    SELECT named FROM unnest(r.payment) AS named
    WHERE NOT EXISTS (SELECT 1 FROM paypal_order o WHERE o.app = r.app AND o.id = named) ORDER BY named)
WHERE provider = 'paypal' AND cardinality(payment) > 1;

-- The id of what an event waits for, or waited for until it was dead: it is tried again at once when that is known.
-- Of its attempts those are excused that failed as nobody's fault, such as a provider's that was away.
ALTER TABLE inbox_event ADD COLUMN waits_for text COLLATE "C";
ALTER TABLE inbox_event ADD COLUMN excused integer NOT NULL DEFAULT 0;
CREATE INDEX inbox_event_waiting ON inbox_event (app, provider, waits_for)
    WHERE state IN ('pending', 'dead') AND waits_for IS NOT NULL;
