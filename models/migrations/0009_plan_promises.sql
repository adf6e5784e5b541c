-- The month that a checkout of ours sold is granted at the size it was sold at, whatever the catalog says by then.

ALTER TABLE subscription ADD COLUMN promised_plan text;
ALTER TABLE subscription ADD COLUMN promised_units bigint;
ALTER TABLE subscription ADD COLUMN promised_cycle integer;
