-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Money given for a purpose: what was granted. What is left of it lies in the wallet's row; ended_at says
-- that nothing is left, or that what was left has gone back.
CREATE TABLE purse_grant (
    grant_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL REFERENCES wallet,
    rule_id text NOT NULL,
    -- The sponsor whose money it is; NULL where the rider has set own money aside.
    funder_id text,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    valid_from timestamptz NOT NULL,
    valid_until timestamptz CHECK (valid_until > valid_from),
    granted_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX purse_grant_wallet ON purse_grant (wallet_id);
CREATE INDEX purse_grant_expiry ON purse_grant (valid_until) WHERE ended_at IS NULL;
CREATE INDEX purse_grant_rule ON purse_grant (rule_id, grant_id) WHERE ended_at IS NULL;

-- Money moved between the wallets of a family or a firm, by the id that the desk gave it.
CREATE TABLE transfer (
    transfer_id uuid PRIMARY KEY,
    from_wallet_id uuid NOT NULL REFERENCES wallet,
    to_wallet_id uuid NOT NULL REFERENCES wallet,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    recorded_at timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON purse_grant
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT ON purse_grant, transfer TO faregate_gateway;
GRANT UPDATE (ended_at) ON purse_grant TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE transfer, purse_grant;
