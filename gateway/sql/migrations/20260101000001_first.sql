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

-- Riders' money. One row is the lock for everything of its rider. No index on what a tap changes, and room
-- left on the page, for a rider's row grows to three times what it is when the wallet is opened: so that every
-- update is a HOT update and touches no index.
-- state is MessagePack (gateway/shell/rows.py): what pricing remembers of the wallet's media.
-- The log gets of a new version what lies between the first and the last byte that differ, so what a tap
-- changes stands together.
CREATE TABLE wallet (
    wallet_id uuid PRIMARY KEY,
    opened_at timestamptz NOT NULL,
    floor_fen bigint NOT NULL CHECK (floor_fen <= 0),
    status text NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    issuer_id text REFERENCES operator,
    owed_fen bigint NOT NULL,
    balance_fen bigint NOT NULL,
    version bigint NOT NULL,
    open_until timestamptz,
    state bytea NOT NULL,
    CONSTRAINT balance_above_floor CHECK (balance_fen >= floor_fen),
    CONSTRAINT owes_only_at_floor CHECK (owed_fen = 0 OR (owed_fen > 0 AND balance_fen = floor_fen))
) WITH (fillfactor = 30);

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

-- The days that the tap log and the ledger have a partition for. Taps of a day that has none make it first.
CREATE TABLE log_day (
    service_day date PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT now()
);

-- The tap log: every tap that was answered, with its answer. said, facts and answer are MessagePack
-- (gateway/shell/rows.py). A tap too old or too early for its own day is kept on the day it came.
CREATE TABLE tap (
    tap_id uuid NOT NULL,
    wallet_id uuid,
    wallet_version bigint,
    received_at timestamptz NOT NULL,
    service_day date NOT NULL,
    needs_person boolean NOT NULL,
    outcome text NOT NULL,
    said bytea NOT NULL,
    facts bytea,
    answer bytea NOT NULL
) PARTITION BY RANGE (service_day);
CREATE INDEX tap_needs_person ON tap (received_at, tap_id) WHERE needs_person;
CREATE INDEX tap_wallet ON tap (wallet_id) WHERE wallet_id IS NOT NULL;

-- Which tap a gate gave a number to, over all days: a tap that comes again under another day is found here.
-- A tap refused for reusing a number is not.
CREATE TABLE gate_sequence (
    sequence bigint NOT NULL,
    service_day date NOT NULL,
    tap_id uuid NOT NULL,
    gate_id text NOT NULL,
    CONSTRAINT sequence_once PRIMARY KEY (gate_id, sequence)
);
CREATE INDEX gate_sequence_day ON gate_sequence USING brin (service_day);

-- The ledger. An entry has at most one posting to its wallet's purse and debt, to its operator and to the
-- bank, each in a column of its own, NULL where it has none; those to sponsors stand in two arrays, NULL where
-- nobody sponsors. The view posting has them all, one a row, with the accounts' full names.
-- The wallet's version makes an entry unique; that its wallet exists is checked by the audit, not row by row.
-- The sum is written out because a CHECK may not aggregate and a function call per row costs more than the
-- rest of the insert.
CREATE TABLE journal_entry (
    wallet_id uuid NOT NULL,
    wallet_version bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    service_day date NOT NULL,
    settlement_day date NOT NULL,
    purse_fen bigint NOT NULL,
    debt_fen bigint,
    operator_fen bigint,
    bank_fen bigint,
    ride_count bigint NOT NULL,
    cause_id uuid NOT NULL,
    tap_id uuid,
    kind text NOT NULL CHECK (kind IN ('fare', 'correction', 'top_up', 'payout')),
    operator_id text,
    product_id text,
    sponsors text [],
    sponsors_fen bigint [],
    CONSTRAINT named_operator CHECK ((operator_fen IS NULL) = (operator_id IS NULL)),
    CONSTRAINT named_sponsors CHECK (
        cardinality(sponsors) IS NOT DISTINCT FROM cardinality(sponsors_fen) AND cardinality(sponsors) <= 13
    ),
    CONSTRAINT postings_sum_to_zero CHECK (
        purse_fen + coalesce(debt_fen, 0) + coalesce(operator_fen, 0) + coalesce(bank_fen, 0)
        + CASE
            WHEN sponsors_fen IS NULL THEN 0
            ELSE
                coalesce(sponsors_fen[1], 0) + coalesce(sponsors_fen[2], 0) + coalesce(sponsors_fen[3], 0)
                + coalesce(sponsors_fen[4], 0) + coalesce(sponsors_fen[5], 0)
                + coalesce(sponsors_fen[6], 0) + coalesce(sponsors_fen[7], 0)
                + coalesce(sponsors_fen[8], 0) + coalesce(sponsors_fen[9], 0)
                + coalesce(sponsors_fen[10], 0) + coalesce(sponsors_fen[11], 0)
                + coalesce(sponsors_fen[12], 0) + coalesce(sponsors_fen[13], 0)
        END = 0
    ),
    CONSTRAINT settled_no_earlier_than_it_happened CHECK (settlement_day >= service_day)
) PARTITION BY RANGE (service_day);
-- Entries of one settlement day lie together, for they are written in the order of time.
CREATE INDEX journal_entry_settlement ON journal_entry USING brin (settlement_day) WITH (pages_per_range = 8);

-- Top-ups by the id that the desk gave them, over all days: one that comes again is found here.
CREATE TABLE top_up (
    top_up_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL REFERENCES wallet,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    recorded_at timestamptz NOT NULL
);

CREATE VIEW posting AS
SELECT
    entry.kind,
    entry.cause_id,
    entry.tap_id,
    entry.wallet_id,
    entry.wallet_version,
    entry.effective_at,
    entry.recorded_at,
    entry.service_day,
    entry.settlement_day,
    side.amount_fen,
    side.account
FROM journal_entry AS entry
CROSS JOIN LATERAL (
    SELECT * FROM (
        VALUES
        ('purse:' || entry.wallet_id, entry.purse_fen),
        ('debt:' || entry.wallet_id, entry.debt_fen),
        ('operator:' || entry.operator_id, entry.operator_fen),
        ('bank', entry.bank_fen)
    ) AS own (account, amount_fen)
    WHERE own.amount_fen IS NOT NULL
    UNION ALL
    SELECT 'sponsor:' || share.sponsor, share.amount_fen
    FROM unnest(entry.sponsors, entry.sponsors_fen) AS share (sponsor, amount_fen)
) AS side;

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
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON top_up
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_batch
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_manifest
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

-- Make a day's partitions, each with a key that makes its rows unique: a key of the whole table would have to
-- hold the day, too. The table is made first and attached then, which waits for no reader and no tap; the
-- row of log_day lets one process do it while others wait.
CREATE FUNCTION open_log_day(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    parent text;
    once text;
    part text;
BEGIN
    INSERT INTO log_day (service_day) VALUES (day) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN; END IF;
    FOR parent, once IN VALUES ('tap', 'tap_id'), ('journal_entry', 'wallet_id, wallet_version') LOOP
        part := parent || '_' || to_char(day, 'YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (%s)', part, part || '_once', once);
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()', part
        );
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            parent, part, day, day + 1
        );
        EXECUTE format('GRANT SELECT ON %I TO faregate_gateway', part);
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION open_log_day FROM PUBLIC;

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
GRANT INSERT ON tap, gate_sequence, journal_entry, top_up, settlement, settlement_batch, settlement_manifest
TO faregate_gateway;
GRANT EXECUTE ON FUNCTION open_log_day TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE settlement_manifest, settlement_batch, settlement, settlement_clock CASCADE;
DROP TABLE journal_entry, top_up, gate_sequence, tap, log_day, media, wallet_day, wallet, credential, gate_key, gate, route, stop CASCADE;
DROP TABLE operator, registry_version CASCADE;
DROP FUNCTION open_log_day, refuse_edit;
