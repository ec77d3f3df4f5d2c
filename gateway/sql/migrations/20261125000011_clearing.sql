-- A constraint is dropped only to be put back wider.
-- squawk-ignore-file ban-drop-constraint, constraint-missing-not-valid
-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Where operators share fares: the journey of the ride, what it costs alone, how far it goes and what the
-- change to it took off. NULL elsewhere.
ALTER TABLE journal_entry
ADD COLUMN journey_id uuid,
ADD COLUMN own_fen bigint,
ADD COLUMN distance_m bigint,
ADD COLUMN change_fen bigint;

ALTER TABLE settlement_batch
ADD COLUMN shared_fen bigint NOT NULL DEFAULT 0,
ADD COLUMN fees_fen bigint NOT NULL DEFAULT 0,
DROP CONSTRAINT nothing_is_lost;
ALTER TABLE settlement_batch
ADD CONSTRAINT nothing_is_lost CHECK (
    gross_fen + shared_fen + fees_fen + carried_in_fen = paid_fen + carried_out_fen
);

-- Payouts that are kept back, and by whom. What is held is carried on, and paid once it is let go.
CREATE TABLE payout_hold (
    hold_id uuid PRIMARY KEY,
    operator_id text NOT NULL REFERENCES operator,
    reason text NOT NULL,
    held_by text NOT NULL,
    held_at timestamptz NOT NULL,
    released_by text,
    released_at timestamptz
);
CREATE INDEX payout_hold_open ON payout_hold (operator_id) WHERE released_at IS NULL;
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON payout_hold
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
GRANT SELECT, INSERT ON payout_hold TO faregate_gateway;
GRANT UPDATE (released_by, released_at) ON payout_hold TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE payout_hold;
ALTER TABLE settlement_batch
DROP CONSTRAINT nothing_is_lost,
DROP COLUMN shared_fen,
DROP COLUMN fees_fen;
ALTER TABLE settlement_batch
ADD CONSTRAINT nothing_is_lost CHECK (gross_fen + carried_in_fen = paid_fen + carried_out_fen);
ALTER TABLE journal_entry
DROP COLUMN journey_id,
DROP COLUMN own_fen,
DROP COLUMN distance_m,
DROP COLUMN change_fen;
