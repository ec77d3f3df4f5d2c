-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Campaigns and their budgets. account is `sponsor/campaign`, as in the ledger. What has not been spent lies in
-- slots: the pool, 0, and one for each lane that spends, so that lanes do not wait for each other. Together with
-- what the ledger says was spent, they are the budget, always.
CREATE TABLE campaign (
    account text PRIMARY KEY,
    budget_fen bigint NOT NULL CHECK (budget_fen >= 0),
    uses_max bigint NOT NULL CHECK (uses_max >= 0),
    claims_max bigint CHECK (claims_max >= 0),
    claims_count bigint NOT NULL DEFAULT 0,
    began_at timestamptz NOT NULL,
    CONSTRAINT no_claim_too_many CHECK (claims_max IS NULL OR claims_count <= claims_max)
);
CREATE TABLE campaign_slot (
    account text NOT NULL REFERENCES campaign,
    slot bigint NOT NULL,
    left_fen bigint NOT NULL CHECK (left_fen >= 0),
    left_uses bigint NOT NULL CHECK (left_uses >= 0),
    PRIMARY KEY (account, slot)
) WITH (fillfactor = 50);
-- Each change of a budget, by whom.
CREATE TABLE campaign_budget (
    account text NOT NULL REFERENCES campaign,
    at timestamptz NOT NULL,
    budget_fen bigint NOT NULL,
    uses_max bigint NOT NULL,
    PRIMARY KEY (account, at)
);
-- Coupons that were claimed at the desk.
CREATE TABLE campaign_claim (
    account text NOT NULL REFERENCES campaign,
    wallet_id uuid NOT NULL REFERENCES wallet,
    media_token text NOT NULL,
    promotion_id text NOT NULL,
    activated_at timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (account, media_token, promotion_id, activated_at)
);
CREATE INDEX campaign_claim_wallet ON campaign_claim (account, wallet_id);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_budget
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_claim
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT, UPDATE ON campaign, campaign_slot TO faregate_gateway;
GRANT SELECT, INSERT ON campaign_budget, campaign_claim TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE campaign_claim, campaign_budget, campaign_slot, campaign;
