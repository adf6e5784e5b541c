-- A return in another currency than its payment's takes nothing of it, whichever of the two is told first.
-- NULL: the payment's own.

ALTER TABLE payment_return ADD COLUMN currency text COLLATE "C";
