-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- When an archived day was unlinked: its file of taps leads to no card or wallet any more. The hash of its
-- manifest is that of the new one.
ALTER TABLE log_day ADD COLUMN unlinked_at timestamptz;

-- From where on a wallet's decisions can be computed again, once some of its days are unlinked: what was
-- remembered when a day began, when legs had last been given up, and the wallet's version by then. opening is
-- MessagePack (gateway/shell/rows.py).
CREATE TABLE wallet_base (
    wallet_id uuid PRIMARY KEY REFERENCES wallet,
    day date NOT NULL,
    version bigint NOT NULL,
    swept_until timestamptz,
    opening bytea NOT NULL
);
GRANT SELECT ON wallet_base TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE wallet_base;
ALTER TABLE log_day DROP COLUMN unlinked_at;
