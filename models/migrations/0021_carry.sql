-- A report keeps the price that it was accepted at, as JSON: [units, per, minimum, priced], or [units, per, "carry"]; a
-- list of those for a report with lines, whose rate and quantity are NULL. NULL: accepted by an earlier version, priced
-- when it settles. `text`, because the drain reads it once and the few different ones are parsed once: jsonb takes four
-- times the space in a row that settling writes again.
ALTER TABLE usage_report ADD COLUMN lines jsonb, ADD COLUMN price text,
    ALTER COLUMN rate DROP NOT NULL, ALTER COLUMN quantity DROP NOT NULL;

-- What a customer used at a rate with rounding = "carry": numerator ÷ denominator units, exactly, of which `charged`
-- were charged: the total rounded up once. `unlisted` is the part of the numerator that left neither an entry nor a
-- row: charges of zero units. numeric, because the denominator is the least common multiple of every `per` so far.
CREATE TABLE carry (
    account_id  bigint NOT NULL,
    rate        text COLLATE "C" NOT NULL,
    charged     numeric NOT NULL CHECK (charged >= 0),
    numerator   numeric NOT NULL CHECK (numerator >= 0),
    denominator numeric NOT NULL CHECK (denominator > 0),
    unlisted    numeric NOT NULL DEFAULT 0 CHECK (unlisted >= 0),
    PRIMARY KEY (account_id, rate)
) WITH (fillfactor = 70);
