-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- What the desk asked to be put right: never edited. amendment is a JSON of what the fold is told of a
-- ride, NULL where only money moves. subject is the tap, the top-up or the correction that it is about.
CREATE TABLE correction (
    correction_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL REFERENCES wallet,
    kind text NOT NULL,
    reason text NOT NULL,
    note text,
    subject uuid,
    wish bytea NOT NULL,
    amendment bytea,
    amount_fen bigint NOT NULL,
    maker text NOT NULL,
    by_rider boolean NOT NULL,
    proposed_at timestamptz NOT NULL
);
CREATE INDEX correction_wallet ON correction (wallet_id);
CREATE INDEX correction_subject ON correction (subject) WHERE subject IS NOT NULL;
CREATE INDEX correction_proposed ON correction (proposed_at, correction_id);

-- What became of it, once: booked as the wallet's version says, or rejected. checker is NULL where no
-- second person was needed.
CREATE TABLE correction_decision (
    correction_id uuid PRIMARY KEY REFERENCES correction,
    state text NOT NULL CHECK (state IN ('booked', 'rejected')),
    checker text,
    wallet_version bigint CHECK ((wallet_version IS NOT NULL) = (state = 'booked')),
    decided_at timestamptz NOT NULL
);

-- Hours in which rides are put right together, and who agreed to it. wish is a JSON.
CREATE TABLE disruption (
    disruption_id uuid PRIMARY KEY,
    wish bytea NOT NULL,
    maker text NOT NULL,
    declared_at timestamptz NOT NULL
);
CREATE TABLE disruption_approval (
    disruption_id uuid PRIMARY KEY REFERENCES disruption,
    checker text NOT NULL,
    approved_at timestamptz NOT NULL
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON disruption
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON disruption_approval
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON correction
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON correction_decision
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
GRANT SELECT, INSERT ON correction, correction_decision, disruption, disruption_approval TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE correction_decision, correction, disruption_approval, disruption;
