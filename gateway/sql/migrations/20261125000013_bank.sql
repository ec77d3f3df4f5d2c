-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- What the bank has said. A file is taken once, by its hash; a line of a statement once, by the bank's own
-- reference, in however many statements it stands.
CREATE TABLE bank_file (
    file_sha256 text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('pain.002', 'camt.053', 'camt.054')),
    message_id text NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL
);
CREATE TABLE payment_answer (
    file_sha256 text NOT NULL REFERENCES bank_file,
    end_to_end_id text NOT NULL,
    status text NOT NULL,
    reason text NOT NULL,
    imported_at timestamptz NOT NULL,
    PRIMARY KEY (file_sha256, end_to_end_id)
);
CREATE INDEX payment_answer_payment ON payment_answer (end_to_end_id);
CREATE TABLE bank_line (
    line_id uuid PRIMARY KEY,
    file_sha256 text NOT NULL REFERENCES bank_file,
    booked_on date NOT NULL,
    -- Above zero, money that came in.
    amount_fen bigint NOT NULL,
    currency text NOT NULL,
    is_return boolean NOT NULL,
    reference text NOT NULL,
    end_to_end_id text,
    remittance text NOT NULL
);
CREATE INDEX bank_line_payment ON bank_line (end_to_end_id);
CREATE TABLE bank_balance (
    file_sha256 text NOT NULL REFERENCES bank_file,
    account text NOT NULL,
    balance_on date NOT NULL,
    amount_fen bigint NOT NULL,
    PRIMARY KEY (file_sha256, account)
);
-- Payments that the bank refused or gave back. Each is carried into the next settlement, once.
CREATE TABLE payout_return (
    end_to_end_id text PRIMARY KEY,
    operator_id text NOT NULL REFERENCES operator,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    reason text NOT NULL,
    noted_at timestamptz NOT NULL,
    carried_into date REFERENCES settlement
);
CREATE INDEX payout_return_carried ON payout_return (carried_into);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_file
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_answer
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_line
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_balance
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON payout_return
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT ON bank_file, payment_answer, bank_line, bank_balance, payout_return TO faregate_gateway;
GRANT UPDATE (carried_into) ON payout_return TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE payout_return, bank_balance, bank_line, payment_answer, bank_file;
