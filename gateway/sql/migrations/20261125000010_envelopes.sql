-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Red envelopes. terms is MessagePack (gateway/shell/envelope_store.py); a campaign never changes. What was
-- drawn is written once: the seed that had been promised, and the public value it was mixed with.
CREATE TABLE envelope_campaign (
    campaign_id text PRIMARY KEY,
    terms bytea NOT NULL,
    announced_at timestamptz NOT NULL
);
CREATE TABLE envelope_registration (
    campaign_id text NOT NULL REFERENCES envelope_campaign,
    wallet_id uuid NOT NULL REFERENCES wallet,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (campaign_id, wallet_id)
);
CREATE TABLE envelope_draw (
    campaign_id text PRIMARY KEY REFERENCES envelope_campaign,
    seed text NOT NULL,
    public_value text NOT NULL,
    tickets_sha256 text NOT NULL,
    winners_sha256 text NOT NULL,
    winners_count bigint NOT NULL,
    drawn_at timestamptz NOT NULL
);
CREATE TABLE envelope (
    campaign_id text NOT NULL REFERENCES envelope_draw,
    rank bigint NOT NULL,
    wallet_id uuid NOT NULL REFERENCES wallet,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    -- Why it could not be granted, where it could not.
    refusal text,
    -- When it was granted or refused.
    decided_at timestamptz,
    PRIMARY KEY (campaign_id, rank),
    UNIQUE (campaign_id, wallet_id)
);
CREATE INDEX envelope_open ON envelope (campaign_id, rank) WHERE decided_at IS NULL;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON envelope_campaign
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON envelope_registration
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON envelope_draw
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON envelope
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT, INSERT ON envelope_campaign, envelope_registration, envelope_draw, envelope TO faregate_gateway;
GRANT UPDATE (refusal, decided_at) ON envelope TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE envelope, envelope_draw, envelope_registration, envelope_campaign;
