-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Classes of wallets that a gateway was started with. One that is no longer in wallets.yaml is looked for among the
-- wallets, and leaves this table when none has it.
CREATE TABLE wallet_class (
    class_id text PRIMARY KEY,
    began_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, DELETE ON wallet_class TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE wallet_class;
