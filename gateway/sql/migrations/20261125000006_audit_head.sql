-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- What an audit that passed has verified, so that the next may go on from there. content is JSON
-- (gateway/core/audit_heads.py): counts, sums and a hash of each day's rows; sha256 is the head's name.
CREATE TABLE audit_head (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 text NOT NULL UNIQUE,
    made_at timestamptz NOT NULL,
    content bytea NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_head
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
GRANT SELECT, INSERT ON audit_head TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE audit_head;
