-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Where each operator's files go. channel is JSON (gateway/core/delivery.py); secrets lie in files that it names.
CREATE TABLE delivery_channel (
    operator_id text PRIMARY KEY REFERENCES operator,
    channel bytea NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL
);

-- One for each settlement and operator, made with the settlement. Its name is what the files go out under,
-- and no other delivery may have it.
CREATE TABLE delivery (
    delivery_id uuid PRIMARY KEY,
    settlement_day date NOT NULL REFERENCES settlement,
    operator_id text NOT NULL REFERENCES operator,
    name text NOT NULL UNIQUE,
    paid_fen bigint NOT NULL,
    end_to_end_id text,
    created_at timestamptz NOT NULL,
    UNIQUE (settlement_day, operator_id)
);
CREATE INDEX delivery_payment ON delivery (end_to_end_id);
-- What became of it, step by step; the newest of each kind is how it stands.
CREATE TABLE delivery_event (
    delivery_id uuid NOT NULL REFERENCES delivery,
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    status text NOT NULL CHECK (
        status IN ('pending', 'sent', 'acknowledged', 'paid', 'rejected', 'failed')
    ),
    detail text NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
-- The queue: a job is taken by moving its time on, so a worker that dies leaves it to the next.
CREATE TABLE delivery_job (
    delivery_id uuid PRIMARY KEY REFERENCES delivery,
    due_at timestamptz NOT NULL,
    attempts_count bigint NOT NULL DEFAULT 0,
    is_dead boolean NOT NULL DEFAULT false
);
CREATE INDEX delivery_job_due ON delivery_job (due_at) WHERE NOT is_dead;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery_event
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT ON delivery, delivery_event TO faregate_gateway;
GRANT SELECT, INSERT, UPDATE ON delivery_channel TO faregate_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON delivery_job TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE delivery_job, delivery_event, delivery, delivery_channel;
