-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- The city. Small tables, read whole into each process and re-read when registry_version moves.
CREATE TABLE registry_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
);
INSERT INTO registry_version (version) VALUES (1);

CREATE TABLE operator (
    operator_id text PRIMARY KEY,
    name text NOT NULL,
    bank_account text,
    bank_bic text
);
CREATE TABLE stop (stop_id text PRIMARY KEY, name text);
CREATE TABLE route (route_id text PRIMARY KEY, network text NOT NULL, name text);
CREATE TABLE gate (
    gate_id text PRIMARY KEY,
    operator_id text NOT NULL REFERENCES operator,
    network text NOT NULL,
    concentrator_id text REFERENCES gate
);
-- A key's secret is derived from the master key, so a stolen copy of this table signs nothing.
CREATE TABLE gate_key (
    key_id text PRIMARY KEY,
    gate_id text NOT NULL REFERENCES gate,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz,
    is_revoked boolean NOT NULL DEFAULT false
);
CREATE TABLE credential (
    token_sha256 bytea PRIMARY KEY,
    token_id text NOT NULL UNIQUE,
    role text NOT NULL,
    operator_id text REFERENCES operator,
    valid_until timestamptz,
    is_revoked boolean NOT NULL DEFAULT false
);

-- Riders' money. One row is the lock for everything of its rider; fillfactor leaves room for HOT updates.
CREATE TABLE wallet (
    wallet_id uuid PRIMARY KEY,
    issuer_id text REFERENCES operator,
    status text NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    balance_fen bigint NOT NULL,
    owed_fen bigint NOT NULL,
    floor_fen bigint NOT NULL CHECK (floor_fen <= 0),
    version bigint NOT NULL,
    day date,
    day_taps bytea NOT NULL,
    opening bytea NOT NULL,
    swept_until timestamptz,
    open_until timestamptz,
    opened_at timestamptz NOT NULL,
    CONSTRAINT balance_above_floor CHECK (balance_fen >= floor_fen),
    CONSTRAINT owes_only_at_floor CHECK (owed_fen = 0 OR (owed_fen > 0 AND balance_fen = floor_fen))
) WITH (fillfactor = 60);
CREATE INDEX wallet_open_until ON wallet (open_until) WHERE open_until IS NOT NULL;

-- What was remembered of a wallet when an earlier day of it began, where that is not nothing: a late tap
-- is priced from there. opening is MessagePack (gateway/shell/rows.py).
CREATE TABLE wallet_day (
    wallet_id uuid NOT NULL REFERENCES wallet,
    day date NOT NULL,
    opening bytea NOT NULL,
    PRIMARY KEY (wallet_id, day)
);

CREATE TABLE media (
    media_token text PRIMARY KEY,
    wallet_id uuid REFERENCES wallet,
    rider_category text NOT NULL,
    fare_media text NOT NULL,
    is_blocked boolean NOT NULL DEFAULT false,
    coupons bytea NOT NULL
);
CREATE INDEX media_wallet ON media (wallet_id);

-- The tap log: every tap that was answered, with its answer, for ever.
-- said, facts and answer are MessagePack (gateway/shell/rows.py).
CREATE TABLE tap (
    tap_id uuid NOT NULL,
    gate_id text NOT NULL,
    sequence bigint NOT NULL,
    tapped_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    outcome text NOT NULL,
    needs_person boolean NOT NULL,
    wallet_id uuid,
    wallet_version bigint,
    service_day date,
    said bytea NOT NULL,
    facts bytea,
    answer bytea NOT NULL,
    CONSTRAINT tap_once PRIMARY KEY (tap_id)
);
-- A tap refused for reusing a sequence is kept too, so it must not need the sequence for itself.
CREATE UNIQUE INDEX tap_sequence_once ON tap (gate_id, sequence) WHERE outcome <> 'sequence_reused';
CREATE INDEX tap_needs_person ON tap (received_at, tap_id) WHERE needs_person;
CREATE INDEX tap_wallet_day ON tap (wallet_id, service_day) WHERE wallet_id IS NOT NULL;

-- The ledger. purse and debt are those of wallet_id; every other account is named in full.
-- Eight postings are the most an entry has; the sum is written out because a CHECK may not aggregate and
-- a function call per row costs more than the rest of the insert.
CREATE TABLE journal_entry (
    entry_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('fare', 'correction', 'top_up', 'payout')),
    cause_id uuid NOT NULL,
    wallet_id uuid NOT NULL REFERENCES wallet,
    wallet_version bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    service_day date NOT NULL,
    settlement_day date NOT NULL,
    tap_id uuid,
    operator_id text,
    product_id text,
    ride_count bigint NOT NULL,
    accounts text [] NOT NULL,
    amounts_fen bigint [] NOT NULL,
    CONSTRAINT postings_pair CHECK (
        cardinality(accounts) = cardinality(amounts_fen) AND cardinality(accounts) BETWEEN 2 AND 16
    ),
    CONSTRAINT postings_sum_to_zero CHECK (
        amounts_fen[1] + amounts_fen[2] + coalesce(amounts_fen[3], 0) + coalesce(amounts_fen[4], 0)
        + coalesce(amounts_fen[5], 0) + coalesce(amounts_fen[6], 0) + coalesce(amounts_fen[7], 0)
        + coalesce(amounts_fen[8], 0) + coalesce(amounts_fen[9], 0) + coalesce(amounts_fen[10], 0)
        + coalesce(amounts_fen[11], 0) + coalesce(amounts_fen[12], 0) + coalesce(amounts_fen[13], 0)
        + coalesce(amounts_fen[14], 0) + coalesce(amounts_fen[15], 0) + coalesce(amounts_fen[16], 0)
        = 0
    ),
    CONSTRAINT settled_no_earlier_than_it_happened CHECK (settlement_day >= service_day)
);
CREATE INDEX journal_entry_wallet ON journal_entry (wallet_id, service_day);
CREATE INDEX journal_entry_settlement ON journal_entry (settlement_day);

CREATE VIEW posting AS
SELECT
    entry.entry_id,
    entry.kind,
    entry.wallet_id,
    entry.effective_at,
    entry.recorded_at,
    entry.service_day,
    entry.settlement_day,
    side.amount_fen,
    CASE
        WHEN side.account IN ('purse', 'debt') THEN side.account || ':' || entry.wallet_id
        ELSE side.account
    END AS account
FROM journal_entry AS entry
CROSS JOIN LATERAL unnest(entry.accounts, entry.amounts_fen) AS side (account, amount_fen);

-- Settlement. Taps read the one row of settlement_clock, which holds its table lock until they commit;
-- a close takes that lock exclusively, so no entry can be stamped with a day that has just been closed.
CREATE TABLE settlement_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    closed_through date
);
INSERT INTO settlement_clock (closed_through) VALUES (NULL);

CREATE TABLE settlement (
    settlement_day date PRIMARY KEY,
    number bigint NOT NULL UNIQUE CHECK (number > 0),
    days_after date,
    closed_at timestamptz NOT NULL,
    currency text NOT NULL,
    -- Who paid whom, as it stood at the close: a new name or account must not change settled files.
    parties bytea NOT NULL
);
CREATE TABLE settlement_batch (
    settlement_day date NOT NULL REFERENCES settlement,
    operator_id text NOT NULL REFERENCES operator,
    ride_count bigint NOT NULL,
    gross_fen bigint NOT NULL,
    carried_in_fen bigint NOT NULL,
    paid_fen bigint NOT NULL,
    carried_out_fen bigint NOT NULL,
    PRIMARY KEY (settlement_day, operator_id),
    CONSTRAINT nothing_is_lost CHECK (gross_fen + carried_in_fen = paid_fen + carried_out_fen)
);
CREATE TABLE settlement_manifest (
    settlement_day date PRIMARY KEY REFERENCES settlement,
    manifest_sha256 text NOT NULL,
    manifest bytea NOT NULL
);

-- Written once, never edited: by trigger for everyone, and by grant for the role the gateway runs as.
CREATE FUNCTION refuse_edit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused. Post a correction instead.', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tap
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entry
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_batch
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_manifest
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'faregate_gateway') THEN
        CREATE ROLE faregate_gateway NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT faregate_gateway TO current_user;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO faregate_gateway;
GRANT INSERT, UPDATE ON
registry_version, operator, stop, route, gate, gate_key, credential, wallet, wallet_day, media,
settlement_clock
TO faregate_gateway;
GRANT INSERT ON tap, journal_entry, settlement, settlement_batch, settlement_manifest
TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE settlement_manifest, settlement_batch, settlement, settlement_clock CASCADE;
DROP TABLE journal_entry, tap, media, wallet_day, wallet, credential, gate_key, gate, route, stop CASCADE;
DROP TABLE operator, registry_version CASCADE;
DROP FUNCTION refuse_edit;
