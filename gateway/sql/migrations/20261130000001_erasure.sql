-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Wallets whose rider asked to be forgotten: no card leads to them, and of their journeys nothing is told.
CREATE TABLE erasure (
    wallet_id uuid PRIMARY KEY REFERENCES wallet,
    erased_by text NOT NULL,
    erased_at timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON erasure
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

-- A claim counts for ever; of it only the card may be forgotten, once its wallet is erased.
DROP TRIGGER append_only ON campaign_claim;
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON campaign_claim
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only_but_the_card BEFORE UPDATE ON campaign_claim
FOR EACH ROW WHEN (
    NEW.media_token NOT LIKE 'erased %'
    OR (OLD.account, OLD.wallet_id, OLD.promotion_id, OLD.activated_at, OLD.claimed_at)
        IS DISTINCT FROM (NEW.account, NEW.wallet_id, NEW.promotion_id, NEW.activated_at, NEW.claimed_at)
) EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT ON erasure TO faregate_gateway;
GRANT UPDATE (media_token) ON campaign_claim TO faregate_gateway;
GRANT DELETE ON media TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

REVOKE DELETE ON media FROM faregate_gateway;
REVOKE UPDATE (media_token) ON campaign_claim FROM faregate_gateway;
DROP TRIGGER append_only_but_the_card ON campaign_claim;
DROP TRIGGER append_only ON campaign_claim;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_claim
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
DROP TABLE erasure;
